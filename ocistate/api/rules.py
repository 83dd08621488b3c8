"""Rules over several fields of one object, held by our reader and by the API server alike.

    class Source(ApiStruct, frozen=True, kw_only=True):
        rules = (ExactlyOneOf("channel", "tag", "semver", "digest"),)

Each rule is written once: `cel` is what the API server evaluates (``x-kubernetes-validations``),
`broken` is the same in Python. Names are those of the wire (camelCase).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Violation(NamedTuple):
    """A rule that does not hold: at which field (empty: the object itself), and why."""

    field: str
    message: str


class RuleError(ValueError):
    """An object breaks one of its rules."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.field = violation.field


class Rule(Protocol):
    """One rule. ``broken`` gets the names of the fields that are given."""

    @property
    def cel(self) -> str:
        """The rule as the API server evaluates it."""
        ...

    @property
    def message(self) -> str:
        """What the API server answers when it does not hold."""
        ...

    def broken(self, given: Collection[str]) -> Violation | None:
        """Why the rule does not hold; None when it does."""
        ...


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _count(names: tuple[str, ...]) -> str:
    return f"[{', '.join(f'has(self.{name})' for name in names)}].filter(x, x).size()"


@dataclass(frozen=True, slots=True)
class ExactlyOneOf:
    """One of these fields must be given, and no other of them."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    @property
    def cel(self) -> str:
        return f"{_count(self.names)} == 1"

    @property
    def message(self) -> str:
        return f"exactly one of {_listed(self.names)} must be given"

    def broken(self, given: Collection[str]) -> Violation | None:
        found = [name for name in self.names if name in given]
        if len(found) == 1:
            return None
        return Violation("", f"has {len(found)} of {_listed(self.names)}; give exactly one of them")


@dataclass(frozen=True, slots=True)
class AtMostOneOf:
    """Of these fields at most one may be given."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    @property
    def cel(self) -> str:
        return f"{_count(self.names)} <= 1"

    @property
    def message(self) -> str:
        return f"at most one of {_listed(self.names)} may be given"

    def broken(self, given: Collection[str]) -> Violation | None:
        found = [name for name in self.names if name in given]
        if len(found) <= 1:
            return None
        return Violation(found[1], f"excludes {found[0]}; keep one of them")


@dataclass(frozen=True, slots=True)
class Requires:
    """The first field may be given only together with one of the others."""

    name: str
    others: tuple[str, ...]

    def __init__(self, name: str, *others: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "others", others)

    @property
    def cel(self) -> str:
        either = " || ".join(f"has(self.{other})" for other in self.others)
        return f"!has(self.{self.name}) || {either}"

    @property
    def message(self) -> str:
        return f"{self.name} needs {' or '.join(self.others)}"

    def broken(self, given: Collection[str]) -> Violation | None:
        if self.name not in given or any(other in given for other in self.others):
            return None
        return Violation(self.name, f"needs {' or '.join(self.others)}")
