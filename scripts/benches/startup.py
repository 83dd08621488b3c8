"""The start of the command line, and an agent that has nothing to do."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benches.common.measure import Figures, below, measure, median, ocistate, waited

_STACK = """
apiVersion: ocistate.dev/v1alpha1
kind: TrustPolicy
metadata: {name: all}
spec:
  repositories: ["**"]
  keys:
    - pem: |
%s
---
apiVersion: ocistate.dev/v1alpha1
kind: Stack
metadata: {name: bench}
spec:
  source: {repository: "layout:store", tag: v1, interval: 1s}
  target: {directory: out}
"""


def run(size: int | None = None) -> Figures:
    """``size`` is how often the command line is started, 15 times by default."""
    times = size or 15
    measure(ocistate("--help"))
    starts, bare = [], []
    for _ in range(times):
        starts.append(measure(ocistate("--help")).wall * 1000)
        bare.append(measure([sys.executable, "-c", "import click"]).wall * 1000)
    return {
        "ocistate --help (floor: importing click)": waited(
            median(starts), floor=median(bare), unit="ms", most=150
        ),
        "idle agent, files to a folder": below(_idle_memory(), unit="MB", most=80),
        **_cluster_agent(),
    }


def _idle_memory() -> float:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "m.yaml").write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n"
        )
        environ = {"OCISTATE_PASSWORD": ""}
        measure(ocistate("keygen", str(root / "k")), environ=environ)
        push = ("push", str(root / "m.yaml"), f"layout:{root}/store:v1", "--sign", "--key")
        measure(ocistate(*push, str(root / "k.key")), environ=environ)
        pem = "\n".join(f"        {line}" for line in (root / "k.pub").read_text().splitlines())
        (root / "stacks.yaml").write_text(_STACK % pem)
        agent = ocistate("agent", "--stacks", str(root / "stacks.yaml"), "--state", f"{root}/state")
        return resident(agent, root / "out" / "m.yaml")


def _cluster_agent() -> Figures:
    """The same against a real API server and registry, as ``install`` sets it up."""
    from benches.common.cluster import idle_agent_memory

    return {"idle agent in a cluster, 20 objects": below(idle_agent_memory(), unit="MB", most=80)}


def resident(command: list[str], sign: Path, *, settle: float = 5.0) -> float:
    """The resident memory, in MB, of a process some seconds after a file has appeared."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not sign.exists():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the agent did not roll out")
            time.sleep(0.1)
        time.sleep(settle)
        text = Path(f"/proc/{process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", text)
        assert match is not None
        return int(match[1]) / 1024
    finally:
        process.terminate()
        process.wait(30)
