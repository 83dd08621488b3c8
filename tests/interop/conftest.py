"""A key pair and manifests that all interoperability tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tool import ocistate


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key of ours; the public one lies beside it with the suffix .pub."""
    folder = tmp_path_factory.mktemp("key")
    ocistate("keygen", folder / "ours")
    return folder / "ours.key"


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A folder of manifests, other ones for each test."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\n"
        f"metadata: {{name: settings, namespace: shop}}\ndata: {{where: '{tmp_path}'}}\n"
    )
    (folder / "namespace.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    )
    return folder
