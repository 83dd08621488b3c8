"""How differences are shown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ocistate.cli.common.differences import print_change, print_fields, show_value


def show(capsys: pytest.CaptureFixture[str], *, err: bool = False) -> str:
    print_change("changed", "Deployment/shop/api\x1b[2J", err=err)
    print_fields([{"pointer": "/spec/\x9b1m", "before": 1, "after": "\x1b"}], err=err)
    shown = capsys.readouterr()
    assert (shown.out if err else shown.err) == ""
    return shown.err if err else shown.out


@pytest.mark.parametrize("err", [False, True])
def test_a_terminal_is_shown_colours_and_obeys_nothing_else(
    err: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly = (
        "~ Deployment/shop/api\ufffd[2J\n"
        '    /spec/\ufffd1m: 1 → "\\u001b"\n'
    )  # fmt: skip
    assert show(capsys, err=err) == plainly
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stderr if err else sys.stdout, "isatty", lambda: True)
    assert show(capsys, err=err) == (
        "\x1b[33m~ Deployment/shop/api\ufffd[2J\x1b[0m\n"
        '    /spec/\ufffd1m: \x1b[31m1\x1b[0m → \x1b[32m"\\u001b"\x1b[0m\n'
    )
    monkeypatch.setenv("NO_COLOR", "1")
    assert show(capsys, err=err) == plainly


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("é", '"é"'),
        ("a\u202eb\x9b", '"a\\u202eb\\u009b"'),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ("x" * 300, '"' + "x" * 199 + "…"),
    ],
)
def test_values_are_one_line_and_what_cannot_be_seen_is_escaped(value: Any, shown: str) -> None:
    assert show_value(value) == shown
