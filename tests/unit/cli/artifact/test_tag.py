"""``ocistate tag``: more names for an artifact; a dry run changes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments.shop import Shop, run


def names(shop: Shop) -> dict[str, str]:
    return {row["tag"]: row["digest"] for row in run("ls", shop.store, "-o", "json").json}


def test_a_tag_is_added_and_moved(shop: Shop, tmp_path: Path) -> None:
    mine = shop.copy(tmp_path)
    found = run("tag", f"{mine.store}:v1", "stable", "v2", "-o", "json").json
    assert found["digest"] == shop.digests[0]
    assert found["tags"] == [
        {"tag": "stable", "before": ""},
        {"tag": "v2", "before": shop.digests[1]},
    ]
    assert names(mine)["stable"] == names(mine)["v2"] == shop.digests[0]
    assert "names" in run("tag", f"{mine.store}:v1", "stable").err


def test_a_dry_run_changes_nothing(shop: Shop) -> None:
    before = names(shop)
    assert "Would tag" in run("tag", f"{shop.store}:v1", "stable", "--dry-run").err
    assert names(shop) == before


@pytest.mark.parametrize(
    ("reference", "tag", "code"),
    [("", "stable", 2), (":v9", "stable", 11), (":v1", "a b", 2), (":v1", "sha256-" + "0" * 64, 2)],
)
def test_wrong_names_change_nothing(shop: Shop, reference: str, tag: str, code: int) -> None:
    before = names(shop)
    ran = run("tag", f"{shop.store}{reference}", tag, "fine", code=code)
    assert ran.out == ""
    assert "Error: " in ran.err
    assert names(shop) == before
