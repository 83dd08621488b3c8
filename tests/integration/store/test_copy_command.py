"""``ocistate copy`` and ``tag`` as a user types them: what is chosen, refused, and said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ocistate.channel.record import RECORD_TYPE, Record, name_tag, number_tag, sign_record
from ocistate.oci import open_store
from ocistate.oci.model import Manifest
from ocistate.oci.store import Store
from ocistate.reference import parse_reference
from testbed.registries import Distribution
from tests.support.command import Done, ocistate
from tests.support.factories.artifacts import put
from tests.support.factories.keys import make_signer

SIGNER = make_signer()


async def put_record(store: Store, sequence: int, *digests: str, reason: str = "") -> None:
    record = Record(
        channel="prod", repository="here", epoch=1, sequence=sequence, previous="",
        issued_at=datetime.now(UTC), reason=reason,
        subjects={f"repository-{n}": digest for n, digest in enumerate(digests)},
    )  # fmt: skip
    tags = (number_tag("prod", 1, sequence), name_tag("prod"))
    await put(store, sign_record(record, SIGNER), *tags, kind=RECORD_TYPE)


def work(place: str, story: Callable[[Store], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with open_store(parse_reference(place)) as store:
            return await story(store)

    return asyncio.run(main())


def tags_of(place: str) -> list[str]:
    tags: list[str] = work(place, lambda store: store.tags())
    return tags


@pytest.fixture
def source(tmp_path: Path) -> str:
    place = f"layout:{tmp_path}/source"

    async def fill(store: Store) -> None:
        for tag in ("1.0.0", "1.1.0", "2.0.0", "main"):
            await put(store, tag.encode(), tag)
        await put(store, b"old", "sha256-" + "0" * 64 + ".sig")

    work(place, fill)
    return place


def test_tags_are_chosen_by_globs_and_ranges(source: str, tmp_path: Path) -> None:
    for number, (arguments, wanted) in enumerate(
        [
            (("--all-tags",), ["1.0.0", "1.1.0", "2.0.0", "main"]),
            (("--tags", "^1"), ["1.0.0", "1.1.0"]),
            (("--tags", "m*", "--tags", ">1.5"), ["2.0.0", "main"]),
        ]
    ):
        target = f"layout:{tmp_path}/{number}"
        done = ocistate("copy", source, target, *arguments)
        assert tags_of(target) == wanted
        assert len(done.out.splitlines()) == len(wanted)
    nothing = ocistate("copy", source, f"layout:{tmp_path}/none", "--tags", "x*", check=False)
    assert nothing.code == 11
    assert "no tag of" in nothing.err
    assert not (tmp_path / "none").exists()


def test_one_artifact_keeps_its_tag_or_gets_another(source: str, tmp_path: Path) -> None:
    target = f"layout:{tmp_path}/target"
    digest = json.loads(ocistate("tag", f"{source}:main", "main", "-o", "json").out)["digest"]
    assert ocistate("copy", f"{source}:main", target).line == f"{target}@{digest}"
    ocistate("copy", f"{source}@{digest}", f"{target}:other")
    facts = json.loads(ocistate("copy", f"{source}:main", f"{target}:other", "-o", "json").out)
    assert facts["artifacts"] == [{"digest": digest, "tags": ["other"], "unchanged": ["other"]}]
    assert facts["bytes"] == 0
    assert tags_of(target) == ["main", "other"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("SRC", "DST"), 2, "--all-tags"),
        (("SRC", "DST:v1", "--all-tags"), 2, "many"),
        (("SRC:main", "DST@sha256:" + "0" * 64), 2, "digest"),
        (("SRC", "DST", "--all-tags", "--tags", "x"), 2, "cannot be combined"),
        (("SRC", "DST", "--tags", ">=y"), 2, "not a range"),
        (("SRC:main", "DST:channel-x"), 2, "channel's record"),
        (("SRC:channel-x", "DST"), 2, "--channels"),
        (("SRC:nothing", "DST"), 11, "nothing"),
    ],
)
def test_contradictory_copy_options_are_refused(
    source: str, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    target = f"layout:{tmp_path}/target"
    words = [word.replace("SRC", source).replace("DST", target) for word in arguments]
    refused = ocistate("copy", *words, check=False)
    assert refused.code == code
    assert said in refused.err
    assert not (tmp_path / "target").exists()


def test_copy_uses_separate_credentials_for_source_and_target(
    source: str, distribution: Distribution
) -> None:
    with Distribution(tls=True) as near, Distribution(mutual=True) as far:
        for registry in (near, far):
            assert registry.ca_file is not None
        assert far.client is not None
        first, second = f"{near.host}/two/sides", f"{far.host}/two/sides"
        shown = ("client-cert", far.client.certificate), ("client-key", far.client.key)

        def as_side(side: str, ca_file: Path | None, *more: tuple[str, Path]) -> list[str | Path]:
            assert ca_file is not None
            pairs = (("ca-file", ca_file), *more)
            return [word for name, path in pairs for word in (f"--{side}-{name}", path)]

        ocistate("copy", f"{source}:main", first, *as_side("to", near.ca_file))
        here, there = as_side("from", near.ca_file), as_side("to", far.ca_file, *shown)
        done = ocistate("copy", f"{first}:main", second, *here, *there)
        assert done.line.startswith(f"{second}@sha256:")
        # From TLS to plain HTTP: what one side is trusted by says nothing of the other.
        back = as_side("from", far.ca_file, *shown)
        ocistate("copy", f"{second}:main", f"{distribution.host}/two/sides", *back)
        assert tags_of(f"{distribution.host}/two/sides") == ["main"]

        # What is said of both holds where nothing is said of one.
        both = ("--ca-file", str(near.ca_file))
        ocistate("copy", f"{first}:main", second, *both, *there)
        wrong = ocistate("copy", f"{first}:main", second, *both, check=False)
        assert wrong.code == 13
        assert f"{far.host} cannot be used" in wrong.err
        half = ocistate("copy", f"{first}:main", second, *here, *there[:-2], check=False)
        assert half.code == 2
        assert "--to-client-cert and --to-client-key go together" in half.err


def copy_channels(source: str, target: str, *, check: bool = True) -> Done:
    return ocistate("copy", source, target, "--channels", check=check)


def test_channels_are_copied_with_history_and_the_newest_artifact(tmp_path: Path) -> None:
    source, target = f"layout:{tmp_path}/source", f"archive:{tmp_path}/target.tar"
    foreign = "sha256:" + "9" * 64

    async def fill(store: Store) -> Manifest:
        old, new = await put(store, b"old", "v1"), await put(store, b"new", "v2")
        await put_record(store, 1, old.descriptor.digest)
        await put_record(store, 2, new.descriptor.digest, foreign)
        return new

    new = work(source, fill)
    copy_channels(source, target)
    assert tags_of(target) == ["channel-prod", "channel-prod-1", "channel-prod-2"]
    assert work(target, lambda store: store.resolve(new.descriptor.digest))
    again = copy_channels(source, target)
    assert "0 manifests and 0 blobs (0.0 MiB) sent" in again.err


def test_a_channel_is_never_moved_back_nor_a_number_written_over(tmp_path: Path) -> None:
    source, target = f"layout:{tmp_path}/source", f"layout:{tmp_path}/target"
    made = work(source, lambda store: put(store, b"content"))
    digest = made.descriptor.digest
    work(source, lambda store: put_record(store, 1, digest))
    copy_channels(source, target)
    work(target, lambda store: put_record(store, 2, digest))
    ahead = work(target, lambda store: store.resolve("channel-prod"))
    done = copy_channels(source, target)
    assert "newer record, prod@2" in done.err
    assert work(target, lambda store: store.resolve("channel-prod")) == ahead

    async def fork(store: Store) -> None:
        await put(store, b"never copied", "v9")
        await put_record(store, 2, digest, reason="another one")

    work(source, fork)
    refused = copy_channels(source, target, check=False)
    assert "another record under channel-prod-2" in refused.err
    assert refused.code != 0
    assert work(target, lambda store: store.resolve("channel-prod")) == ahead


def test_tag_moves_a_tag_and_prints_the_previous_digest(source: str) -> None:
    before = json.loads(ocistate("tag", f"{source}:1.0.0", "1.0.0", "-o", "json").out)["digest"]
    facts = json.loads(ocistate("tag", f"{source}:2.0.0", "main", "new", "-o", "json").out)
    held = {item["tag"]: item["before"] for item in facts["tags"]}
    assert held["new"] == ""
    assert held["main"].startswith("sha256:")
    looked = json.loads(ocistate("tag", f"{source}:1.0.0", "main", "--dry-run", "-o", "json").out)
    assert looked["digest"] == before
    assert looked["tags"] == [{"tag": "main", "before": facts["digest"]}]
    for tag in ("channel-prod", "sha256-" + "0" * 64):
        assert ocistate("tag", f"{source}:main", tag, check=False).code == 2
