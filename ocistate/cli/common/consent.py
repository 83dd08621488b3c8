"""Confirmation before something is changed: ``--yes`` and ``--dry-run``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from ocistate.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Whether a person has agreed already, and whether anything is to be written at all."""

    yes: bool
    dry_run: bool

    @property
    def must_ask(self) -> bool:
        """Whether a person must confirm before anything is written."""
        return not self.yes and not self.dry_run

    def check_terminal(self) -> None:
        """That a person can be asked, where one must be. Raises UsageError."""
        if self.must_ask and not sys.stdin.isatty():
            raise UsageError(
                "confirmation is needed, and standard input is not a terminal",
                hint="add --yes, or --dry-run to see what would change",
            )

    def confirm(self, question: str) -> None:
        """Ask, unless that is not needed. Raises UsageError, click.Abort for a no."""
        if self.must_ask:
            self.check_terminal()
            click.confirm(question, abort=True, err=True)


def consent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--yes`` and ``--dry-run``: the command gets ``consent``."""

    @click.option(
        "-y", "--yes", is_flag=True, help="Skip confirmation (required when not on a terminal)."
    )
    @click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
    @functools.wraps(command)
    def wrapper(*args: Any, yes: bool, dry_run: bool, **kwargs: Any) -> Any:
        return command(*args, consent=Consent(yes=yes, dry_run=dry_run), **kwargs)

    return wrapper
