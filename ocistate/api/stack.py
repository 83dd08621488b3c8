"""The Stack: what belongs where, and under whose trust (group ``ocistate.dev``, ``v1alpha1``).

The same YAML works as a Kubernetes object and in a file for ``ocistate agent --stacks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ocistate.apply.desired.prepare import ignore_fault
from ocistate.channel.record import check_channel
from ocistate.documents import shapes
from ocistate.documents.fields import Fields
from ocistate.errors import InvalidReference, UsageError
from ocistate.health.cel_rules import CelCheck
from ocistate.health.evaluate import needs_full_object
from ocistate.objects import GroupKind, StackKey, group_of
from ocistate.oci import Mirror
from ocistate.reference import Reference, parse_reference
from ocistate.semver import parse_range

GROUP: Final = "ocistate.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FINALIZER: Final = f"{GROUP}/finalizer"

RECONCILE: Final = f"{GROUP}/reconcile"
"""The annotation that asks for a pass now; any other value than the last one does."""

ALLOW_PRUNE: Final = f"{GROUP}/allow-prune"
"""The annotation that lets one artifact, named by its digest, remove as much as it does."""

DEFAULT_APPLIER: Final = "ocistate-applier"
"""The service account that Stacks write as when they name none: the one of their own namespace."""

DriftMode = Literal["correct", "report", "ignore"]
FailureMode = Literal["hold", "rollback"]
DeletionPolicy = Literal["delete", "orphan"]

MOST_CHECKS: Final = 50
LONGEST_CHECK: Final = 1000
MOST_RULES: Final = 200
"""Of a list in the spec."""
LEAST_INTERVAL: Final = 0.1
LEAST_TIMEOUT: Final = 0.001

_LONGEST_REQUEST: Final = 256
_POINTERS: Final = {
    "channel": shapes.CHANNEL,
    "tag": shapes.TAG,
    "semver": shapes.VERSIONS,
    "digest": shapes.DIGEST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the content comes from: a repository, and one of channel, tag, semver and digest."""

    repository: Reference
    channel: str = ""
    channel_repository: Reference | None = None
    """Where the channel's records are, if not in the repository itself."""
    tag: str = ""
    semver: str = ""
    """A range of versions: the tag of the highest one is followed."""
    digest: str = ""
    path: str = ""
    interval: float = 60.0
    """Seconds between two looks at the repository."""
    insecure: bool = False
    pull_secret: str = ""
    ca_secret: str = ""
    cert_secret: str = ""
    mirrors: tuple[Mirror, ...] = ()
    """Where else what has a digest may be looked for."""

    @property
    def pointer(self) -> str:
        """The pointer as a person reads it."""
        return self.digest or self.tag or self.semver or f"channel {self.channel}"

    @property
    def records(self) -> Reference:
        """The repository that holds the channel's records."""
        return self.channel_repository or self.repository


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTo:
    """Where the agent's reports on a Stack go, and as whom; None and empty: as the source is
    read."""

    repository: Reference | None = None
    push_secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """Fields left to others: JSON pointers, for objects of a kind, of one name or of any."""

    kind: str
    name: str = ""
    pointers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One Stack's spec, checked. ``uid`` owns its objects; ``generation`` counts its edits."""

    namespace: str
    name: str
    uid: str
    generation: int
    source: Source
    policy: str = ""
    """The TrustPolicy's name; empty: the one whose repositories match best."""
    target_namespace: str = ""
    force_namespace: bool = False
    service_account: str = ""
    prune: bool = True
    max_prune_percent: int = 50
    """More than this share of the objects is not removed at once before somebody allows it."""
    allow_prune: str = ""
    """The digest of which it is allowed: the annotation ``ocistate.dev/allow-prune``."""
    drift: DriftMode = "correct"
    ignore: tuple[IgnoreRule, ...] = ()
    depends_on: tuple[StackKey, ...] = ()
    """(namespace, name) of the Stacks that must be ready before."""
    adopt_from: tuple[StackKey, ...] = ()
    """The Stacks whose objects are taken over, as far as they hand them over."""
    hand_over_to: tuple[StackKey, ...] = ()
    """The Stacks that may take objects over."""
    timeout: float = 300.0
    """Seconds until objects must be healthy."""
    checks: tuple[CelCheck, ...] = ()
    """Rules of health for single kinds, before the built-in ones."""
    on_failure: FailureMode = "hold"
    """When they are not: keep and report, or go back to the digest that was healthy last."""
    report: ReportTo | None = None
    """Whether the agent tells the registry how this Stack is, if it has a key to do so."""
    suspend: bool = False
    deletion_policy: DeletionPolicy = "delete"
    kubeconfig_secret: str = ""
    """The Secret with the target cluster's kubeconfig; empty: the agent's own cluster."""
    kubeconfig_key: str = ""
    kubeconfig: Path | None = None
    """The file with the target cluster's kubeconfig; None: the agent's own."""
    context: str = ""
    """The kubeconfig's context; empty: the current one."""
    directory: Path | None = None
    """The target folder; None: the target is a cluster."""
    deleting: bool = False
    reconcile_at: str = ""
    """The last manual request: the annotation ``ocistate.dev/reconcile``."""

    @property
    def key(self) -> StackKey:
        """(namespace, name)."""
        return StackKey(self.namespace, self.name)

    @property
    def target_name(self) -> str:
        """Where it belongs, in one word for people and metrics; empty: the agent's own cluster."""
        if self.directory is not None:
            return str(self.directory)
        kubeconfig = str(self.kubeconfig or "")
        if self.kubeconfig_secret:
            kubeconfig = f"{self.namespace}/{self.kubeconfig_secret}"
            kubeconfig += f":{self.kubeconfig_key}" if self.kubeconfig_key else ""
        return "@".join(part for part in (self.context, kubeconfig) if part)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def parse_stack(obj: Mapping[str, Any], *, origin: str = "") -> Stack:
    """Read a Stack. ``origin`` names it or its file in errors. Raises ConfigError."""
    top = Fields(obj, path="", origin=origin)
    metadata = top.mapping("metadata")
    name = metadata.text("name", shape=shapes.NAME)
    namespace = metadata.text("namespace", "default", shape=shapes.NAMESPACE) or "default"
    annotations = metadata.mapping("annotations")
    spec = Fields(top.raw("spec"), path="spec", origin=origin)
    trust = spec.mapping("trust")
    target = spec.mapping("target")
    wait = spec.mapping("wait")
    directory = target.text("directory", "", shape=shapes.LINE)
    kubeconfig = target.mapping("kubeconfigSecretRef")
    remote = target.has("kubeconfigSecretRef")
    file = target.text("kubeconfig", "", shape=shapes.LINE)
    context = target.text("context", "", shape=shapes.LINE)
    places = {"directory": directory, "kubeconfigSecretRef": remote, "kubeconfig": file}
    given = [key for key, value in places.items() if value]
    if directory and context:
        given.append("context")
    if len(given) > 1:
        raise target.error(given[1], f"excludes {given[0]}", hint="keep one of them")
    stack = Stack(
        namespace=namespace,
        name=name,
        uid=metadata.text("uid", "", shape=shapes.UID),
        generation=metadata.integer("generation", 0),
        source=_parse_source(spec.mapping("source")),
        policy=trust.text("policy", "", shape=shapes.NAME),
        target_namespace=spec.text("namespace", "", shape=shapes.NAMESPACE),
        force_namespace=spec.boolean("forceNamespace", False),
        service_account=spec.text("serviceAccountName", "", shape=shapes.NAME),
        prune=spec.boolean("prune", True),
        max_prune_percent=spec.integer("maxPrunePercent", 50, most=100),
        allow_prune=_annotation(annotations, ALLOW_PRUNE),
        drift=spec.choice("drift", ("correct", "report", "ignore"), "correct"),
        ignore=tuple(_parse_ignore(item) for item in spec.items("ignore", most=MOST_RULES)),
        depends_on=_parse_others(spec, "dependsOn", StackKey(namespace, name)),
        adopt_from=_parse_others(spec, "adoptFrom", StackKey(namespace, name)),
        hand_over_to=_parse_others(spec, "handOverTo", StackKey(namespace, name)),
        timeout=wait.seconds("timeout", 300.0, least=LEAST_TIMEOUT),
        checks=_parse_checks(wait),
        on_failure=spec.choice("onFailure", ("hold", "rollback"), "hold"),
        report=_parse_report(spec.mapping("report")) if spec.has("report") else None,
        suspend=spec.boolean("suspend", False),
        deletion_policy=spec.choice("deletionPolicy", ("delete", "orphan"), "delete"),
        kubeconfig_secret=kubeconfig.text("name", shape=shapes.NAME) if remote else "",
        kubeconfig_key=kubeconfig.text("key", "", shape=shapes.DATA_KEY) if remote else "",
        kubeconfig=Path(file) if file else None,
        context=context,
        directory=Path(directory) if directory else None,
        deleting=metadata.raw("deletionTimestamp") is not None,
        reconcile_at=_annotation(annotations, RECONCILE),
    )
    for fields in (trust, kubeconfig, target, wait, spec):
        fields.finish()
    return stack


def _parse_report(fields: Fields) -> ReportTo:
    found = ReportTo(
        repository=_parse_repository(fields, "repository") if fields.has("repository") else None,
        push_secret=_secret(fields, "pushSecretRef"),
    )
    fields.finish()
    return found


def _annotation(annotations: Fields, key: str) -> str:
    """What a person asks for by annotation. Whatever else stands there is no one's request."""
    value = annotations.raw(key)
    return value[:_LONGEST_REQUEST] if isinstance(value, str) else ""


def _parse_source(fields: Fields) -> Source:
    repository = _parse_repository(fields, "repository")
    given = [key for key in ("channel", "tag", "semver", "digest") if fields.has(key)]
    if len(given) != 1:
        raise fields.error(
            "",
            f"has {len(given)} of channel, tag, semver and digest",
            hint="give exactly one of them",
        )
    pointer = fields.text(given[0], shape=_POINTERS[given[0]])
    channel, tag, semver, digest = (
        pointer if key == given[0] else "" for key in ("channel", "tag", "semver", "digest")
    )
    if fields.has("channelRepository") and not channel:
        raise fields.error("channelRepository", "is given without a channel")
    try:
        if channel:
            check_channel(channel)
        if semver:
            parse_range(semver)
    except UsageError as error:
        raise fields.error(given[0], error.message, hint=error.hint) from None
    path = fields.text("path", "", shape=shapes.FOLDER).removeprefix("./").strip("/")
    source = Source(
        repository=repository,
        channel=channel,
        channel_repository=_parse_repository(fields, "channelRepository")
        if fields.has("channelRepository")
        else None,
        tag=tag,
        semver=semver,
        digest=digest,
        path=path,
        interval=fields.seconds("interval", 60.0, least=LEAST_INTERVAL),
        insecure=fields.boolean("insecure", False),
        pull_secret=_secret(fields, "pullSecretRef"),
        ca_secret=_secret(fields, "caSecretRef"),
        cert_secret=_secret(fields, "certSecretRef"),
        mirrors=tuple(_parse_mirror(item) for item in fields.items("mirrors", most=MOST_RULES)),
    )
    fields.finish()
    return source


def _secret(fields: Fields, key: str) -> str:
    """The name of a Secret in the Stack's namespace; empty where none is named."""
    if not fields.has(key):
        return ""
    reference = fields.mapping(key)
    name = reference.text("name", shape=shapes.NAME)
    reference.finish()
    return name


def _parse_others(spec: Fields, key: str, own: StackKey) -> tuple[StackKey, ...]:
    """Other Stacks; of the same namespace where none is named."""
    found = []
    for item in spec.items(key, most=MOST_RULES):
        namespace = item.text("namespace", own[0], shape=shapes.NAMESPACE) or own[0]
        other = StackKey(namespace, item.text("name", shape=shapes.NAME))
        item.finish()
        if other == own:
            raise item.error("name", "is the Stack's own")
        found.append(other)
    return tuple(found)


def _parse_checks(wait: Fields) -> tuple[CelCheck, ...]:
    checks: dict[GroupKind, CelCheck] = {}
    for item in wait.items("checks", most=MOST_CHECKS):
        group = group_of(item.text("apiVersion", shape=shapes.API_VERSION))
        kind = item.text("kind", shape=shapes.KIND)
        check = CelCheck(
            group=group,
            kind=kind,
            healthy=_parse_cel(item, "healthy"),
            progressing=_parse_cel(item, "progressing", ""),
            failed=_parse_cel(item, "failed", ""),
        )
        item.finish()
        if GroupKind(group, kind) in checks:
            raise item.error("kind", f"{kind} has a check already")
        if not needs_full_object(group, kind):
            raise item.error("kind", f"objects of the kind {kind} have no status to look at")
        checks[GroupKind(group, kind)] = check
    return tuple(checks.values())


def _parse_cel(fields: Fields, key: str, default: str | None = None) -> str:
    expression = fields.text(key, default, most=LONGEST_CHECK, lines=True)
    if expression:
        from ocistate.cel import check_syntax  # a library that few Stacks need

        if fault := check_syntax(expression):
            raise fields.error(key, fault)
    return expression


def _parse_mirror(fields: Fields) -> Mirror:
    mirror = Mirror(
        reference=_parse_repository(fields, "repository"),
        insecure=fields.boolean("insecure", False),
    )
    fields.finish()
    return mirror


def _parse_repository(fields: Fields, key: str) -> Reference:
    try:
        repository = parse_reference(fields.text(key))
    except InvalidReference as error:
        raise fields.error(key, error.message, hint=error.hint) from None
    if repository.tag or repository.digest:
        raise fields.error(key, "names a tag or digest", hint="use the fields tag, digest")
    return repository


def _parse_ignore(fields: Fields) -> IgnoreRule:
    rule = IgnoreRule(
        kind=fields.text("kind", shape=shapes.KIND),
        name=fields.text("name", "", shape=shapes.OBJECT_NAME),
        pointers=fields.texts("jsonPointers", shape=shapes.POINTER, most=MOST_RULES),
    )
    for place, pointer in enumerate(rule.pointers):
        if fault := ignore_fault(pointer):
            raise fields.error(
                f"jsonPointers[{place}]",
                f"{pointer!r} {fault}",
                hint="of the metadata, single labels and annotations can be left to others",
            )
    fields.finish()
    return rule
