"""A home of their own for the tests: nothing that a user or the system has configured.

    python -m testbed.home pytest tests     # with the configuration hidden, where we may mount
    with own_home():                        # the environment alone, for what runs in here
        ...

Caches stay where they were: of the test bed, of Go's modules and builds, and of pip. What a tool
needs a setting, as skopeo its policy, gets it from the test that runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .tools import cache_dir

MARK = "OCISTATE_TEST_HOME"
HIDDEN = "OCISTATE_TEST_HIDDEN"  # "yes" where what `hidden` names cannot be seen

_KEPT = frozenset(
    (
        *("PATH", "PWD", "TERM", "COLUMNS", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME"),
        *("SHELL", "CI", "NO_COLOR", "FORCE_COLOR"),
        # Where programs and their libraries are.
        *("VIRTUAL_ENV", "PYENV_ROOT", "GOROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        # How the network is reached, for what is built and installed.
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        # Which engine is there; how it is configured is the engine's own affair.
        *("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"),
    )
)
_KEPT_PREFIXES = ("LC_", "PYTHON", "PYTEST_", "PIP_", "COV_", "COVERAGE_", "HYPOTHESIS_")

_GO = (
    *("GOPATH", "GOMODCACHE", "GOCACHE", "GOFLAGS", "GOTOOLCHAIN", "GOPROXY", "GOSUMDB"),
    *("GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE"),
)

# What the tools that the tests run would read besides, of the system and of the user.
_SYSTEM = (
    "/etc/containers",
    "/usr/share/containers",
    "/run/containers",
    "/var/lib/containers",
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/gitconfig",
    "/etc/sigstore",
)
_USER = (
    ".docker",
    ".kube",
    ".gitconfig",
    ".config/git",
    ".config/containers",
    ".config/ocistate",
    ".config/oras",
    ".local/share/containers",
    ".sigstore",
    ".netrc",
)


def hidden() -> list[Path]:
    """The configuration of the system and of this user, whether it is there or not."""
    home = Path(os.environ.get("OCISTATE_USER_HOME") or Path.home())
    runtime = Path(f"/run/user/{os.getuid()}/containers")
    return [*map(Path, _SYSTEM), runtime, *(home / name for name in _USER)]


def environment(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process at home in this folder, made of the one given.

    Only what is named above is taken over: a variable that configures a tool is otherwise one more
    thing that a green run may rest on.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return kept | {
        MARK: str(home),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_RUNTIME_DIR": str(home / ".run"),
        "DOCKER_CONFIG": str(home / ".docker"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "CONTAINERS_CONF": os.devnull,
        "CONTAINERS_REGISTRIES_CONF": os.devnull,
        "CONTAINERS_STORAGE_CONF": os.devnull,
    }


def _caches() -> dict[str, str]:
    """Where what is kept between runs lies, as variables: asked before the home is another one."""
    found = {
        "OCISTATE_CACHE": str(cache_dir()),
        "OCISTATE_USER_HOME": str(Path.home()),
        "PYTHONUSERBASE": site.getuserbase(),
        "PIP_CACHE_DIR": str(_under("XDG_CACHE_HOME", ".cache") / "pip"),
    }
    for path in (
        _under("XDG_CONFIG_HOME", ".config") / "pip/pip.conf",
        Path.home() / ".pip/pip.conf",
    ):
        if path.exists():
            found["PIP_CONFIG_FILE"] = str(path)  # where packages come from
            break
    if program := shutil.which("go"):
        command = [program, "env", "-json", *_GO]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        found |= json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def _under(variable: str, folder: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / folder)


def _docker_host() -> dict[str, str]:
    """Where the engine is that a Docker client without configuration would no longer find."""
    if "DOCKER_HOST" in os.environ or not (Path.home() / ".docker").exists():
        return {}
    if (program := shutil.which("docker")) is None:
        return {}
    command = [program, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    done = subprocess.run(command, capture_output=True, text=True)
    return {"DOCKER_HOST": done.stdout.strip()} if done.returncode == 0 else {}


@contextmanager
def own_home() -> Iterator[Path]:
    """Put this process, and all that it starts, into a home of its own until the end.

    Inside of one there already is, it is that one.
    """
    if MARK in os.environ:
        yield Path(os.environ[MARK])
        return
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="ocistate-home-") as name:
        given = _caches() | _docker_host()
        (Path(name) / ".run").mkdir(mode=0o700)
        after = environment(Path(name), before) | given
        os.environ.clear()
        os.environ.update(after)
        try:
            yield Path(name)
        finally:
            os.environ.clear()
            os.environ.update(before)


# Each path that is there is covered by an empty one of its kind, for this command alone; each by
# one of its own, because a tool may keep something in a folder, as skopeo its cache.
_COVER = """
scratch=$1; shift
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then kind=-d; else kind=; fi
  mount --bind "$(mktemp $kind "$scratch/XXXXXX")" "$1"
  shift
done
shift
exec "$@"
"""


def covered(command: Sequence[str], scratch: Path) -> list[str]:
    """The command so that it does not see what `hidden` names; as it is, where we may not mount."""
    unshare = ["unshare", "--mount", "--propagation", "private", "--"]
    paths = [str(path) for path in hidden() if path.exists()]
    if not paths or shutil.which("unshare") is None or not _may_mount(unshare, scratch):
        return list(command)
    wrapped = ["env", f"{HIDDEN}=yes", *command]
    return [*unshare, "sh", "-euc", _COVER, "sh", str(scratch), *paths, "--", *wrapped]


def _may_mount(unshare: list[str], scratch: Path) -> bool:
    probe = ["mount", "--bind", str(scratch), str(scratch)]
    return subprocess.run([*unshare, *probe], capture_output=True).returncode == 0


def main(command: Sequence[str]) -> int:
    """Run a command in a home of its own, with what is configured on the machine hidden."""
    with own_home(), tempfile.TemporaryDirectory(prefix="ocistate-empty-") as scratch:
        process = subprocess.Popen(covered(command, Path(scratch)))
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the command got it too, and ends in its own way
                continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
