from typing import Any

import pytest

from ocistate.api.decode import decode, decode_tolerantly, encode
from ocistate.errors import ConfigError

from .shapes import Condition, Ref, Source, Spec, Status

SOURCE = {"repository": "r", "tag": "t"}
NOT_A_DURATION, DURATIONS = "not a duration of at most 100 years", "write 30s, 5m or 1h30m"


def fault(**source: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        decode(Spec, {"source": SOURCE | source}, path="spec", origin="f.yaml:3")
    return caught.value


def test_names_on_the_wire_are_camel_case() -> None:
    spec = decode(Spec, {"source": SOURCE | {"pullSecretRef": {"name": "pull"}}})
    assert spec.source.pull_secret_ref == Ref(name="pull")


def test_a_null_field_is_a_field_left_out() -> None:
    nulls = {"pullSecretRef": None, "count": None, "refs": None, "on": None}
    assert decode(Spec, {"source": SOURCE | nulls}) == decode(Spec, {"source": SOURCE})


def test_a_duration_is_seconds_in_python_and_text_on_the_wire() -> None:
    source = decode(Source, SOURCE | {"pause": "1m30s"})
    assert source.pause == 90.0
    assert encode(source)["pause"] == "1m30s"


@pytest.mark.parametrize(
    ("source", "path", "message", "hint"),
    [
        ({"tagg": "x"}, "source.tagg", "is not a known field", "did you mean tag?"),
        ({"repository": 4}, "source.repository", "must be a text, and is a whole number", ""),
        (
            {"refs": [{"name": "a"}, {"name": "B"}]},
            "source.refs[1].name",
            "is not valid",
            "allowed: lower-case letters",
        ),
        ({"refs": [{"name": ""}]}, "source.refs[0].name", "must not be empty", ""),
        (
            {"refs": [{"name": "a" * 9}]},
            "source.refs[0].name",
            "must have at most 8 characters",
            "",
        ),
        ({"refs": [{}]}, "source.refs[0].name", "is required", ""),
        ({"refs": {}}, "source.refs", "must be a list, and is a mapping", ""),
        ({"count": 0}, "source.count", "is out of bounds", "give a whole number from 1 to 100"),
        (
            {"count": 10**30},
            "source.count",
            "is out of bounds",
            "give a whole number from 1 to 100",
        ),
        ({"count": True}, "source.count", "must be a whole number, and is true or false", ""),
        ({"mode": "slow"}, "source.mode", "is 'slow'", "one of fast, safe"),
        (
            {"pause": "5"},
            "source.pause",
            "is '5', not a duration of at most 100 years",
            "write 30s, 5m or 1h30m",
        ),
        ({"pause": "1ms"}, "source.pause", "is '1ms'", "give 100ms to 876000h"),
        ({"pause": "999999h"}, "source.pause", f"is '999999h', {NOT_A_DURATION}", DURATIONS),
        (
            {"pause": 3},
            "source.pause",
            "is '3', not a duration of at most 100 years",
            "write 30s, 5m or 1h30m",
        ),
        ({"semver": "1"}, "source", "has 2 of tag and semver", "give exactly one of them"),
        (
            {"pullSecretRef": {"name": "a"}, "mode": "safe"},
            "source.mode",
            "excludes pullSecretRef",
            "keep one of them",
        ),
        ({"tag": "", "semver": "1", "count": 3}, "source.count", "needs tag", ""),
    ],
)
def test_an_error_names_the_origin_the_field_and_the_fix(
    source: dict[str, Any], path: str, message: str, hint: str
) -> None:
    error = fault(**source)
    assert error.message == f"f.yaml:3: spec.{path}: {message}"
    assert error.hint == hint


@pytest.mark.parametrize("value", [None, 4, [], "text"])
def test_what_is_no_mapping_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="must be a mapping"):
        decode(Spec, value)


def test_a_foreign_name_in_an_error_is_one_harmless_line() -> None:
    with pytest.raises(ConfigError) as caught:
        decode(Spec, {"source": SOURCE, "x\n\x1b[31m": 1})
    assert str(caught.value).isprintable()


def test_a_status_of_another_version_is_read_as_far_as_it_can_be() -> None:
    status = decode_tolerantly(
        Status,
        {
            "generation": "many",
            "conditions": [
                {"type": 3},
                "Ready",
                {"type": "Odd", "status": "Maybe"},
                {"type": "Ready", "status": "True", "since": "later"},
            ],
            "current": [],
            "new": {},
        },
    )
    assert status == Status(
        conditions=(Condition(type="Odd"), Condition(type="Ready", status="True"))
    )


@pytest.mark.parametrize("value", [None, 4, [], "text"])
def test_a_status_that_is_no_mapping_is_an_empty_one(value: Any) -> None:
    assert decode_tolerantly(Status, value) == Status()


def test_a_status_is_written_without_what_is_empty() -> None:
    assert encode(Status(generation=3)) == {"generation": 3}
