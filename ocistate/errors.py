"""The error tree: every error a user can meet.

    OcistateError
    ├── UsageError                 the request itself makes no sense
    │   └── InvalidReference       an artifact reference that cannot be parsed
    ├── InputError                 manifests or files given by the user are not acceptable
    │   ├── InvalidManifest        broken YAML, a missing field, a template marker, a duplicate
    │   └── PolicyRefused          refused on purpose: a plain Secret, an unpinned image, a link
    ├── ConfigError                a Stack, TrustPolicy, credential file or setting is wrong
    │   └── DependencyCycle        Stacks that wait for each other
    ├── StoreError                 a registry or layout did not do what it should
    │   ├── NotFound               no such repository, tag, manifest or blob
    │   ├── Unauthorized           credentials are missing, wrong or not sufficient
    │   ├── Unavailable            unreachable, too slow, or answering 429 or 5xx to the end
    │   ├── ProtocolError          an answer that the specification does not allow
    │   ├── HostNotAllowed         a host that the agent's operator keeps out of reach
    │   ├── DigestMismatch         bytes that are not what their digest says
    │   ├── LimitExceeded          more bytes, pages or entries than we are willing to read
    │   └── Conflict               another writer got in between
    ├── ArtifactError              an artifact that is not what we can use
    │   └── UnsafeContent          a layer that tries to escape, or to exhaust us
    ├── KeyFileError               a key that cannot be read or used
    │   └── WrongPassword          the key file's password is wrong or missing
    ├── IdentityError              no OIDC identity to sign with, or one that is refused
    ├── TrustError                 verification did not succeed: nothing may be applied
    │   ├── InvalidSignature       a signature that does not hold, or is not well formed
    │   ├── NotSigned              nothing is signed at all
    │   ├── Untrusted              signed, but by no one the policy trusts
    │   ├── ThresholdNotMet        trusted signers, but not enough of them
    │   ├── AttestationNotMet      a required attestation is missing, or not as required
    │   ├── NoPolicy               no policy covers this repository
    │   └── ChannelError           a channel's record that may not be followed
    │       ├── InvalidRecord      signed, but not a record as the format has it
    │       ├── ForeignRecord      the record of another channel or repository
    │       ├── EpochRefused       an epoch or sequence that the policy does not allow
    │       ├── RecordExpired      a record that is too old to be believed, or from the future
    │       ├── RecordReplayed     a record from before the one accepted last
    │       ├── ChannelFork        two records with one sequence
    │       ├── InvalidReport      signed, but not a report as the format has it
    │       └── ForeignReport      the report of another cluster, channel or repository
    ├── ChannelHeld                a channel on hold, which is not to be moved
    ├── RolloutWaits               a rollout that cannot go on yet
    ├── ClusterError               the Kubernetes API did not do what it should
    │   ├── ApiError               the API server answered with an error status
    │   ├── ClusterUnavailable     the API server cannot be reached
    │   ├── NoStack                no such Stack, or an object that is none's
    │   ├── MassPrune              more objects would be pruned than is allowed
    │   ├── LeaseLost              another agent may be writing by now: we must not
    │   ├── OwnershipConflict      an object belongs to another Stack
    │   ├── ApplyFailed            one or more objects could not be applied
    │   └── HealthTimeout          applied, but not healthy in time
    ├── TargetError                a target folder cannot be made equal
    └── InternalError              a bug of ours, met at the object that it is shown on

Each class has a stable ``reason`` (CamelCase, shown in conditions and JSON) and each error may
carry a ``hint``: what to do about it. Only ``ocistate.cli`` knows exit codes.
"""

from __future__ import annotations

from typing import ClassVar


class OcistateError(Exception):
    """Base of all errors meant for a user.

    ``message`` is what happened to what; ``hint`` is what to do, and may be empty.
    """

    reason: ClassVar[str] = "Error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InternalError(OcistateError):
    reason = "InternalError"


class UsageError(OcistateError):
    reason = "Usage"


class InvalidReference(UsageError):
    reason = "InvalidReference"


class InputError(OcistateError):
    reason = "InvalidInput"


class InvalidManifest(InputError):
    """``location`` is ``file:line`` of the trouble."""

    reason = "InvalidManifest"

    def __init__(self, location: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{location}: {message}" if location else message, hint=hint)
        self.location = location


class PolicyRefused(InputError):
    reason = "Refused"


class ConfigError(OcistateError):
    reason = "InvalidConfiguration"


class DependencyCycle(ConfigError):
    reason = "DependencyCycle"


class StoreError(OcistateError):
    reason = "StoreError"


class NotFound(StoreError):
    reason = "NotFound"


class Unauthorized(StoreError):
    reason = "Unauthorized"


class Unavailable(StoreError):
    reason = "RegistryUnavailable"


class ProtocolError(StoreError):
    reason = "RegistryProtocolError"


class HostNotAllowed(StoreError):
    """An address that we must not connect to, of a registry or an API server."""

    reason = "HostNotAllowed"


class DigestMismatch(StoreError):
    reason = "DigestMismatch"


class LimitExceeded(StoreError):
    reason = "LimitExceeded"


class Conflict(StoreError):
    reason = "Conflict"


class ArtifactError(OcistateError):
    reason = "InvalidArtifact"


class UnsafeContent(ArtifactError):
    reason = "UnsafeContent"


class KeyFileError(OcistateError):
    reason = "InvalidKey"


class WrongPassword(KeyFileError):
    reason = "WrongPassword"


class IdentityError(OcistateError):
    reason = "NoIdentity"


class TrustError(OcistateError):
    reason = "VerificationFailed"


class InvalidSignature(TrustError):
    reason = "InvalidSignature"


class NotSigned(TrustError):
    reason = "NotSigned"


class Untrusted(TrustError):
    reason = "UntrustedSigner"


class ThresholdNotMet(TrustError):
    reason = "ThresholdNotMet"


class AttestationNotMet(TrustError):
    reason = "AttestationNotMet"


class NoPolicy(TrustError):
    reason = "NoTrustPolicy"


class ChannelError(TrustError):
    reason = "ChannelRefused"


class InvalidRecord(ChannelError):
    reason = "InvalidRecord"


class ForeignRecord(ChannelError):
    reason = "ForeignRecord"


class EpochRefused(ChannelError):
    reason = "EpochRefused"


class RecordExpired(ChannelError):
    reason = "RecordExpired"


class RecordReplayed(ChannelError):
    reason = "RecordReplayed"


class ChannelFork(ChannelError):
    reason = "ChannelFork"


class InvalidReport(ChannelError):
    reason = "InvalidReport"


class ForeignReport(ChannelError):
    reason = "ForeignReport"


class ChannelHeld(OcistateError):
    reason = "ChannelHeld"


class RolloutWaits(OcistateError):
    reason = "RolloutWaits"


class ClusterError(OcistateError):
    reason = "ClusterError"


class ApiError(ClusterError):
    """The API server's ``Status``: ``status`` is the HTTP code, ``code`` its stated reason."""

    reason = "ApiError"

    def __init__(self, message: str, *, status: int, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


class ClusterUnavailable(ClusterError):
    reason = "ClusterUnavailable"


class MassPrune(ClusterError):
    reason = "MassPrune"


class NoStack(ClusterError):
    reason = "NoStack"


class LeaseLost(ClusterError):
    reason = "LeaseLost"


class OwnershipConflict(ClusterError):
    reason = "OwnershipConflict"


class ApplyFailed(ClusterError):
    reason = "ApplyFailed"


class HealthTimeout(ClusterError):
    reason = "HealthTimeout"


class TargetError(OcistateError):
    reason = "TargetError"
