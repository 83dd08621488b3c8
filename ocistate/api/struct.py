"""What public objects are made of."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from ocistate.api.rules import Rule, RuleError


class ApiStruct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a public object: frozen, strict, camelCase on the wire, with rules over fields."""

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Held by our reader and by the API server."""
    reader_rules: ClassVar[tuple[Rule, ...]] = ()
    """Held by our reader alone: the API server took objects that break them."""
    cluster_rules: ClassVar[tuple[Rule, ...]] = ()
    """Held by the API server alone: a file may have what an object in a cluster may not."""

    def __post_init__(self) -> None:
        """Raises RuleError when one of the rules does not hold."""
        given = self.given() if self.rules or self.reader_rules else set()
        for rule in (*self.rules, *self.reader_rules):
            if violation := rule.broken(given):
                raise RuleError(violation)

    def given(self) -> set[str]:
        """The names, as on the wire, of the fields that differ from their default."""
        values = [getattr(self, name) for name in self.__struct_fields__]
        required = len(values) - len(self.__struct_defaults__)
        return {
            name
            for place, (name, value) in enumerate(
                zip(self.__struct_encode_fields__, values, strict=True)
            )
            if place < required or value != _default(self.__struct_defaults__[place - required])
        }


class StatusStruct(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of a status: read tolerantly, and what is empty is not written."""


def _default(default: Any) -> Any:
    # msgspec holds the factory of a mutable default in a Factory.
    return default.factory() if hasattr(default, "factory") else default
