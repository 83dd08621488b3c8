"""Which rules the health of an owned object follows: its Stack's own, the watch's, the built-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ocistate.apply.live import live_of
from ocistate.apply.plan import Live
from ocistate.health.evaluate import health_of, needs_full_object
from ocistate.health.model import HEALTHY, Health, HealthRule, HealthStatus
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.objects import GroupKind, ObjectId

GOING: Final = Health(HealthStatus.PROGRESSING, "being deleted")


class HealthRules:
    """``checks`` go before the built-in rules, and those of an owner before all others."""

    def __init__(self, checks: Mapping[GroupKind, HealthRule] | None = None) -> None:
        self._checks = dict(checks or {})
        self._own: dict[str, Mapping[GroupKind, HealthRule]] = {}
        self._silent: set[GroupKind] = set()

    def of_owner(self, owner: str) -> Mapping[GroupKind, HealthRule]:
        """The rules that an owner brought along."""
        return self._own.get(owner, {})

    def set_owner(self, owner: str, checks: Mapping[GroupKind, HealthRule]) -> None:
        """Use these rules for what is seen of an owner's objects from now on; none: the usual ones.

        They are for kinds that report their health anyway: those are watched whole.
        """
        if checks:
            self._own[owner] = checks
        else:
            self._own.pop(owner, None)

    def of_object(
        self, resource: ApiResource, metadata: codec.Metadata
    ) -> Mapping[GroupKind, HealthRule]:
        """The rule that an object's owner brought along for its kind, if any."""
        live = live_of(metadata) if self._own else None
        key = GroupKind(resource.group, resource.kind)
        rule = self.of_owner(live.owner).get(key) if live is not None else None
        return {key: rule} if rule is not None else {}

    def silence(self, kind: GroupKind, silent: bool) -> None:
        """Note whether a kind never reports a status."""
        if silent:
            self._silent.add(kind)
        else:
            self._silent.discard(kind)

    def needs_full_object(self, id: ObjectId) -> bool:
        return needs_full_object(id.group, id.kind, self._checks)

    def evaluate(
        self,
        resource: ApiResource,
        live: Live,
        obj: Mapping[str, Any] | None,
        judged: Health | None,
    ) -> Health:
        """The health of an object, of which ``obj`` is the whole, where its kind is watched whole.

        ``judged`` is what its owner's rules made of it, where there are any.
        """
        if obj is None:
            return GOING if live.deleting else HEALTHY
        kind = GroupKind(resource.group, resource.kind)
        own = self.of_owner(live.owner) if judged is None else {kind: _always(judged)}
        reports = "status" in resource.subresources and kind not in self._silent
        return health_of(obj, has_status=reports, checks={**self._checks, **own})


def _always(judged: Health) -> HealthRule:
    def check(obj: Mapping[str, Any]) -> Health:
        return judged

    return check
