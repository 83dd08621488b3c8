"""How the test bed builds its tools, with a `go` that only notes what it is asked."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from testbed import TestbedError, builds
from testbed.tools import TOOLS, GoTool, locked
from tests.support.progress import Progress

# It makes an empty file for each package that it is told to build, and notes its arguments.
GO = r"""#!/bin/sh
[ "$1" = env ] && { echo go1.99.0; echo local; exit; }
echo "$@" >> "$(dirname "$0")/asked"
case " $* " in *" -n "*) exit ;; *broken*) echo "no such package"; exit 1 ;; esac
out=$GOBIN
while [ $# -gt 0 ]; do
  case $1 in
    -o) out=$2; shift ;;
    -ldflags) shift ;;
    */*) [ -d "$1" ] || { name=${1%@*}; name=${name%/v3}; : > "$out/${name##*/}"; } ;;
  esac
  shift
done
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(GO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program.parent / "asked"


def places(folder: Path, *tools: GoTool) -> dict[GoTool, Path]:
    return {tool: folder / "tools" / tool.key() / tool.name for tool in tools}


def built(asked: Path) -> list[str]:
    """The commands that built something."""
    return [line for line in asked.read_text().splitlines() if " -n " not in f"{line} "]


def test_the_tools_of_a_module_are_built_by_one_command_the_others_one_by_one(
    asked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("etcd", "kube-apiserver", "kubectl", "kwok")
    wanted = places(tmp_path, *(TOOLS[name] for name in names))
    builds.build(wanted)
    together, alone = built(asked)
    assert together.endswith(
        "go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver"
        " k8s.io/kubernetes/cmd/kubectl"
    )
    assert alone.endswith("sigs.k8s.io/kwok/cmd/kwok@v0.8.0")
    assert all(path.is_file() for path in wanted.values())
    said = capfd.readouterr().err
    assert "left: kwok, about 110 s" in said
    builds.build(wanted)
    assert len(built(asked)) == 2, "what is there is not built again"


def test_every_module_is_built_with_the_flags_that_let_them_share_what_is_compiled(
    asked: Path, tmp_path: Path
) -> None:
    builds.build(places(tmp_path, TOOLS["oras"], TOOLS["crane"], TOOLS["skopeo"]))
    flags = {line.partition(" -trimpath ")[2].partition(" -ldflags ")[0] for line in built(asked)}
    assert len(flags) == 1


def test_what_cannot_be_built_is_named_with_what_go_said(asked: Path, tmp_path: Path) -> None:
    tool = GoTool(name="b", version="1", package="example.com/broken", seconds=1)
    with pytest.raises(TestbedError, match=r"could not build b: .*\nno such package"):
        builds.build(places(tmp_path, tool))


def test_who_waits_goes_on_when_its_own_tool_is_there_not_when_all_are(
    asked: Path, tmp_path: Path
) -> None:
    wanted = places(tmp_path, TOOLS["crane"])
    (path,) = wanted.values()
    path.parent.mkdir(parents=True)
    waiting = threading.Thread(target=builds.build, args=(wanted,))
    with locked(tmp_path / "tools" / ".lock", "the other one"):
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        path.touch()  # the other process has built it, and goes on with others
        waiting.join(20)
        assert not waiting.is_alive()
    assert not asked.exists()


def test_the_table_has_every_module_in_one_piece() -> None:
    """Else its tools would be built by two commands."""
    modules = [batch[0].module for batch in builds.batches([*TOOLS.values()]) if batch[0].module]
    assert len(modules) == len(set(modules))


def test_progress_tells_which_tools_are_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCISTATE_CACHE", str(tmp_path))
    line = Progress().line(61)
    assert line.startswith("0 of 0 tests done after 61 s; to be built: distribution, ")
    assert line.endswith(f"about {sum(tool.seconds for tool in TOOLS.values())} s")


def test_the_test_bed_needs_nothing_installed() -> None:
    """It builds while the virtual environment is made."""
    code = "import sys; sys.path.insert(0, 'scripts'); import testbed.builds, testbed.home"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
