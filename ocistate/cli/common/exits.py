"""Exit codes: an API for scripts. Documented in docs/cli.md, never renumbered."""

from __future__ import annotations

from typing import Final

from ocistate import errors

EXIT_CODES: Final[dict[type[errors.OcistateError], int]] = {
    errors.OcistateError: 1,
    errors.UsageError: 2,
    errors.InputError: 3,
    errors.ConfigError: 4,
    errors.StoreError: 10,
    errors.NotFound: 11,
    errors.Unauthorized: 12,
    errors.Unavailable: 13,
    errors.Conflict: 14,
    errors.DigestMismatch: 15,
    errors.ArtifactError: 20,
    errors.KeyFileError: 30,
    errors.IdentityError: 31,
    errors.TrustError: 40,
    errors.NotSigned: 41,
    errors.Untrusted: 42,
    errors.ThresholdNotMet: 43,
    errors.NoPolicy: 44,
    errors.InvalidSignature: 45,
    errors.AttestationNotMet: 46,
    errors.ClusterError: 50,
    errors.ClusterUnavailable: 51,
    errors.ApplyFailed: 52,
    errors.HealthTimeout: 53,
    errors.OwnershipConflict: 54,
    errors.MassPrune: 55,
    errors.TargetError: 60,
    errors.ChannelError: 70,
    errors.InvalidRecord: 71,
    errors.ForeignRecord: 72,
    errors.EpochRefused: 73,
    errors.RecordExpired: 74,
    errors.RecordReplayed: 75,
    errors.ChannelFork: 76,
    errors.ChannelHeld: 77,
    errors.InvalidReport: 78,
    errors.ForeignReport: 79,
    errors.RolloutWaits: 80,
}
"""By error class; a class that is not listed has its nearest ancestor's code."""

INTERRUPTED: Final = 130


def exit_code(error: BaseException) -> int:
    """The exit code of an error: its class's, or the nearest ancestor's, else 1."""
    for cls in type(error).__mro__:
        if cls in EXIT_CODES:
            return EXIT_CODES[cls]
    return 1
