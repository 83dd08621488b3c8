"""``ocistate pull``: the files of an artifact, all or nothing."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support.environments.shop import Shop, run


def test_files_are_written_into_a_new_folder(shop: Shop, tmp_path: Path) -> None:
    ran = run("pull", f"{shop.store}:v1", "-o", tmp_path / "out")
    assert ran.line == f"{shop.store}@{shop.digests[0]}"
    (path,) = (tmp_path / "out").iterdir()
    kinds = {each["kind"] for each in yaml.safe_load_all(path.read_text())}
    assert kinds == {"ConfigMap", "Secret"}


def test_a_dash_prints_all_documents(shop: Shop) -> None:
    documents = list(yaml.safe_load_all(run("pull", f"{shop.store}:v2", "-o", "-").out))
    assert [each["kind"] for each in documents] == ["ConfigMap", "Secret", "Deployment"]


def test_a_folder_with_files_in_it_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert "not empty" in run("pull", f"{shop.store}:v1", "-o", tmp_path, code=60).err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_unknown_tag_writes_nothing(shop: Shop, tmp_path: Path) -> None:
    run("pull", f"{shop.store}:v9", "-o", tmp_path / "out", code=11)
    assert not (tmp_path / "out").exists()
