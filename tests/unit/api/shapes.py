"""A small public object, with one of everything that structs can say."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from ocistate.api.rules import AtMostOneOf, ExactlyOneOf, Requires
from ocistate.api.scalars import Duration
from ocistate.api.struct import ApiStruct, StatusStruct

Name = Annotated[
    str,
    Meta(min_length=1, max_length=8, pattern="^[a-z]+$", extra={"allowed": "lower-case letters"}),
]


class Pause(Duration):
    least = 0.1


class Ref(ApiStruct, frozen=True, kw_only=True):
    name: Name


class Source(ApiStruct, frozen=True, kw_only=True):
    """Where content comes from."""

    rules = (
        ExactlyOneOf("tag", "semver"),
        AtMostOneOf("pullSecretRef", "mode"),
        Requires("count", "tag"),
    )

    repository: str
    """The repository
    to read from."""
    tag: str = ""
    semver: str = ""
    pull_secret_ref: Ref | None = None
    pause: Pause = Pause(60)
    """Between two looks."""
    mode: Literal["fast", "safe"] = "fast"
    refs: tuple[Ref, ...] = ()
    count: Annotated[int, Meta(ge=1, le=100)] = 50
    on: bool = True


class Spec(ApiStruct, frozen=True, kw_only=True):
    source: Source
    weights: dict[str, int] = field(default_factory=dict)


class Condition(StatusStruct, frozen=True, kw_only=True):
    type: str
    status: Literal["True", "False", "Unknown"] = "Unknown"


class Status(StatusStruct, frozen=True, kw_only=True):
    generation: int = 0
    conditions: tuple[Condition, ...] = ()
    current: Condition | None = None
