"""The pinned programs of the test bed, built from source once.

    from testbed.tools import ensure
    oras = ensure("oras")["oras"]          # a Path to the executable

A tool is built into `~/.cache/ocistate/tools` (or `$OCISTATE_CACHE/tools`) under a name that holds
its version and a digest of what it is built from. So a second run builds nothing, and a version
bump builds anew beside the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
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
    """One program: what it is built from and roughly how long that takes on two cores.

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


TOOLS: dict[str, GoTool] = {
    tool.name: tool
    for tool in (
        _kubernetes("kube-apiserver", 300),
        _kubernetes("kube-controller-manager", 120),
        _kubernetes("kube-scheduler", 90),
        _kubernetes("kubectl", 60),
        GoTool(
            name="etcd",
            version="3.6.8",
            package="go.etcd.io/etcd/server/v3",
            module="kubernetes",
            seconds=30,
        ),
        GoTool(name="kwok", version="0.8.0", package="sigs.k8s.io/kwok/cmd/kwok", seconds=60),
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
        GoTool(
            name="cosign",
            version="3.1.3",
            package="github.com/sigstore/cosign/v3/cmd/cosign",
            seconds=180,
        ),
        GoTool(name="oras", version="1.3.6", package="oras.land/oras/cmd/oras", seconds=15),
        GoTool(
            name="skopeo",
            version="1.19.0",
            package="github.com/containers/skopeo/cmd/skopeo",
            module="skopeo",
            tags="containers_image_openpgp,containers_image_docker_daemon_stub,"
            "exclude_graphdriver_btrfs",
            seconds=45,
        ),
        GoTool(
            name="crane",
            version="0.22.1",
            package="github.com/google/go-containerregistry/cmd/crane",
            seconds=15,
        ),
        _flux("source-controller", "github.com/fluxcd/source-controller", 240),
        _flux("kustomize-controller", "github.com/fluxcd/kustomize-controller", 60),
        _flux("flux-push", ".", 15),
        GoTool(name="argocd-pull", version="3.2.0", package=".", module="argocd", seconds=45),
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
    unknown = sorted(set(names) - TOOLS.keys())
    if unknown:
        raise TestbedError(f"no such tool: {', '.join(unknown)}; there are {', '.join(TOOLS)}")
    return {name: _ensure(TOOLS[name]) for name in names}


def ensure_all() -> dict[str, Path]:
    """Return every tool of the table, building the missing ones."""
    return ensure(*TOOLS)


def _ensure(tool: GoTool) -> Path:
    folder = cache_dir() / "tools"
    target = folder / tool.key() / tool.name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    # One lock for all tools: two large Go builds at once need more memory than they save time.
    with locked(folder / ".lock", f"another process that builds into {folder}"):
        if not target.exists():
            _build(tool, target)
    return target


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


def _build(tool: GoTool, target: Path) -> None:
    program = go()
    target.parent.mkdir(exist_ok=True)
    say(f"building {tool.name} {tool.version} (usually about {tool.seconds} s the first time)")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as name:
        scratch = Path(name)
        # Static, so that the same file also runs in an image made FROM scratch.
        env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOBIN": str(scratch)}
        flags = ["-trimpath", "-ldflags", f"-s -w {tool.ldflags}".strip()]
        flags += ["-tags", tool.tags] if tool.tags else []
        if tool.module is None:
            command = [program, "install", *flags, f"{tool.package}@v{tool.version}"]
            where = scratch
        else:
            out = str(scratch / tool.name)
            command = [program, "build", "-mod=readonly", *flags, "-o", out, tool.package]
            where = HERE / tool.module
        done = subprocess.run(
            command, cwd=where, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        built = [path for path in scratch.iterdir() if path.is_file()]
        if done.returncode or len(built) != 1:
            tail = "\n".join(done.stdout.splitlines()[-20:])
            raise TestbedError(f"could not build {tool.name}: {' '.join(command)}\n{tail}")
        built[0].rename(target)  # only a finished build ever has the final name
    say(f"built {tool.name} {tool.version} in {time.monotonic() - started:.0f} s")


def go() -> str:
    """Return the go command, which must be new enough."""
    wanted = ".".join(map(str, MINIMUM_GO))
    advice = f"install Go {wanted} or newer (https://go.dev/dl) and put `go` on PATH"
    found = shutil.which("go")
    if found is None:
        raise TestbedError(f"Go is not installed: {advice}")
    reply = subprocess.run(
        [found, "env", "GOVERSION", "GOTOOLCHAIN"], cwd="/", capture_output=True, text=True
    )
    lines = [*reply.stdout.splitlines(), "", ""]
    match = re.match(r"go(\d+)\.(\d+)", lines[0])
    if match is None:
        raise TestbedError(f"`go env GOVERSION` said {lines[0]!r}: {advice}")
    version = (int(match[1]), int(match[2]))
    # From 1.21 on, Go fetches the toolchain that a module asks for, unless told to stay local.
    fetches = version >= (1, 21) and not lines[1].startswith("local")
    if version < MINIMUM_GO and not fetches:
        raise TestbedError(f"Go {match[1]}.{match[2]} is too old: {advice}")
    return found
