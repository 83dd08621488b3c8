"""The README's five minutes, typed as they stand there, on real parts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.controlplane import ControlPlane
from testbed.registries import Distribution
from testbed.tools import ensure

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_two_commands_are_there_and_executable() -> None:
    (shown,) = blocks("bash")
    commands = [line.split("#")[0].strip() for line in shown.splitlines()]
    assert commands == ["./scripts/demo", "./scripts/test"]
    for command in commands:
        assert os.access(ROOT / command, os.X_OK)


def test_every_document_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


@pytest.mark.timeout(300)
def test_the_commands_of_the_readme_work_as_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    tools = ensure("kubectl")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "ocistate").write_text(f'#!/bin/sh\nexec {sys.executable} -m ocistate "$@"\n')
    (bin_folder / "ocistate").chmod(0o755)
    script = "set -euo pipefail\n" + "\n".join(blocks("sh"))
    with ControlPlane() as plane, Distribution() as registry:
        environ = {
            **os.environ,
            "PATH": os.pathsep.join(
                [str(bin_folder), str(tools["kubectl"].parent), os.environ["PATH"]]
            ),
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(plane.kubeconfig),
            "REGISTRY": registry.host,
        }
        log = tmp_path / "output"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=tmp_path,
                env=environ,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(240)
            finally:
                os.killpg(process.pid, signal.SIGTERM)  # the agent, which goes on in the background
        output = log.read_text()
    assert process.returncode == 0, output
    assert re.search(r"ocistate-system +shop +sha256:\w+ .*True +True +True +Ready", output), output
    assert "stack.ocistate.dev/shop condition met" in output
