"""The home that the tests have of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from testbed.home import MARK, environment
from tests.support.command import ROOT

CONFIGURED = {
    "KUBECONFIG": "/k",
    "DOCKER_CONFIG": "/d",
    "REGISTRY_AUTH_FILE": "/r",
    "CONTAINERS_CONF_OVERRIDE": "/c",
    "GIT_CONFIG_COUNT": "1",
    "COSIGN_PASSWORD": "x",
    "OCISTATE_PASSWORD": "x",
    "AWS_PROFILE": "x",
    "SIGSTORE_ID_TOKEN": "x",
    "XDG_CONFIG_DIRS": "/etc/xdg",
}


def test_what_configures_a_tool_does_not_come_along(tmp_path: Path) -> None:
    made = environment(tmp_path, {**CONFIGURED, "PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C"})
    assert made["HOME"] == str(tmp_path)
    assert made["PATH"] == "/bin"
    assert made["LC_ALL"] == "C"
    assert not {name for name, value in CONFIGURED.items() if made.get(name) == value}


def test_these_tests_are_at_home_in_it_and_the_caches_are_not() -> None:
    home = Path(os.environ[MARK])
    assert Path.home() == home
    assert not Path(os.environ["OCISTATE_CACHE"]).is_relative_to(home)
    assert not Path(os.environ["PIP_CACHE_DIR"]).is_relative_to(home)


def test_what_is_configured_is_covered_for_the_command_alone(tmp_path: Path) -> None:
    for name in (".docker", ".kube"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / ".gitconfig").write_text("[user]")
    program = "import sys; from testbed.home import main; sys.exit(main(sys.argv[1:]))"
    look = (
        f'cat {tmp_path}/.gitconfig; ls {tmp_path}/.docker {tmp_path}/.kube; echo "$HOME"; exit 3'
    )
    environ = {name: value for name, value in os.environ.items() if name != MARK}
    done = subprocess.run(
        [sys.executable, "-c", program, "sh", "-c", look],
        env={**environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert str(tmp_path) not in done.stdout.splitlines()[-1]
    if os.geteuid() == 0 and _may_mount():
        assert "config.json" not in done.stdout
        assert "[user]" not in done.stdout
    assert (tmp_path / ".docker" / "config.json").exists()


def _may_mount() -> bool:
    probe = ["unshare", "--mount", "--", "mount", "--bind", "/tmp", "/tmp"]  # noqa: S108 - its own
    return subprocess.run(probe, capture_output=True).returncode == 0
