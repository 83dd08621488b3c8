"""``ocistate copy``: what is copied, what is refused, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments.shop import Shop, run


def test_one_artifact_comes_with_its_signature(shop: Shop, tmp_path: Path) -> None:
    target = f"layout:{tmp_path}/mirror"
    found = run("copy", f"{shop.store}:v2", target, "-o", "json").json
    (artifact,) = found["artifacts"]
    assert (artifact["digest"], artifact["tags"]) == (shop.digests[1], ["v2"])
    assert found["referrers"] == 1
    assert run("verify", f"{target}:v2", "--key", shop.pub("art")).line.endswith(shop.digests[1])


def test_a_dry_run_copies_nothing(shop: Shop, tmp_path: Path) -> None:
    ran = run("copy", f"{shop.store}:v2", f"layout:{tmp_path}/mirror", "--dry-run")
    assert "Would copy 1 artifact and 1 that refer" in ran.err
    assert not (tmp_path / "mirror").exists()


def test_a_second_copy_sends_nothing(shop: Shop, tmp_path: Path) -> None:
    target = f"layout:{tmp_path}/mirror"
    run("copy", f"{shop.store}:v1", target)
    again = run("copy", f"{shop.store}:v1", target, "-o", "json").json
    assert (again["manifests"]["sent"], again["blobs"]["sent"]) == (0, 0)
    assert again["artifacts"][0]["unchanged"] == ["v1"]


def test_patterns_choose_tags(shop: Shop, tmp_path: Path) -> None:
    ran = run("copy", "--tags", "v*", shop.store, f"archive:{tmp_path}/a.tar", "-o", "json")
    tags = [tag for artifact in ran.json["artifacts"] for tag in artifact["tags"]]
    assert sorted(tags) == ["v1", "v2", "v3"]


@pytest.mark.parametrize(
    ("source", "target", "options", "code", "said"),
    [
        ("", "", (), 2, "no tag and no digest"),
        ("", "", ("--all-tags", "--tags", "v*"), 2, "--all-tags and --tags"),
        ("", "", ("--tags", "nothing-*"), 11, "no tag"),
        ("", ":new", ("--all-tags",), 2, "names a tag, and many"),
        (":v1", "@sha256:" + "0" * 64, (), 2, "names a digest"),
        (":v1", ":channel-prod", (), 2, "tag"),
    ],
)
def test_wrong_choices_are_refused_before_anything_is_sent(
    shop: Shop,
    tmp_path: Path,
    source: str,
    target: str,
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    to = f"layout:{tmp_path}/mirror{target}"
    assert said in run("copy", f"{shop.store}{source}", to, *options, code=code).err
    assert not (tmp_path / "mirror").exists()
