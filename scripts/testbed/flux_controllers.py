"""Flux's source and kustomize controllers, the real ones, beside a control plane.

with ControlPlane() as cluster, Flux(cluster) as flux:
    ...                      # OCIRepositories and Kustomizations are served and reconciled
    flux.kustomize.pid       # each is a `Child`
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from . import TestbedError
from .builds import go
from .controlplane import ControlPlane
from .process import Child, free_port, listens
from .tools import HERE, ensure

MODULES = ("github.com/fluxcd/source-controller", "github.com/fluxcd/kustomize-controller")


class Flux:
    """Both controllers, with the rights of an administrator; they and their data go at the end."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._folder = tempfile.TemporaryDirectory(prefix="ocistate-flux-")
        self._programs = ensure("source-controller", "kustomize-controller", "kubectl")
        storage = free_port()
        address = f"127.0.0.1:{storage}"
        data = Path(self._folder.name) / "data"
        data.mkdir()
        self.source = self._controller(
            "source-controller",
            f"--storage-path={data}",
            f"--storage-addr={address}",
            f"--storage-adv-addr={address}",
        )
        self.kustomize = self._controller("kustomize-controller")

    def __enter__(self) -> Self:
        try:
            for path in custom_resources():
                self._kubectl("apply", "--server-side", "-f", str(path))
            self._kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
            self.source.start()
            self.kustomize.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kustomize.kill()
        self.source.kill()
        self._folder.cleanup()

    def _controller(self, name: str, *flags: str) -> Child:
        health = free_port()
        return Child(
            name=name,
            command=[
                str(self._programs[name]),
                f"--health-addr=127.0.0.1:{health}",
                "--metrics-addr=0",
                "--log-encoding=console",
                *flags,
            ],
            log=Path(self._folder.name) / f"{name}.log",
            ready=lambda: listens(health),
            env={"KUBECONFIG": str(self._plane.kubeconfig), "RUNTIME_NAMESPACE": "default"},
        )

    def _kubectl(self, *arguments: str) -> None:
        done = subprocess.run(
            [
                str(self._programs["kubectl"]),
                f"--kubeconfig={self._plane.kubeconfig}",
                *arguments,
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise TestbedError(f"kubectl {' '.join(arguments)}: {done.stderr}")


def custom_resources() -> Iterator[Path]:
    """The files of Flux's CustomResourceDefinitions, as its modules bring them."""
    for module in MODULES:
        done = subprocess.run(
            [go(), "mod", "download", "-json", module],
            cwd=HERE / "flux",
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise TestbedError(f"{module} could not be downloaded: {done.stdout}{done.stderr}")
        yield from sorted(
            (Path(json.loads(done.stdout)["Dir"]) / "config/crd/bases").glob("*.yaml")
        )
