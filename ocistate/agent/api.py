"""The Stack: what belongs where, and under whose trust (group ``ocistate.dev``, ``v1alpha1``).

The same YAML works as a Kubernetes object and in a file for ``ocistate agent --stacks``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ocistate.channel.record import check_channel
from ocistate.cluster.checks import CelCheck
from ocistate.cluster.health import speaks
from ocistate.errors import InvalidReference, UsageError
from ocistate.fields import Fields
from ocistate.objects import group_of
from ocistate.oci import Mirror
from ocistate.reference import Reference, check_digest, check_tag, parse_reference
from ocistate.semver import parse_range

GROUP: Final = "ocistate.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FINALIZER: Final = f"{GROUP}/finalizer"

ALLOW_PRUNE: Final = f"{GROUP}/allow-prune"
"""The annotation that lets one artifact, named by its digest, remove as much as it does."""

DEFAULT_APPLIER: Final = "ocistate-applier"
"""The service account that Stacks write as when they name none: the one of their own namespace."""

DriftMode = Literal["correct", "report", "ignore"]
FailureMode = Literal["hold", "rollback"]
DeletionPolicy = Literal["delete", "orphan"]

_MOST_CHECKS: Final = 50
_LONGEST_CHECK: Final = 1000
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


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
    depends_on: tuple[tuple[str, str], ...] = ()
    """(namespace, name) of the Stacks that must be ready before."""
    adopt_from: tuple[tuple[str, str], ...] = ()
    """The Stacks whose objects are taken over, as far as they hand them over."""
    hand_over_to: tuple[tuple[str, str], ...] = ()
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
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.namespace, self.name)

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
    name = metadata.text("name")
    namespace = metadata.text("namespace", "default")
    if not _NAME.fullmatch(name):
        raise metadata.error("name", f"{name!r} is not a Kubernetes name")
    if not _NAMESPACE.fullmatch(namespace):
        raise metadata.error("namespace", f"{namespace!r} is not a namespace's name")
    annotations = metadata.raw("annotations") or {}
    spec = Fields(top.raw("spec"), path="spec", origin=origin)
    trust = spec.mapping("trust")
    target = spec.mapping("target")
    wait = spec.mapping("wait")
    directory = target.text("directory", "")
    kubeconfig = target.mapping("kubeconfigSecretRef")
    remote = target.has("kubeconfigSecretRef")
    file, context = target.text("kubeconfig", ""), target.text("context", "")
    places = {"directory": directory, "kubeconfigSecretRef": remote, "kubeconfig": file}
    given = [key for key, value in places.items() if value]
    if directory and context:
        given.append("context")
    if len(given) > 1:
        raise target.error(given[1], f"excludes {given[0]}", hint="keep one of them")
    stack = Stack(
        namespace=namespace,
        name=name,
        uid=metadata.text("uid", ""),
        generation=metadata.integer("generation", 0),
        source=_parse_source(spec.mapping("source")),
        policy=trust.text("policy", ""),
        target_namespace=spec.text("namespace", ""),
        force_namespace=spec.boolean("forceNamespace", False),
        service_account=spec.text("serviceAccountName", ""),
        prune=spec.boolean("prune", True),
        max_prune_percent=_percent(spec, "maxPrunePercent", 50),
        allow_prune=str(annotations.get(ALLOW_PRUNE, "")),
        drift=spec.choice("drift", ("correct", "report", "ignore"), "correct"),
        ignore=tuple(_parse_ignore(item) for item in spec.items("ignore")),
        depends_on=_parse_others(spec, "dependsOn", (namespace, name)),
        adopt_from=_parse_others(spec, "adoptFrom", (namespace, name)),
        hand_over_to=_parse_others(spec, "handOverTo", (namespace, name)),
        timeout=wait.seconds("timeout", 300.0, least=0.001),
        checks=_parse_checks(wait),
        on_failure=spec.choice("onFailure", ("hold", "rollback"), "hold"),
        report=_parse_report(spec.mapping("report")) if spec.has("report") else None,
        suspend=spec.boolean("suspend", False),
        deletion_policy=spec.choice("deletionPolicy", ("delete", "orphan"), "delete"),
        kubeconfig_secret=kubeconfig.text("name") if remote else "",
        kubeconfig_key=kubeconfig.text("key", "") if remote else "",
        kubeconfig=Path(file) if file else None,
        context=context,
        directory=Path(directory) if directory else None,
        deleting=metadata.raw("deletionTimestamp") is not None,
        reconcile_at=str(annotations.get(f"{GROUP}/reconcile", "")),
    )
    for fields in (trust, kubeconfig, target, wait, spec):
        fields.finish()
    return stack


def _parse_report(fields: Fields) -> ReportTo:
    secret = fields.mapping("pushSecretRef")
    found = ReportTo(
        repository=_parse_repository(fields, "repository") if fields.has("repository") else None,
        push_secret=secret.text("name") if fields.has("pushSecretRef") else "",
    )
    secret.finish()
    fields.finish()
    return found


def _percent(fields: Fields, key: str, default: int) -> int:
    value = fields.integer(key, default)
    if not 0 <= value <= 100:
        raise fields.error(key, f"{value} is no percentage", hint="give 0 to 100")
    return value


def _parse_source(fields: Fields) -> Source:
    repository = _parse_repository(fields, "repository")
    given = [key for key in ("channel", "tag", "semver", "digest") if fields.has(key)]
    if len(given) != 1:
        raise fields.error(
            "",
            f"has {len(given)} of channel, tag, semver and digest",
            hint="give exactly one of them",
        )
    channel, tag = fields.text("channel", ""), fields.text("tag", "")
    semver, digest = fields.text("semver", ""), fields.text("digest", "")
    if fields.has("channelRepository") and not channel:
        raise fields.error("channelRepository", "is given without a channel")
    try:
        if channel:
            check_channel(channel)
        if tag:
            check_tag(tag)
        if semver:
            parse_range(semver)
        if digest:
            check_digest(digest)
    except UsageError as error:
        raise fields.error(given[0], error.message, hint=error.hint) from None
    path = fields.text("path", "").removeprefix("./").strip("/")
    if ".." in path.split("/"):
        raise fields.error("path", f"{path!r} leaves the artifact")
    pull_secret, ca_secret = fields.mapping("pullSecretRef"), fields.mapping("caSecretRef")
    cert_secret = fields.mapping("certSecretRef")
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
        interval=fields.seconds("interval", 60.0, least=0.1),
        insecure=fields.boolean("insecure", False),
        pull_secret=pull_secret.text("name") if fields.has("pullSecretRef") else "",
        ca_secret=ca_secret.text("name") if fields.has("caSecretRef") else "",
        cert_secret=cert_secret.text("name") if fields.has("certSecretRef") else "",
        mirrors=tuple(_parse_mirror(item) for item in fields.items("mirrors")),
    )
    for item in (pull_secret, ca_secret, cert_secret, fields):
        item.finish()
    return source


def _parse_others(spec: Fields, key: str, own: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Other Stacks; of the same namespace where none is named."""
    found = []
    for item in spec.items(key):
        other = (item.text("namespace", own[0]), item.text("name"))
        item.finish()
        if other == own:
            raise item.error("name", "is the Stack's own")
        found.append(other)
    return tuple(found)


def _parse_checks(wait: Fields) -> tuple[CelCheck, ...]:
    checks: dict[tuple[str, str], CelCheck] = {}
    for item in wait.items("checks"):
        group, kind = group_of(item.text("apiVersion")), item.text("kind")
        check = CelCheck(
            group=group,
            kind=kind,
            healthy=_parse_cel(item, "healthy", item.text("healthy")),
            progressing=_parse_cel(item, "progressing", item.text("progressing", "")),
            failed=_parse_cel(item, "failed", item.text("failed", "")),
        )
        item.finish()
        if (group, kind) in checks:
            raise item.error("kind", f"{kind} has a check already")
        if not speaks(group, kind):
            raise item.error("kind", f"objects of the kind {kind} have no status to look at")
        checks[(group, kind)] = check
    if len(checks) > _MOST_CHECKS:
        raise wait.error("checks", f"are {len(checks)}, at most {_MOST_CHECKS} are allowed")
    return tuple(checks.values())


def _parse_cel(fields: Fields, key: str, expression: str) -> str:
    if len(expression) > _LONGEST_CHECK:
        raise fields.error(key, f"is longer than {_LONGEST_CHECK} characters")
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
        kind=fields.text("kind"),
        name=fields.text("name", ""),
        pointers=fields.texts("jsonPointers"),
    )
    for place, pointer in enumerate(rule.pointers):
        if not pointer.startswith("/"):
            raise fields.error(f"jsonPointers[{place}]", f"{pointer!r} does not start with '/'")
    fields.finish()
    return rule
