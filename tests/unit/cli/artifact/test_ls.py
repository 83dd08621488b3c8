"""``ocistate ls``: a repository's tags, and what counts as a registry."""

from __future__ import annotations

import pytest

from ocistate.cli.artifact.ls import registry_of
from tests.support.environments.shop import REVISIONS, Shop, run


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("registry.example.com", "registry.example.com"),
        ("oci://localhost:5000/", "localhost:5000"),
        ("registry.example.com/shop", None),
        ("layout:folder", None),
        ("archive:file.tar", None),
    ],
)
def test_a_host_alone_is_a_registry(text: str, registry: str | None) -> None:
    assert registry_of(text) == registry


def test_artifacts_are_listed_with_revision_and_signature(shop: Shop) -> None:
    rows = {row["tag"]: row for row in run("ls", shop.store, "-o", "json").json}
    assert set(rows) == {"v1", "v2", "v3", "raw"}
    assert rows["v2"]["digest"] == shop.digests[1]
    assert rows["v2"]["revision"] == REVISIONS[2]
    assert (rows["v2"]["signed"], rows["raw"]["signed"]) == (True, False)
    assert all(row["problem"] == "" for row in rows.values())


def test_all_lists_the_tags_of_channels_too(shop: Shop) -> None:
    names = run("ls", shop.store, "--all", "-o", "name").out.split()
    assert f"{shop.store}:v1" in names
    assert any("prod" in name for name in names)


def test_the_table_has_a_row_for_each_tag(shop: Shop) -> None:
    head, *rows = run("ls", shop.store).out.splitlines()
    assert head.split() == ["TAG", "DIGEST", "CREATED", "SIGNED", "REVISION"]
    assert {row.split()[0] for row in rows} == {"v1", "v2", "v3", "raw"}


def test_one_artifact_is_not_listed(shop: Shop) -> None:
    assert "ocistate inspect" in run("ls", f"{shop.store}:v1", code=2).err
