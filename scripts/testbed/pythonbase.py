"""What an image of ocistate is built from where nothing can be pulled: a base, and packages.

with package_index() as url:                 # "http://127.0.0.1:…/"
    engine.run("build", "--network=host", f"--build-arg=BASE={python_image(engine)}",
               f"--build-arg=PIP_INDEX_URL={url}", "-f", "scripts/image/Dockerfile", ".")
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import TestbedError
from .docker import Engine, import_image
from .tools import cache_dir, locked, say

TOP = Path(__file__).resolve().parents[2]
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# Of the standard library, what no program in an image asks for.
_LEFT_OUT = {
    *("site-packages", "dist-packages", "__pycache__", "test", "tests", "ensurepip"),
    *("idlelib", "tkinter", "turtledemo", "lib2to3"),
}


def python_image(engine: Engine) -> str:
    """Return the name of an image of this Python and pip, with the libraries they are linked to.

    It is laid out as Docker's own `python` images are, but has no shell nor anything else.
    """
    image = f"ocistate-test/python:{_VERSION}"
    if not engine.run("images", "--quiet", image):
        python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        library = Path(sysconfig.get_path("stdlib"))
        pip = importlib.util.find_spec("pip")
        if pip is None or pip.origin is None:
            raise TestbedError(f"{sys.executable} has no pip: run this in what scripts/venv makes")
        home = f"usr/local/lib/python{_VERSION}"
        files = {"usr/local/bin/python3": (python.read_bytes(), 0o755)}
        files |= _tree(library, home) | _tree(Path(pip.origin).parent, f"{home}/pip")
        # The packages' extensions, too: some need the C++ library.
        extensions = [*library.rglob("*.so"), *Path(sysconfig.get_path("platlib")).rglob("*.so")]
        files |= _libraries([python, *extensions])
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        import_image(engine, image, files, entrypoint=["python3"], env={"PATH": path})
    return image


def _tree(folder: Path, target: str) -> dict[str, tuple[bytes, int]]:
    files = {}
    for at, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if n not in _LEFT_OUT and not n.startswith("config-")]
        for path in (Path(at, name) for name in names):
            if path.is_file():  # a link may lead nowhere
                files[f"{target}/{path.relative_to(folder)}"] = (path.read_bytes(), 0o644)
    return files


def _libraries(linked: Iterable[Path]) -> dict[str, tuple[bytes, int]]:
    """The shared libraries of the system that these need, where the loader looks for them."""
    command = ["ldd", *sorted(map(str, linked))]
    printed = subprocess.run(command, capture_output=True, text=True).stdout
    found = {Path(name) for name in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(", printed, re.M)}
    home = next((path.parent for path in found if path.name.startswith("libc.so")), None)
    if home is None:
        raise TestbedError(f"ldd does not tell what {sys.executable} is linked to")
    prefix = Path(sys.prefix)
    files = {}
    for path in found:
        if path.is_relative_to(prefix):  # comes with its package
            continue
        system = path.parts[1] in ("lib", "lib64", "usr")
        place = path if system else home / path.name
        files[str(place).lstrip("/")] = (path.read_bytes(), 0o755)
    return files


@contextmanager
def package_index() -> Iterator[str]:
    """Serve what the image needs from PyPI on loopback, and yield the URL to use as pip's index.

    The wheels are fetched once for each state of the pins, into `~/.cache/ocistate/wheels`.
    """
    handler = functools.partial(_Quiet, directory=str(_wheels()))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    """A folder's listing is what the simple repository API (PEP 503) asks of a project's page."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _wheels() -> Path:
    locks = sorted((TOP / "scripts" / "image").glob("*requirements.txt"))
    content = sys.version + "".join(lock.read_text() for lock in locks)
    folder = cache_dir() / "wheels" / hashlib.sha256(content.encode()).hexdigest()[:12]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock", "another process that fetches wheels"):
        if not folder.is_dir():
            say("fetching the wheels for the image (once, about a minute)")
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as name:
                _fetch(locks, Path(name))
                shutil.copytree(name, f"{name}.whole")
            Path(f"{name}.whole").rename(folder)
    return folder


def _fetch(locks: list[Path], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder)]
    for lock in locks:
        done = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True)
        if done.returncode:
            raise TestbedError(f"{' '.join(command)} -r {lock} failed: {done.stderr.strip()}")
    for wheel in list(folder.glob("*.whl")):
        page = folder / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        page.mkdir(exist_ok=True)
        wheel.rename(page / wheel.name)
