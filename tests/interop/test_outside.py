"""What the tests' tools read on this machine that no test gave them: what every program reads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.home import HIDDEN, MARK, hidden
from testbed.packages import ensure_command
from testbed.registries import Distribution
from testbed.tools import cache_dir, ensure
from tests.support.command import ROOT, ocistate
from tests.support.tools import Cosign, Skopeo

# Programs, their libraries and what the C library and Go's look at: it configures no tool.
_SYSTEM = (
    *("/bin", "/lib", "/lib32", "/lib64", "/sbin", "/usr/bin", "/usr/lib", "/usr/lib64"),
    *("/usr/local", "/usr/sbin", "/usr/share/locale", "/usr/share/zoneinfo"),
    *("/dev", "/proc", "/sys", "/etc/ssl", "/etc/pki", "/usr/share/ca-certificates"),
    *("/etc/gai.conf", "/etc/group", "/etc/host.conf", "/etc/hosts", "/etc/ld.so.cache"),
    *("/etc/ld.so.preload", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd"),
    *("/etc/protocols", "/etc/resolv.conf", "/etc/services", "/etc/mime.types"),
    "/opt/pyca",  # where the OpenSSL inside the cryptography package looks; nothing is there
)

_CALL = re.compile(r'^(?:\d+ +)?\w+\((?:[^",]+, )?"(/[^"]*)"', re.MULTILINE)


class Tools:
    """One ordinary command of each tool, on an artifact in a registry."""

    def __init__(self, name: str, folder: Path, skopeo: Skopeo, their: Cosign) -> None:
        self.name, self.folder, self.of_skopeo, self.their = name, folder, skopeo, their

    def ocistate(self) -> list[str | Path]:
        return [sys.executable, "-m", "ocistate", "inspect", self.name]

    def skopeo(self) -> list[str | Path]:
        source, target = f"docker://{self.name}", f"oci:{self.folder}/layout:v1"
        return [*self.of_skopeo.command("copy", "--src-tls-verify=false", source, target)]

    def cosign(self) -> list[str | Path]:
        options = ("--insecure-ignore-tlog=true", "--allow-http-registry")
        return [self.their.program, "verify", "--key", self.their.public, *options, self.name]

    def oras(self) -> list[str | Path]:
        return [ensure("oras")["oras"], "manifest", "fetch", "--plain-http", self.name]

    def crane(self) -> list[str | Path]:
        return [ensure("crane")["crane"], "manifest", "--insecure", self.name]

    def kubectl(self) -> list[str | Path]:
        command = ("config", "view", "--raw")
        return [ensure("kubectl")["kubectl"], *command]

    def git(self) -> list[str | Path]:
        return ["git", "init", "--quiet", self.folder / "repository"]

    def docker(self) -> list[str | Path]:
        return [ensure_command("docker", "docker.io"), "version", "--format", "{{.Client.Version}}"]


@pytest.fixture(scope="module")
def tools(
    distribution: Distribution,
    skopeo: Skopeo,
    their: Cosign,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tools:
    folder = tmp_path_factory.mktemp("outside")
    manifest = folder / "namespace.yaml"
    manifest.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    name = ocistate("push", manifest, f"{distribution.host}/outside:v1").line
    their.sign(name)
    return Tools(name, folder, skopeo, their)


def looked_at(command: list[str | Path], folder: Path) -> set[Path]:
    """The absolute paths that a command and its children name to the kernel, there or not."""
    trace = folder / "trace"
    observe = [str(ensure_command("strace")), "-f", "-qq", "-s", "4096", "-e", "trace=%file"]
    probe = subprocess.run([*observe, "-o", str(trace), "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"this machine lets no process observe another one: {probe.stderr.strip()}")
    subprocess.run(
        [*observe, "-o", str(trace), *map(str, command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GIT_TEMPLATE_DIR": ""},
        capture_output=True,
    )
    return {Path(os.path.normpath(path)) for path in _CALL.findall(trace.read_text())}


@pytest.mark.parametrize(
    "command",
    [
        *(Tools.ocistate, Tools.skopeo, Tools.cosign, Tools.oras, Tools.crane),
        *(Tools.kubectl, Tools.git, Tools.docker),
    ],
    ids=lambda command: command.__name__,
)
def test_tools_read_only_files_that_the_test_provides(
    command: Callable[[Tools], list[str | Path]], tools: Tools, tmp_path: Path
) -> None:
    given = [
        *(Path(os.environ[MARK]), cache_dir(), ROOT, tools.folder.parent, tmp_path),
        *(
            Path(sys.prefix),
            Path(sys.base_prefix),
            *map(Path, _SYSTEM),
            *map(Path, os.get_exec_path()),
        ),
    ]
    seen = looked_at(command(tools), tmp_path)
    rest = {path for path in seen if not any(path.is_relative_to(each) for each in given)}
    # A folder on the way to what was given tells nothing; Python looks for itself above its prefix.
    rest -= {parent for path in given for parent in path.parents}
    rest = {path for path in rest if not re.fullmatch(r"python\d+\.zip", path.name)}

    # Fixed in the program: no option, and hidden where the machine allows to.
    assert {
        path for path in rest if not any(path.is_relative_to(each) for each in hidden())
    } == set()


def test_configuration_of_the_machine_is_hidden_from_tests() -> None:
    """Only `scripts/test` can hide it: a mount needs a process of its own around the tests."""
    if os.environ.get(HIDDEN) != "yes":
        pytest.skip("not run by scripts/test, or this machine lets it mount nothing")
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    there = {str(path.resolve()) for path in hidden() if path.exists()}
    assert there <= mounts
