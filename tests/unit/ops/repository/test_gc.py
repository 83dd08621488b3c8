"""Cleaning up where a registry keeps names of what is gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocistate.canonical import DIGEST_PATTERN
from ocistate.errors import NotFound, StoreError
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Descriptor, build_index
from ocistate.oci.tags import fallback_tag
from ocistate.ops.repository.gc import plan_gc, plan_removals, remove
from ocistate.ops.repository.listing import CREATED
from ocistate.ops.repository.retention import RetentionRules
from ocistate.reference import parse_reference
from tests.support.factories.artifacts import put

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Forgetful(LayoutStore):
    """Keeps the names of what was deleted by its digest, as some registries do in a race."""

    def __init__(self, folder: Path, *, deletes_tags: bool = True) -> None:
        super().__init__(parse_reference(f"layout:{folder}"))
        self.names: set[str] = set()
        self.deletes_tags = deletes_tags

    async def tags(self) -> list[str]:
        return sorted({*await super().tags(), *self.names})

    async def resolve(self, target: str) -> Descriptor:
        if target in self.names:
            raise NotFound(f"no {target}")
        return await super().resolve(target)

    async def delete(self, target: str) -> None:
        if not DIGEST_PATTERN.fullmatch(target) and not self.deletes_tags:
            raise StoreError("405")
        if target in self.names:
            self.names.discard(target)
            return
        before = set(await super().tags())
        await super().delete(target)
        if DIGEST_PATTERN.fullmatch(target):
            self.names |= {t for t in before - set(await super().tags()) if t.startswith("sha256-")}


async def fill(store: LayoutStore) -> list[str]:
    """Artifacts to which nothing refers any more: their lists of that are one manifest."""
    digests = []
    for number in range(4):
        created = {CREATED: f"2026-01-0{number + 1}T00:00:00Z"}
        made = await put(store, str(number).encode(), f"v{number}", annotations=created)
        await store.push_manifest(build_index(()), fallback_tag(made.descriptor.digest))
        digests.append(made.descriptor.digest)
    return digests


async def clean(store: LayoutStore) -> None:
    plan = await plan_gc(store, RetentionRules(keep=1), NOW)
    assert len(plan.doomed) == 3
    await remove(store, await plan_removals(store, plan))


@pytest.mark.parametrize("deletes_tags", [True, False])
def test_no_name_of_a_list_stays_behind(tmp_path: Path, deletes_tags: bool) -> None:
    async def story() -> None:
        store = Forgetful(tmp_path / "store", deletes_tags=deletes_tags)
        digests = await fill(store)
        await clean(store)
        left = set(await store.tags())
        if deletes_tags:
            assert left <= {"v3", fallback_tag(digests[3])}
        else:  # which is the registry's own affair
            assert {tag for tag in left if tag.startswith("v")} == {"v3"}

    asyncio.run(story())


def test_a_list_that_cannot_be_deleted_is_told_of(tmp_path: Path) -> None:
    class Stubborn(LayoutStore):
        async def delete(self, target: str) -> None:
            if not DIGEST_PATTERN.fullmatch(target):
                raise StoreError("405 to tags")

    async def story() -> None:
        store = Stubborn(parse_reference(f"layout:{tmp_path}/store"))
        await fill(store)
        with pytest.raises(StoreError, match="405 to tags"):
            await clean(store)

    asyncio.run(story())
