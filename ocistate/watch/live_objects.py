"""The live objects that are known, by their owners and by their kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocistate.apply.plan import Live
from ocistate.objects import GroupKind, ObjectId


class LiveObjects(Mapping[ObjectId, Live]):
    """The objects of all owners, as `make_plan`'s ``others``; ten thousand are usual."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[ObjectId, Live]] = {}
        self._owners: dict[GroupKind, dict[ObjectId, str]] = {}

    def of(self, owner: str) -> Mapping[ObjectId, Live]:
        """The objects of one owner. Do not modify."""
        return self._by_owner.get(owner, {})

    def of_kind(self, kind: GroupKind) -> Mapping[ObjectId, str]:
        """The objects of one kind, and whose they are. Do not modify."""
        return self._owners.get(kind, {})

    def owner(self, id: ObjectId) -> str | None:
        """Whose an object is; None when it is not known."""
        return self._owners.get(GroupKind(id.group, id.kind), {}).get(id)

    def owners(self) -> list[str]:
        return [owner for owner, objects in self._by_owner.items() if objects]

    def kinds(self) -> set[GroupKind]:
        return {kind for kind, objects in self._owners.items() if objects}

    def get(self, id: ObjectId, default: Any = None) -> Any:
        owner = self.owner(id)
        return default if owner is None else self._by_owner[owner].get(id, default)

    def put(self, id: ObjectId, live: Live) -> None:
        """Note an object, in place of what was known of it."""
        before = self.owner(id)
        if before is not None and before != live.owner:
            del self._by_owner[before][id]
        self._by_owner.setdefault(live.owner, {})[id] = live
        self._owners.setdefault(GroupKind(id.group, id.kind), {})[id] = live.owner

    def drop(self, id: ObjectId) -> str | None:
        """Forget an object; return whose it was, None when it was not known."""
        owner = self._owners.get(GroupKind(id.group, id.kind), {}).pop(id, None)
        if owner is not None:
            objects = self._by_owner[owner]
            del objects[id]
            if not objects:
                del self._by_owner[owner]
        return owner

    def __getitem__(self, id: ObjectId) -> Live:
        live: Live | None = self.get(id)
        if live is None:
            raise KeyError(id)
        return live

    def __iter__(self) -> Iterator[ObjectId]:
        for objects in self._by_owner.values():
            yield from objects

    def __len__(self) -> int:
        return sum(map(len, self._by_owner.values()))
