"""Arguments and helpers that most commands share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from ocistate.errors import ConfigError, UsageError
from ocistate.reference import Reference, parse_reference

T = TypeVar("T")


class ReferenceType(click.ParamType[Reference]):
    """An artifact reference as an argument."""

    name = "ref"

    def convert(self, value: Any, param: Any, ctx: Any) -> Reference:
        return value if isinstance(value, Reference) else parse_reference(value)


class RepositoryType(ReferenceType):
    """A repository as an argument: a tag or digest in it would have no meaning."""

    name = "repository"

    def convert(self, value: Any, param: Any, ctx: Any) -> Reference:
        reference = super().convert(value, param, ctx)
        if reference.target is not None:
            raise UsageError(
                f"{value} names one artifact, and a repository is asked for",
                hint=f"write {reference.base}",
            )
        return reference


REFERENCE = ReferenceType()
REPOSITORY = RepositoryType()


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Enter the event loop, once per command."""
    return asyncio.run(coroutine)


def required_target(reference: Reference, verb: str) -> str:
    """The tag or digest a reference names. Raises UsageError when it names neither."""
    if reference.target is None:
        raise UsageError(
            f"{reference} names no tag and no digest",
            hint=f"write 'ocistate {verb} {reference}:TAG'",
        )
    return reference.target


def parse_annotations(values: tuple[str, ...]) -> dict[str, str]:
    """``k=v`` options as a dict. Raises ConfigError."""
    annotations = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--annotation {value!r} is not KEY=VALUE")
        annotations[key.strip()] = text
    return annotations
