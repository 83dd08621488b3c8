"""A folder kept equal: what is ours, what is not, and a cut at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocistate.agent.targets.folder import OwnedFolder
from ocistate.errors import TargetError
from tests.support.command import ROOT

FILES = {"a.yaml": b"a", "sub/b.yaml": b"b", "sub/deep/c.yaml": b"c"}


def target(tmp_path: Path) -> OwnedFolder:
    return OwnedFolder(tmp_path / "out", tmp_path / "record.json")


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def verbs(made: OwnedFolder, files: dict[str, bytes]) -> dict[str, str]:
    return {action.path: action.verb for action in made.apply(files)}


def test_files_are_put_there_changed_and_taken_away(tmp_path: Path) -> None:
    made = target(tmp_path)
    assert verbs(made, FILES) == dict.fromkeys(FILES, "create")
    assert content(made.folder) == FILES
    assert verbs(made, FILES) == dict.fromkeys(FILES, "keep")
    after = {"a.yaml": b"A", "new.yaml": b"n"}
    assert verbs(made, after) == {
        "a.yaml": "change",
        "new.yaml": "create",
        "sub/b.yaml": "prune",
        "sub/deep/c.yaml": "prune",
    }
    assert content(made.folder) == after
    assert not (made.folder / "sub").exists()
    assert (made.folder / "a.yaml").stat().st_mode & 0o777 == 0o644


def test_another_process_knows_what_is_ours(tmp_path: Path) -> None:
    target(tmp_path).apply(FILES)
    target(tmp_path).apply({"a.yaml": b"a"})
    assert content(tmp_path / "out") == {"a.yaml": b"a"}
    target(tmp_path).remove()
    assert content(tmp_path / "out") == {}
    assert not (tmp_path / "record.json").exists()


def test_what_is_not_ours_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub" / "theirs.yaml").write_bytes(b"theirs")
    made = target(tmp_path)
    made.apply(FILES)
    made.remove()
    assert content(made.folder) == {"sub/theirs.yaml": b"theirs"}


def test_a_file_in_the_way_is_refused_before_anything_changes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.yaml").write_bytes(b"theirs")
    with pytest.raises(TargetError, match="not ours"):
        target(tmp_path).apply(FILES)
    assert content(tmp_path / "out") == {"a.yaml": b"theirs"}


def test_a_file_that_is_equal_already_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.yaml").write_bytes(b"a")
    made = target(tmp_path)
    assert verbs(made, FILES)["a.yaml"] == "keep"
    made.remove()
    assert content(made.folder) == {}


@pytest.mark.parametrize("damage", ["edit", "delete", "link", "mode"])
def test_what_somebody_did_to_our_files_is_put_right(tmp_path: Path, damage: str) -> None:
    made = target(tmp_path)
    made.apply(FILES)
    path = made.folder / "a.yaml"
    if damage == "edit":
        path.write_bytes(b"edited")
    elif damage == "delete":
        path.unlink()
    elif damage == "link":
        path.unlink()
        path.symlink_to("/etc/hostname")
    else:
        path.write_bytes(b"A")  # of the same size
    made.apply(FILES)
    assert content(made.folder) == FILES
    assert not path.is_symlink()


def test_a_link_among_the_folders_leads_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(outside)
    with pytest.raises(TargetError, match="not a folder"):
        target(tmp_path).apply(FILES)
    assert list(outside.iterdir()) == []


def test_without_pruning_files_stay_and_stay_ours(tmp_path: Path) -> None:
    made = target(tmp_path)
    made.apply(FILES)
    made.apply({"a.yaml": b"a"}, prune=False)
    assert content(made.folder) == FILES
    made.apply({"a.yaml": b"a"})
    assert content(made.folder) == {"a.yaml": b"a"}


def test_a_record_that_cannot_be_read_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    for broken in ("{", "[]", '{"files": 5}'):
        (tmp_path / "record.json").write_text(broken)
        with pytest.raises(TargetError, match="record"):
            target(tmp_path).apply(FILES)


def test_the_objects_of_the_files_are_remembered_until_others_take_their_place(
    tmp_path: Path,
) -> None:
    target(tmp_path).apply(FILES, objects=["ConfigMap/a", "ConfigMap/b"])
    assert target(tmp_path).objects() == {"ConfigMap/a", "ConfigMap/b"}
    target(tmp_path).apply(FILES, objects=["ConfigMap/b"])
    assert target(tmp_path).objects() == {"ConfigMap/b"}
    target(tmp_path).apply({"a.yaml": b"a"}, objects=["ConfigMap/c"], prune=False)
    assert target(tmp_path).objects() == {"ConfigMap/b", "ConfigMap/c"}


KILLED = """
import os, sys
from pathlib import Path
from ocistate.agent.targets import folder; from ocistate import durable
left = int(sys.argv[2])

def counted(real):
    def step(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args, **kwargs)
    return step

for name in ("open", "fsync", "replace", "unlink", "mkdir", "rename"):
    setattr(os, name, counted(getattr(os, name)))
root = Path(sys.argv[1])
made = folder.OwnedFolder(root / "out", root / "record.json")
made.apply({"b.yaml": b"new", "sub/new.yaml": b"n", "z.yaml": b"z"})
"""


def test_cut_at_any_step_the_next_run_completes_it(tmp_path: Path) -> None:
    """Each file is the old one or the new one, and the second run knows them all."""
    wanted = {"b.yaml": b"new", "sub/new.yaml": b"n", "z.yaml": b"z"}
    old = {"a.yaml": b"a", "b.yaml": b"old"}
    finished = False
    for step in range(200):
        root = tmp_path / str(step)
        root.mkdir()
        target(root).apply(old)
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(root), str(step)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        seen = {k: v for k, v in content(root / "out").items() if not Path(k).name.startswith(".")}
        assert all(value in (old.get(name), wanted.get(name)) for name, value in seen.items())
        target(root).apply(wanted)
        assert content(root / "out") == wanted
        target(root).remove()
        assert content(root / "out") == {}
        if killed.returncode == 0:
            finished = True
            break
        assert killed.returncode == 9
    assert finished


def test_what_a_cut_run_had_only_written_out_does_not_stay(tmp_path: Path) -> None:
    made = target(tmp_path)
    made.apply({"a.yaml": b"a"})
    # As a kill leaves it between writing out and putting in place.
    made._remember({"a.yaml": "", "sub/new.yaml": ""})
    for path in ("a.yaml", "sub/new.yaml"):
        made._stage(path, b"half")
    assert len(content(made.folder)) == 3

    after = target(tmp_path)
    after.apply({"a.yaml": b"a", "other.yaml": b"o"})
    assert content(after.folder) == {"a.yaml": b"a", "other.yaml": b"o"}
    assert not (after.folder / "sub").exists()

    after._stage("other.yaml", b"half")
    target(tmp_path).remove()
    assert content(after.folder) == {}
