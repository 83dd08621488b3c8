"""The image that scripts/image/Dockerfile makes: what is in it, and that it reconciles a Stack."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from testbed.docker import Engine
from testbed.process import free_port
from testbed.pythonbase import TOP, package_index, python_image
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import NAMESPACE, World
from tests.support.environments.agent_process import LOOPBACK
from tests.support.factories.stacks import config_map

pytestmark = pytest.mark.timeout(600)  # the first time, packages are fetched

STATE = "/var/lib/ocistate"
VERSIONS = """
import importlib.metadata as m, json
print(json.dumps({d.name: d.version for d in m.distributions()}))
"""


def locked(name: str) -> dict[str, str]:
    """The versions that a file of scripts/lock pins."""
    text = (TOP / "scripts" / "image" / name).read_text()
    return dict(re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE))


@pytest.fixture(scope="session")
def image(docker_engine: Engine) -> str:
    with package_index() as index:
        docker_engine.run(
            "build",
            "--network=host",
            f"--build-arg=BASE={python_image(docker_engine)}",
            f"--build-arg=PIP_INDEX_URL={index}",
            *("--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc"),
            *("--tag", "ocistate-test/ocistate"),
            *("--file", str(TOP / "scripts" / "image" / "Dockerfile")),
            str(TOP),
        )
    return "ocistate-test/ocistate"


def test_the_image_holds_the_pinned_versions_and_nothing_else(
    docker_engine: Engine, image: str
) -> None:
    pins = locked("requirements.txt")
    printed = docker_engine.run(
        "run", "--rm", "--network=none", "--entrypoint=python", image, "-c", VERSIONS
    )
    held = {name.lower().replace("_", "-"): v for name, v in json.loads(printed).items()}
    assert held.pop("ocistate")
    assert "pip" not in held
    assert held == {name: pins.get(name) for name in held}


def test_the_image_runs_as_an_arbitrary_user_with_a_writable_state_folder(
    docker_engine: Engine, image: str
) -> None:
    tell = "import os; print(os.getuid(), os.getgid(), os.getcwd(), os.access('.', os.W_OK))"
    run = ("run", "--rm", "--network=none", "--entrypoint=python", image, "-c")
    assert docker_engine.run(*run, tell) == f"65532 65532 {STATE} True"
    writable = (
        "import os; print(*[d for d, _, _ in os.walk('/', followlinks=False)"
        " if os.access(d, os.W_OK) and not d.startswith(('/proc', '/sys', '/dev'))])"
    )
    target_factory = {"/tmp", "/var/lib/registry", STATE}  # noqa: S108 - the first two are the base's
    assert set(docker_engine.run(*run, writable).split()) <= target_factory


def test_the_image_has_labels_for_version_and_revision(docker_engine: Engine, image: str) -> None:
    text = docker_engine.run("inspect", "--format", "{{json .Config.Labels}}", image)
    named = "org.opencontainers.image."
    labels = {k.removeprefix(named): v for k, v in json.loads(text).items() if named in k}
    assert labels == {
        "title": "ocistate",
        "description": "GitOps with an OCI registry as the state store",
        "licenses": "Apache-2.0",
        "version": "1.2.3",
        "revision": "abc",
    }


def test_a_package_that_is_not_the_one_that_was_pinned_ends_the_build(
    docker_engine: Engine, tmp_path: Path
) -> None:
    """The index has another file under the same name, as one that was broken into would."""
    context = tmp_path / "context"
    folder = context / "scripts" / "image"
    folder.mkdir(parents=True)
    for name in ("requirements.txt", "build-requirements.txt", "Dockerfile"):
        shutil.copy(TOP / "scripts" / "image" / name, folder)
    lock = folder / "requirements.txt"
    lock.write_text(re.sub("(?<=sha256:)[0-9a-f]{64}", "0" * 64, lock.read_text()))
    with package_index() as index:
        done = subprocess.run(
            [
                *("docker", "build", "--network=host", "--file", str(folder / "Dockerfile")),
                f"--build-arg=BASE={python_image(docker_engine)}",
                f"--build-arg=PIP_INDEX_URL={index}",
                str(context),
            ],
            env={**os.environ, **docker_engine.environment},
            capture_output=True,
            text=True,
        )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout + done.stderr


@pytest.fixture
def contained(
    docker_engine: Engine, image: str, world: World, tmp_path: Path
) -> Iterator[tuple[str, int]]:
    """The agent in a container as tight as the Deployment, in place of the world's own."""
    world.agent.terminate()
    port = free_port()
    kubeconfig = _for_anyone(world.cluster.kubeconfig_for(NAMESPACE, "ocistate-agent"), tmp_path)
    name = docker_engine.run(
        *("run", "--detach", "--network=host", "--read-only", "--user=65532:65532"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--tmpfs={STATE}:uid=65532,gid=65532,mode=0700", "--tmpfs=/tmp"),
        f"--mount=type=bind,source={kubeconfig},target=/etc/ocistate/kubeconfig,readonly",
        image,
        *("agent", "--kubeconfig=/etc/ocistate/kubeconfig", f"--listen=127.0.0.1:{port}"),
        *LOOPBACK,
    )
    yield name, port
    print(docker_engine.run("logs", name))
    docker_engine.run("rm", "--force", name)


def _for_anyone(kubeconfig: Path, folder: Path) -> Path:
    """The same with the CA inside, and readable by the container's user."""
    content = json.loads(kubeconfig.read_text())
    for each in content["clusters"]:
        authority = Path(each["cluster"].pop("certificate-authority")).read_bytes()
        each["cluster"]["certificate-authority-data"] = base64.b64encode(authority).decode()
    copy = folder / "kubeconfig"
    copy.write_text(json.dumps(content))
    copy.chmod(0o644)
    return copy


def test_the_image_reconciles_on_a_read_only_root_without_any_capability(
    docker_engine: Engine, contained: tuple[str, int], world: World
) -> None:
    name, port = contained
    team = world.tenant()
    team.push(config_map("app", v="1"), config_map("old", v="1"))
    team.create()
    team.wait_data("app", v="1", seconds=60)
    digest = team.push(config_map("app", v="2"))
    team.wait_ready(digest)
    team.wait_data("app", v="2")
    team.wait_gone("ConfigMap", "old")
    team.change("app", {"data": {"v": "3"}})
    team.wait_data("app", v="2")
    with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as reply:
        assert reply.status == 200

    def state(field: str) -> str:
        return docker_engine.run("inspect", "--format", f"{{{{.State.{field}}}}}", name)

    docker_engine.run("kill", "--signal=TERM", name)
    wait_for("the agent ends", lambda: state("Running") == "false")
    assert state("ExitCode") == "0"
