"""The spec of a Stack: one definition for reader, CustomResourceDefinition and reference."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from ocistate.api.names import (
    ApiVersion,
    ArtifactFolder,
    Cel,
    ChannelName,
    Digest,
    IgnoredPointer,
    KindName,
    LocalPath,
    Name,
    OptionalCel,
    OptionalDataKey,
    OptionalLine,
    OptionalName,
    OptionalNamespace,
    OptionalObjectName,
    Repository,
    SemverRange,
    Tag,
)
from ocistate.api.rules import AtMostOneOf, ExactlyOneOf, Requires
from ocistate.api.scalars import Duration
from ocistate.api.struct import ApiStruct
from ocistate.objects import GroupKind, group_of

DriftMode = Literal["correct", "report", "ignore"]
FailureMode = Literal["hold", "rollback"]
DeletionPolicy = Literal["delete", "orphan"]

_MOST_CHECKS: Final = Meta(max_length=50)
_MOST_ITEMS: Final = Meta(max_length=200)


class Interval(Duration):
    """How often something is done."""

    least = 0.1


class Timeout(Duration):
    """How long something may take."""

    least = 0.001


class SecretRef(ApiStruct, frozen=True, kw_only=True):
    """A Secret in the Stack's namespace."""

    name: Name
    """The Secret's name."""


class SourceMirror(ApiStruct, frozen=True, kw_only=True):
    """Another repository that holds the same artifacts."""

    repository: Repository
    """As `spec.source.repository`."""
    insecure: bool = False
    """Plain HTTP."""


class StackSource(ApiStruct, frozen=True, kw_only=True):
    """Where the content comes from: a repository, and one of channel, tag, semver and digest."""

    rules = (ExactlyOneOf("channel", "tag", "semver", "digest"),)
    reader_rules = (Requires("channelRepository", "channel"),)

    repository: Repository
    """`oci://HOST/NAME`, `layout:FOLDER` or `archive:FILE`; the last two without a cluster only."""
    channel: ChannelName = ChannelName()
    """A channel to follow: signed, and never back."""
    channel_repository: Repository | None = None
    """Where the channel's records are, if not in the repository itself."""
    tag: Tag = ""
    """A tag to follow."""
    semver: SemverRange = SemverRange()
    """A range of versions: the tag of the highest one is followed."""
    digest: Digest = ""
    """A digest to stay at."""
    path: ArtifactFolder = ArtifactFolder()
    """A folder inside the artifact; all of it when empty."""
    interval: Interval = Interval(60)
    """How often the repository is asked what the pointer names."""
    insecure: bool = False
    """Plain HTTP. Loopback addresses need no permission for it."""
    pull_secret_ref: SecretRef | None = None
    """A `kubernetes.io/dockerconfigjson` Secret with the registry's credentials."""
    ca_secret_ref: SecretRef | None = None
    """A Secret with the registry's CA in `ca.crt`."""
    cert_secret_ref: SecretRef | None = None
    """A `kubernetes.io/tls` Secret with a client certificate for the registry."""
    mirrors: Annotated[tuple[SourceMirror, ...], _MOST_ITEMS] = ()
    """Where else to look for what has a digest."""

    @property
    def pointer(self) -> str:
        """The pointer as a person reads it."""
        return self.digest or self.tag or self.semver or f"channel {self.channel}"

    @property
    def records(self) -> Repository:
        """The repository that holds the channel's records."""
        return self.channel_repository or self.repository

    @property
    def pull_secret(self) -> str:
        """The name of the Secret with credentials; empty without one."""
        return _name_of(self.pull_secret_ref)

    @property
    def ca_secret(self) -> str:
        """The name of the Secret with the CA; empty without one."""
        return _name_of(self.ca_secret_ref)

    @property
    def cert_secret(self) -> str:
        """The name of the Secret with the client certificate; empty without one."""
        return _name_of(self.cert_secret_ref)


class StackTrust(ApiStruct, frozen=True, kw_only=True):
    """Who is trusted."""

    policy: OptionalName = ""
    """A TrustPolicy's name; when empty, the one whose `repositories` match best."""


class KubeconfigRef(ApiStruct, frozen=True, kw_only=True):
    """A kubeconfig in a Secret of the Stack's namespace."""

    name: Name
    """The Secret's name."""
    key: OptionalDataKey = ""
    """The key with the kubeconfig; when empty, `value` or `kubeconfig`."""


class StackTarget(ApiStruct, frozen=True, kw_only=True):
    """Where the objects go; when empty, the agent's own cluster."""

    reader_rules = (
        AtMostOneOf("directory", "kubeconfigSecretRef", "kubeconfig"),
        AtMostOneOf("directory", "context"),
    )
    cluster_rules = (Requires("context", "kubeconfigSecretRef"),)

    directory: LocalPath = LocalPath()
    """A folder instead of a cluster; without a cluster only."""
    kubeconfig_secret_ref: KubeconfigRef | None = None
    """Another cluster: a Secret with its kubeconfig."""
    context: OptionalLine = ""
    """The kubeconfig's context; when empty, its current one."""
    kubeconfig: LocalPath = LocalPath()
    """A kubeconfig file; without a cluster only."""

    @property
    def kubeconfig_secret(self) -> str:
        """The name of the Secret with the kubeconfig; empty without one."""
        return self.kubeconfig_secret_ref.name if self.kubeconfig_secret_ref else ""

    @property
    def kubeconfig_key(self) -> str:
        """The key in that Secret; empty: the usual ones."""
        return self.kubeconfig_secret_ref.key if self.kubeconfig_secret_ref else ""


class IgnoreRule(ApiStruct, frozen=True, kw_only=True):
    """Fields left to others, for objects of a kind, of one name or of any."""

    kind: KindName
    """The objects' kind."""
    name: OptionalObjectName = ""
    """The object's name; when empty, all of the kind."""
    json_pointers: Annotated[tuple[IgnoredPointer, ...], _MOST_ITEMS]
    """JSON pointers (RFC 6901). Of the metadata, single labels and annotations that are not
    ocistate's."""


class StackRef(ApiStruct, frozen=True, kw_only=True):
    """Another Stack."""

    name: Name
    """The Stack's name."""
    namespace: OptionalNamespace = ""
    """Its namespace; when empty, the same one."""


class CelRule(ApiStruct, frozen=True, kw_only=True):
    """How healthy objects of one kind are, in CEL over `metadata`, `spec`, `status`, `object`."""

    api_version: ApiVersion
    """The kind's `apiVersion`; the rule holds for all versions of its group."""
    kind: KindName
    """The objects' kind."""
    healthy: Cel
    """True when the object is healthy."""
    progressing: OptionalCel = OptionalCel()
    """True while it is on its way."""
    failed: OptionalCel = OptionalCel()
    """True when it has failed. Asked first."""

    @property
    def group_kind(self) -> GroupKind:
        """The kind in any of its versions."""
        return GroupKind(group_of(self.api_version), self.kind)


class StackWait(ApiStruct, frozen=True, kw_only=True):
    """What counts as healthy, and how soon."""

    timeout: Timeout = Timeout(300)
    """Until when objects must be healthy."""
    checks: Annotated[tuple[CelRule, ...], _MOST_CHECKS] = ()
    """Health in CEL, for single kinds, before the built-in rules."""


class ReportTarget(ApiStruct, frozen=True, kw_only=True):
    """Where the agent's reports go, and as whom."""

    repository: Repository | None = None
    """Where to; the repository of the channel's records when left out."""
    push_secret_ref: SecretRef | None = None
    """Credentials that may push there; those of `spec.source` when left out."""

    @property
    def push_secret(self) -> str:
        """The name of the Secret with credentials; empty without one."""
        return _name_of(self.push_secret_ref)


class StackSpec(ApiStruct, frozen=True, kw_only=True):
    """What belongs where, and under whose trust."""

    source: StackSource
    """Where the content comes from."""
    trust: StackTrust = StackTrust()
    """Who is trusted."""
    target: StackTarget = StackTarget()
    """Where the objects go; when empty, the agent's own cluster."""
    namespace: OptionalNamespace = ""
    """For objects that name none; the Stack's own when empty."""
    force_namespace: bool = False
    """Put all namespaced objects into it."""
    service_account_name: OptionalName = ""
    """Impersonated for every write."""
    prune: bool = True
    """Remove what the artifact has no more."""
    max_prune_percent: Annotated[int, Meta(ge=0, le=100)] = 50
    """More than this share of the objects is not removed at once without permission by the
    annotation `ocistate.dev/allow-prune`."""
    drift: DriftMode = "correct"
    """What to do about live changes of what the artifact says."""
    ignore: Annotated[tuple[IgnoreRule, ...], _MOST_ITEMS] = ()
    """Fields left to others."""
    depends_on: Annotated[tuple[StackRef, ...], _MOST_ITEMS] = ()
    """Stacks that must be Ready before."""
    adopt_from: Annotated[tuple[StackRef, ...], _MOST_ITEMS] = ()
    """Stacks to take objects over from, as far as they hand them over."""
    hand_over_to: Annotated[tuple[StackRef, ...], _MOST_ITEMS] = ()
    """Stacks that may take objects over."""
    wait: StackWait = StackWait()
    """What counts as healthy, and how soon."""
    on_failure: FailureMode = "hold"
    """When objects are not healthy in time: keep and report, or go back to what was healthy."""
    report: ReportTarget | None = None
    """Let the agent report how the Stack is, where it follows a channel."""
    suspend: bool = False
    """Do nothing until this is false again."""
    deletion_policy: DeletionPolicy = "delete"
    """Whether the objects go with the Stack."""


def _name_of(reference: SecretRef | None) -> str:
    return reference.name if reference else ""
