"""A Docker engine to run containers on, and images made here, because nothing need be pulled.

with ensure_docker() as engine:
    registry_image(engine)                   # "ocistate-test/registry:3.1.2"
    engine.run("run", "--rm", "-d", ...)
    os.environ.update(engine.environment)    # for testcontainers and other clients
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import TestbedError
from .packages import ensure_command
from .process import Child
from .tools import TOOLS, ensure, say

REGISTRY_PORT = 5000


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine that answers. `host` is its DOCKER_HOST; None means the client's default."""

    host: str | None

    @property
    def environment(self) -> dict[str, str]:
        """What to add to the environment of Docker clients so that they use this engine."""
        return {} if self.host is None else {"DOCKER_HOST": self.host}

    def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run the docker command and return what it printed; raise with its error otherwise."""
        done = subprocess.run(
            [str(ensure_command("docker", "docker.io")), *arguments],
            env={**os.environ, **self.environment},
            input=stdin if stdin is not None else b"",
            capture_output=True,
        )
        if done.returncode:
            error = done.stderr.decode(errors="replace").strip()
            raise TestbedError(f"docker {' '.join(arguments)} failed: {error}")
        return done.stdout.decode(errors="replace").strip()

    def answers(self) -> bool:
        """Whether the engine is up."""
        try:
            self.run("version", "--format", "{{.Server.Version}}")
        except TestbedError:
            return False
        return True


@contextmanager
def ensure_docker() -> Iterator[Engine]:
    """Yield a Docker engine: the one that answers already, or else one started for this context.

    An engine of our own has its own socket and data folder and touches no other engine's images.
    It needs root; Debian's docker.io is installed when there is no dockerd.
    """
    if shutil.which("docker") is not None:
        present = Engine(None)
        if present.answers():
            yield present
            return
    with _own_engine() as engine:
        yield engine


@contextmanager
def _own_engine() -> Iterator[Engine]:
    if os.geteuid() != 0:
        raise TestbedError("no Docker engine answers, and only root can start one: start Docker")
    dockerd = ensure_command("dockerd", "docker.io")
    ensure_command("docker", "docker.io")
    ensure_command("iptables")
    # A folder of its own for each engine, so that two test runs do not meet in it. Its path is
    # short, because that of a socket must fit in 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ocistate-docker-") as name:
        runtime = Path(name).resolve()
        engine = Engine(f"unix://{runtime}/docker.sock")
        config = runtime / "daemon.json"  # else it would be the one of this machine's engine
        config.write_text("{}")
        server = Child(
            name="dockerd",
            command=[
                str(dockerd),
                f"--host={engine.host}",
                f"--config-file={config}",
                f"--data-root={runtime}/data",
                f"--exec-root={runtime}/exec",
                f"--pidfile={runtime}/docker.pid",
                "--bridge=none",  # containers use the host's network; the firewall stays as it is
                "--iptables=false",
                "--ip6tables=false",
            ],
            log=runtime / "dockerd.log",
            ready=engine.answers,
            start_timeout=60,
            stop_timeout=30,
            parent_death="TERM",  # so that it stops its containers and containerd, too
        )
        say("starting a Docker engine")
        try:
            server.start()
            yield engine
        finally:
            server.stop()
            _unmount_below(runtime)


def _unmount_below(folder: Path) -> None:
    """Unmount what dockerd leaves behind, at least its network namespace."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True)


def registry_image(engine: Engine) -> str:
    """Return the name of an image of CNCF distribution, made here when the engine lacks it.

    It listens on 127.0.0.1:5000; the environment variable REGISTRY_HTTP_ADDR says otherwise.
    """
    tool = TOOLS["distribution"]
    image = f"ocistate-test/registry:{tool.key().removeprefix('distribution-')}"
    if not engine.run("images", "--quiet", image):
        config = {
            "version": "0.1",
            "storage": {
                "filesystem": {"rootdirectory": "/var/lib/registry"},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{REGISTRY_PORT}"},
        }
        files = {
            "usr/bin/registry": (ensure("distribution")["distribution"].read_bytes(), 0o755),
            "etc/distribution/config.yml": (json.dumps(config).encode(), 0o644),
        }
        import_image(
            engine,
            image,
            files,
            entrypoint=["/usr/bin/registry", "serve", "/etc/distribution/config.yml"],
            env={"OTEL_TRACES_EXPORTER": "none"},
        )
    return image


def import_image(
    engine: Engine,
    image: str,
    files: dict[str, tuple[bytes, int]],
    *,
    entrypoint: Sequence[str],
    env: dict[str, str] | None = None,
) -> None:
    """Make an image of exactly these files (path: content and mode), as FROM scratch would.

    It needs no builder and no base image, so any engine can do it offline.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("tmp", "var/lib/registry"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        for path, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    changes = [f"ENTRYPOINT {json.dumps(list(entrypoint))}"]
    changes += [f"ENV {name}={value}" for name, value in (env or {}).items()]
    flags = [word for change in changes for word in ("--change", change)]
    engine.run("import", *flags, "-", image, stdin=archive.getvalue())
