"""Confirmation: on a terminal one is asked, elsewhere --yes or --dry-run must be given."""

from __future__ import annotations

import click
import pytest

from ocistate.cli.common.consent import Consent
from ocistate.errors import UsageError


@pytest.mark.parametrize(
    "consent", [Consent(yes=True, dry_run=False), Consent(yes=False, dry_run=True)]
)
def test_no_one_is_asked_with_yes_or_in_a_dry_run(
    consent: Consent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    consent.check_terminal()
    consent.confirm("Sure?")
    assert not consent.must_ask


def test_without_a_terminal_the_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    consent = Consent(yes=False, dry_run=False)
    for ask in (consent.check_terminal, lambda: consent.confirm("Sure?")):
        with pytest.raises(UsageError, match="not a terminal") as found:
            ask()
        assert "--yes" in found.value.hint


@pytest.mark.parametrize("answer", [True, False])
def test_the_answer_counts(answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)

    def confirm(question: str, *, abort: bool, err: bool) -> None:
        assert (question, abort, err) == ("Sure?", True, True)
        if not answer:
            raise click.Abort

    monkeypatch.setattr(click, "confirm", confirm)
    consent = Consent(yes=False, dry_run=False)
    if answer:
        consent.confirm("Sure?")
    else:
        with pytest.raises(click.Abort):
            consent.confirm("Sure?")
