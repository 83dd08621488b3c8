"""Exit codes: by class, or by the nearest ancestor's."""

from __future__ import annotations

from ocistate import errors
from ocistate.cli.common.exits import EXIT_CODES, INTERRUPTED, exit_code


def test_each_class_of_the_table_has_its_own_code() -> None:
    assert all(exit_code(cls.__new__(cls)) == code for cls, code in EXIT_CODES.items())
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
    assert INTERRUPTED not in EXIT_CODES.values()


def test_a_class_that_is_not_listed_has_its_ancestors_code() -> None:
    class Refined(errors.NotSigned):
        """A case of it."""

    assert exit_code(Refined("no")) == EXIT_CODES[errors.NotSigned]
    assert exit_code(ValueError("no")) == 1


def test_the_codes_stay_as_they_are() -> None:
    known = {
        errors.UsageError: 2,
        errors.InputError: 3,
        errors.ConfigError: 4,
        errors.NotFound: 11,
        errors.Unavailable: 13,
        errors.NotSigned: 41,
        errors.Untrusted: 42,
        errors.HealthTimeout: 53,
        errors.ChannelHeld: 77,
        errors.RolloutWaits: 80,
    }
    assert {cls: EXIT_CODES[cls] for cls in known} == known
