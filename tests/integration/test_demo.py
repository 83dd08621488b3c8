"""The demo tells its whole story, in a folder and against a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from testbed.controlplane import ControlPlane
from testbed.registries import ReferrersRegistry
from testbed.tools import ensure

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [str(ROOT / "scripts" / "demo"), *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(300)
def test_the_demo_runs_on_the_embedded_default() -> None:
    output = demo()
    assert "NotSigned" in output
    assert "does not match its name" in output
    assert "Done in" in output


@pytest.mark.timeout(300)
def test_the_demo_runs_against_a_named_context_of_a_real_cluster() -> None:
    kubectl = ensure("kubectl")["kubectl"].parent
    with ControlPlane() as plane, ReferrersRegistry() as registry:
        context = subprocess.check_output(
            [str(kubectl / "kubectl"), "config", "current-context"],
            env={**os.environ, "KUBECONFIG": str(plane.kubeconfig)},
            text=True,
        ).strip()
        output = demo(
            "--cluster",
            "--context",
            context,
            KUBECONFIG=str(plane.kubeconfig),
            OCISTATE_REGISTRY=registry.host,
            PATH=f"{kubectl}{os.pathsep}{os.environ['PATH']}",
        )
    assert "is not signed" in output
    assert "DriftCorrected" in output
    assert "Done in" in output
