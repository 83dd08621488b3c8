"""The pinned programs of the test bed, built from source once.

    from testbed.tools import ensure
    oras = ensure("oras")["oras"]          # a Path to the executable

A tool is built into `~/.cache/ocistate/tools` (or `$OCISTATE_CACHE/tools`) under a name that holds
its version and a digest of what it is built from. So a second run builds nothing, and a version
bump builds again beside the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import TestbedError

HERE = Path(__file__).resolve().parent
MINIMUM_GO = (1, 26)  # what the go.mod files beside this module ask for
KUBERNETES = "1.36.3"
FLUX = "1.9.0"  # of its controllers
_KUBE_VERSION_FLAG = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoTool:
    """One program: what it is built from and roughly how long that takes on two cores,
    after those before it in the table.

    `module` is a folder beside this file with a go.mod and go.sum to build in; without one, the
    package is installed as `package@v<version>`, checked against Go's checksum database.
    """

    name: str
    version: str
    package: str
    seconds: int
    module: str | None = None
    ldflags: str = ""
    tags: str = ""

    def key(self) -> str:
        """Return what a built file is filed under: a change in its sources makes a new key."""
        digest = hashlib.sha256(f"{self.package} {self.ldflags}{self.tags}".encode())
        if self.module is not None:
            folder = HERE / self.module
            for path in sorted([*folder.glob("*.go"), folder / "go.mod", folder / "go.sum"]):
                digest.update(path.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"

    @property
    def program(self) -> str:
        """What Go names the executable: the end of the package's path, a version left out."""
        where = self.package if self.package != "." else (self.module or "").replace("_", "-")
        return re.sub(r"/v\d+$", "", where).rpartition("/")[2]


def _kubernetes(name: str, seconds: int) -> GoTool:
    return GoTool(
        name=name,
        version=KUBERNETES,
        package=f"k8s.io/kubernetes/cmd/{name}",
        module="kubernetes",
        ldflags=_KUBE_VERSION_FLAG,
        seconds=seconds,
    )


def _flux(name: str, package: str, seconds: int) -> GoTool:
    return GoTool(name=name, version=FLUX, package=package, module="flux", seconds=seconds)


# In order of use: what most tests need comes first, and tests of what comes last are run last.
TOOLS: dict[str, GoTool] = {
    tool.name: tool
    for tool in (
        GoTool(
            name="distribution",
            version="3.1.2",
            package="github.com/distribution/distribution/v3/cmd/registry",
            seconds=75,
        ),
        GoTool(
            name="referrers-registry",
            version="0.22.1",
            package=".",
            module="referrers_registry",
            seconds=15,
        ),
        GoTool(name="oras", version="1.3.6", package="oras.land/oras/cmd/oras", seconds=10),
        GoTool(
            name="crane",
            version="0.22.1",
            package="github.com/google/go-containerregistry/cmd/crane",
            seconds=10,
        ),
        GoTool(
            name="etcd",
            version="3.6.8",
            package="go.etcd.io/etcd/server/v3",
            module="kubernetes",
            seconds=30,
        ),
        _kubernetes("kube-apiserver", 200),
        _kubernetes("kube-controller-manager", 70),
        _kubernetes("kube-scheduler", 10),
        _kubernetes("kubectl", 20),
        GoTool(name="kwok", version="0.8.0", package="sigs.k8s.io/kwok/cmd/kwok", seconds=110),
        GoTool(
            name="cosign",
            version="3.1.3",
            package="github.com/sigstore/cosign/v3/cmd/cosign",
            seconds=150,
        ),
        GoTool(
            name="skopeo",
            version="1.19.0",
            package="github.com/containers/skopeo/cmd/skopeo",
            module="skopeo",
            tags="containers_image_openpgp,containers_image_docker_daemon_stub,"
            "exclude_graphdriver_btrfs",
            seconds=40,
        ),
        GoTool(name="argocd-pull", version="3.2.0", package=".", module="argocd", seconds=60),
        _flux("source-controller", "github.com/fluxcd/source-controller", 240),
        _flux("kustomize-controller", "github.com/fluxcd/kustomize-controller", 60),
        _flux("flux-push", ".", 5),
    )
}


def cache_dir() -> Path:
    """Return the folder for everything the test bed keeps, outside the tree."""
    configured = os.environ.get("OCISTATE_CACHE")
    return Path(configured).absolute() if configured else Path.home() / ".cache" / "ocistate"


def say(message: str) -> None:
    """Tell the person at the terminal what is going on; stdout stays free for results."""
    print(f"testbed: {message}", file=sys.stderr, flush=True)


def ensure(*names: str) -> dict[str, Path]:
    """Return the executables of the named tools, building the missing ones.

    Two processes may ask at the same time: one builds, the other waits for it.
    """
    from .builds import build  # which builds what the table of this module says

    unknown = sorted(set(names) - TOOLS.keys())
    if unknown:
        raise TestbedError(f"no such tool: {', '.join(unknown)}; there are {', '.join(TOOLS)}")
    build({TOOLS[name]: path(TOOLS[name]) for name in names})
    return {name: path(TOOLS[name]) for name in names}


def ensure_all() -> dict[str, Path]:
    """Return every tool of the table, building the missing ones in its order."""
    return ensure(*TOOLS)


def missing() -> list[GoTool]:
    """The tools that are not built yet, in the order in which they will be."""
    return [tool for tool in TOOLS.values() if not path(tool).exists()]


def path(tool: GoTool) -> Path:
    """Where a tool is once it is built."""
    return cache_dir() / "tools" / tool.key() / tool.name


@contextmanager
def locked(path: Path, holder: str) -> Iterator[None]:
    """Hold a lock file; while another process does, say so and wait."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for {holder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
