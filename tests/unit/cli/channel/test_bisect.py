"""``ocistate bisect``: the first bad release, by a command's exit codes."""

from __future__ import annotations

import sys

import pytest

from tests.support.environments.shop import Shop, run


def bisect(shop: Shop, program: str, *options: str, code: int = 0) -> object:
    ran = run(
        "bisect", shop.store, "staging", "--good", "1", *options, *shop.trust, "-o", "json",
        "--", sys.executable, "-c", program, "{}",
        code=code,
    )  # fmt: skip
    return ran.json if ran.out else ran.err


@pytest.mark.parametrize(("verdict", "first_bad"), [(0, "staging@3"), (1, "staging@2")])
def test_the_command_decides_by_its_exit_code(shop: Shop, verdict: int, first_bad: str) -> None:
    found = bisect(shop, f"raise SystemExit({verdict})")
    assert isinstance(found, dict)
    assert found["firstBad"] == first_bad
    (tried,) = found["tried"]
    assert (tried["release"], tried["digest"]) == ("staging@2", shop.digests[1])


def test_the_command_gets_the_artifact(shop: Shop) -> None:
    program = f"import os, sys; sys.exit(not sys.argv[1].endswith({shop.digests[1]!r}))"
    found = bisect(shop, program)
    assert isinstance(found, dict)
    assert found["tried"][0]["verdict"] == "good"


def test_a_skipped_release_stays_a_suspect(shop: Shop) -> None:
    found = bisect(shop, "raise SystemExit(125)")
    assert isinstance(found, dict)
    assert found["suspects"] == ["staging@2"]


@pytest.mark.parametrize(
    ("program", "options", "said"),
    [
        ("raise SystemExit(200)", (), "ended with 200"),
        ("pass", ("--good", "3"), "is not before"),
        ("pass", ("--good", "9"), "no release 9"),
        ("pass", ("--bad", "9"), "no release 9"),
    ],
)
def test_what_is_no_verdict_ends_the_search(
    shop: Shop, program: str, options: tuple[str, ...], said: str
) -> None:
    assert said in str(bisect(shop, program, *options, code=2))


def test_a_command_that_is_missing_is_named(shop: Shop) -> None:
    options = ("--good", "1", *shop.trust, "--", "no-such-program")
    assert "no-such-program" in run("bisect", shop.store, "staging", *options, code=2).err
