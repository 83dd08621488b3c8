"""The referrers tag schema, against a tag in memory and other writers of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from ocistate.errors import Conflict, NotFound, ProtocolError
from ocistate.oci.model import (
    EMPTY_CONFIG,
    Descriptor,
    Index,
    Manifest,
    build_index,
    build_manifest,
)
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.fallback import FallbackTags
from ocistate.oci.registry.http import Http
from ocistate.oci.tags import fallback_tag
from ocistate.reference import parse_reference
from tests.support.loop import in_loop

SUBJECT = build_manifest(config=EMPTY_CONFIG, layers=()).descriptor
TAG = fallback_tag(SUBJECT.digest)


def referrer(number: int) -> Manifest:
    return build_manifest(
        config=EMPTY_CONFIG,
        layers=(),
        artifact_type="application/vnd.example",
        subject=SUBJECT,
        annotations={"number": str(number)},
    )


class Repository:
    """Tags in memory. After each write ``overwrite`` may put something else."""

    def __init__(self, overwrite: Callable[[Repository], None] = lambda repository: None) -> None:
        self.tags: dict[str, Manifest | Index] = {}
        self.puts = 0
        self.slept: list[float] = []
        self._overwrite = overwrite
        self._now = 0.0

    async def fetch(self, tag: str) -> Manifest | Index:
        self._now += 1.0
        await asyncio.sleep(0)
        if tag not in self.tags:
            raise NotFound(f"there is no {tag}")
        return self.tags[tag]

    async def put(self, index: Index, tag: str) -> None:
        self.puts += 1
        await asyncio.sleep(0)
        self.tags[tag] = index
        self._overwrite(self)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def fallback(self) -> FallbackTags:
        http = Http(
            "127.0.0.1:1",
            StoreOptions(),
            sleep=self.sleep,
            clock=lambda: self._now,
            jitter=lambda: 0.0,
        )
        return FallbackTags(
            reference=parse_reference("oci://127.0.0.1:1/shop"),
            fetch=self.fetch,
            put=self.put,
            http=http,
        )

    @property
    def listed(self) -> list[Descriptor]:
        found = self.tags.get(TAG)
        return list(found.manifests) if isinstance(found, Index) else []


@in_loop
async def test_a_subject_without_a_tag_has_no_referrers() -> None:
    assert (await Repository().fallback().read(SUBJECT.digest)).manifests == ()


@in_loop
async def test_a_tag_that_is_no_index_is_refused() -> None:
    repository = Repository()
    repository.tags[TAG] = referrer(1)
    with pytest.raises(ProtocolError, match="is not an image index"):
        await repository.fallback().read(SUBJECT.digest)


@in_loop
async def test_a_referrer_is_listed_with_its_annotations_beside_the_others() -> None:
    repository = Repository()
    fallback = repository.fallback()
    await fallback.add(referrer(1), SUBJECT)
    await fallback.add(referrer(2), SUBJECT)
    assert [item.annotations["number"] for item in repository.listed] == ["1", "2"]
    assert {item.artifact_type for item in repository.listed} == {"application/vnd.example"}


@in_loop
async def test_annotations_of_the_index_are_kept() -> None:
    repository = Repository()
    repository.tags[TAG] = build_index((), {"owner": "another tool"})
    await repository.fallback().add(referrer(1), SUBJECT)
    found = repository.tags[TAG]
    assert (len(repository.listed), dict(found.annotations)) == (1, {"owner": "another tool"})


@in_loop
async def test_a_listed_referrer_is_not_written_again() -> None:
    repository = Repository()
    fallback = repository.fallback()
    await fallback.add(referrer(1), SUBJECT)
    await fallback.add(referrer(1), SUBJECT)
    assert repository.puts == 1


@in_loop
async def test_a_write_that_another_writer_lost_is_repeated() -> None:
    def lose_the_first(repository: Repository) -> None:
        if repository.puts == 1:
            repository.tags[TAG] = build_index((referrer(9).descriptor,))

    repository = Repository(lose_the_first)
    await repository.fallback().add(referrer(1), SUBJECT)
    assert {item.digest for item in repository.listed} == {
        referrer(1).descriptor.digest,
        referrer(9).descriptor.digest,
    }
    # Twice as long as reading took, and more: another writer was as slow.
    assert repository.slept == [pytest.approx(2.05)] * 2


@in_loop
async def test_a_writer_that_always_loses_gives_up_with_a_conflict() -> None:
    repository = Repository(lambda repository: repository.tags.clear())
    with pytest.raises(Conflict, match="other writers kept removing"):
        await repository.fallback().add(referrer(1), SUBJECT)
    assert repository.puts == 40


@in_loop
async def test_writers_of_one_process_do_not_race_each_other() -> None:
    repository = Repository()
    fallback = repository.fallback()
    await asyncio.gather(*(fallback.add(referrer(n), SUBJECT) for n in range(5)))
    assert (repository.puts, len(repository.listed)) == (5, 5)


@in_loop
async def test_a_deleted_referrer_is_removed_and_the_others_stay() -> None:
    repository = Repository()
    fallback = repository.fallback()
    for number in (1, 2):
        await fallback.add(referrer(number), SUBJECT)
    await fallback.remove(referrer(1), SUBJECT)
    assert [item.annotations["number"] for item in repository.listed] == ["2"]


@in_loop
async def test_removing_what_is_not_listed_writes_nothing() -> None:
    repository = Repository()
    unknown = replace(referrer(1), raw=b"")
    await repository.fallback().remove(unknown, SUBJECT)
    assert repository.puts == 0
