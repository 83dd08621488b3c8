"""What reaches the terminal: texts from a registry must not command it."""

from __future__ import annotations

import json

import pytest
import yaml

from ocistate.cli.common.differences import print_change
from ocistate.cli.common.output import emit, note, result, short, table, warn
from ocistate.cli.main import main


def test_what_a_terminal_would_obey_is_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    for write in (note, result, warn):
        write("a\x1b[2Jb\x9b31m\u202ec\nd\te")
        shown = capsys.readouterr()
        assert "a\ufffd[2Jb\ufffd31m\ufffdc d e" in shown.out + shown.err


def test_errors_are_shown_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "host.example/a:\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_digests_are_cut_short_wherever_they_stand() -> None:
    digest = "0123456789ab" * 5 + "0123"
    assert short(f"sha256:{digest}") == "sha256:0123456789ab"
    assert short(f"sha256-{digest}.sig[3]") == "sha256-0123456789ab.sig[3]"


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["inspect", "layout:/nowhere", "--debug"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "Error: layout:/nowhere names no tag" in shown


def test_what_follows_two_dashes_is_another_programs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bisect", "layout:/nowhere", "prod", "--good=1", "--", "true", "--debug"])
    assert "Traceback" not in capsys.readouterr().err


def test_a_verb_that_is_not_there_is_answered_with_those_like_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["promot", "--to", "prod"]) == 2
    assert "No such command 'promot'. Did you mean 'ocistate promote'?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert capsys.readouterr().err.endswith("No such command 'xyzzy'.\n")


HOSTILE = "a\x1b[2J\x9b31m\nSignatures:  1\n\u202eevil\u2066\u2028next\r\x07\x00b"


def harmless(text: str) -> bool:
    """Whether no terminal obeys anything in it."""
    return all(c.isprintable() for c in text)


def test_every_line_that_is_printed_is_one_and_harmless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result(HOSTILE)
    note(HOSTILE)
    warn(HOSTILE)
    print_change("added", HOSTILE)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert len(err.splitlines()) == 2
    table(("a", "b"), [(HOSTILE, "x"), ("y", HOSTILE)])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert all(map(harmless, [*out.splitlines(), *err.splitlines(), *rows]))


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_machines_read_the_very_text_and_terminals_obey_nothing(
    capsys: pytest.CaptureFixture[str], format_: str, count: int
) -> None:
    value = [{HOSTILE: HOSTILE, "plain": "größer 中文"}] * count
    emit(value, format_)
    out = capsys.readouterr().out
    assert all(map(harmless, out.split("\n")))
    assert (json.loads(out) if format_ == "json" else yaml.safe_load(out)) == value
