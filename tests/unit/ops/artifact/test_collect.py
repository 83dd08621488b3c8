"""Collecting: which files are manifests of the user's, and which are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocistate.errors import InputError, PolicyRefused
from ocistate.ops.artifact.collect import collect


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(root: Path) -> list[str]:
    return sorted(collect([str(root)]).files)


def test_a_folder_is_read_whole_but_for_what_is_no_manifest(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="1", b_yml="2", sub__c_json="3", README_md="x", script_sh="x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("no")
    (tmp_path / ".hidden.yaml").write_text("no")
    assert names(tmp_path) == ["a.yaml", "b.yml", "sub/c.json"]


def test_ignore_files_speak_gitignore_and_the_nearest_has_the_last_word(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="", values_yaml="", sub__values_yaml="", sub__b_yaml="", out__c_yaml="")
    (tmp_path / ".sourceignore").write_text("values.yaml\n/out/\n# a comment\n")
    (tmp_path / "sub" / ".ocistateignore").write_text("!values.yaml\nb.yaml\n")
    assert names(tmp_path) == ["a.yaml", "sub/values.yaml"]


def test_links_inside_are_files_and_links_outside_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write(root, a_yaml="text")
    (root / "link.yaml").symlink_to("a.yaml")
    assert collect([str(root)]).files["link.yaml"] == b"text"
    (tmp_path / "secret.yaml").write_text("secret")
    (root / "out.yaml").symlink_to("../secret.yaml")
    with pytest.raises(PolicyRefused, match=r"out\.yaml"):
        collect([str(root)])
    (root / ".ocistateignore").write_text("out.yaml\n")
    assert "out.yaml" not in names(root)


def test_links_to_nothing_and_to_folders_are_named(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write(root, sub__a_yaml="x")
    (root / "gone.yaml").symlink_to("missing.yaml")
    with pytest.raises(InputError, match=r"gone\.yaml"):
        collect([str(root)])
    (root / "gone.yaml").unlink()
    (root / "loop").symlink_to(".")
    with pytest.raises(InputError, match="loop"):
        collect([str(root)])


def test_files_keep_their_paths_below_what_they_have_in_common(tmp_path: Path) -> None:
    write(tmp_path, x__a_yaml="1", x__y__a_yaml="2")
    found = collect([str(tmp_path / "x" / "a.yaml"), str(tmp_path / "x" / "y" / "a.yaml")])
    assert found.files == {"a.yaml": b"1", "y/a.yaml": b"2"}
    assert collect([str(tmp_path / "x" / "a.yaml")]).files == {"a.yaml": b"1"}


def test_standard_input_is_one_file(tmp_path: Path) -> None:
    assert collect(["-"], stdin=b"kind: X").files == {"manifests.yaml": b"kind: X"}


@pytest.mark.parametrize("stdin", [None, b"", b"  \n"])
def test_an_empty_standard_input_is_refused(stdin: bytes | None) -> None:
    with pytest.raises(InputError, match="standard input"):
        collect(["-"], stdin=stdin)


def test_contradictory_copy_options_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="1", notes_txt="x", sub__b_yaml="2")
    (tmp_path / "empty").mkdir()
    for inputs in (
        ["missing"],
        ["-", "a.yaml"],
        ["notes.txt"],
        ["sub", "a.yaml"],
        ["a.yaml", "./a.yaml"],
        ["empty"],
    ):
        with pytest.raises(InputError):
            collect([item if item == "-" else str(tmp_path / item) for item in inputs])


def test_what_is_too_much_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.yaml", "b.yaml"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(150 << 20)
    monkeypatch.setattr("ocistate.ops.artifact.collect._read", lambda path: pytest.fail("was read"))
    for inputs in ([str(tmp_path)], [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]):
        with pytest.raises(InputError, match="weigh 300 MiB, and an artifact may have 256"):
            collect(inputs)
