"""The registry as a container on a real Docker engine, started by testcontainers."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.docker import Engine, registry_image
from testbed.process import free_port
from tests.support.command import ocistate


def test_a_signed_artifact_goes_through_a_registry_in_a_container(
    docker_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    for name, value in docker_engine.environment.items():
        monkeypatch.setenv(name, value)
    from testcontainers.core.container import DockerContainer

    image = registry_image(docker_engine)
    host = f"127.0.0.1:{free_port()}"
    container = DockerContainer(image).with_env("REGISTRY_HTTP_ADDR", host)
    container.with_kwargs(network_mode="host")
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: {k: v}\n"
    )
    ocistate("keygen", tmp_path / "k")
    with container:
        name = ocistate(
            "push", tmp_path / "a.yaml", f"{host}/app:v1", "--sign", "--key", tmp_path / "k.key"
        ).line
        assert ocistate("verify", f"{host}/app:v1", "--key", tmp_path / "k.pub").line == name
        pulled = ocistate("pull", name, "-o", tmp_path / "out")
        assert pulled.line == name
    assert (tmp_path / "out" / "a.yaml").read_text() == (tmp_path / "a.yaml").read_text()
