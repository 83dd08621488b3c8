"""A key pair and manifests that all interoperability tests use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.tools import ensure
from tests.support import tools as theirs
from tests.support.factories.keys import Key
from tests.support.tools import Cosign, Skopeo


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key of ours; the public one lies beside it with the suffix .pub."""
    return Key.make().write(tmp_path_factory.mktemp("key") / "ours")


@pytest.fixture(scope="session")
def their(cosign: Path, tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """cosign, with a key pair of its own."""
    return theirs.make(cosign, tmp_path_factory.mktemp("cosign"))


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory: pytest.TempPathFactory) -> Skopeo:
    return Skopeo(ensure("skopeo")["skopeo"], tmp_path_factory.mktemp("skopeo"))


@pytest.fixture(scope="session")
def legacy_policy(key: Path, their: Cosign, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy file that trusts our key and cosign's, in the older formats too."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    return write_policy(path, key.with_suffix(".pub"), their.public, allowLegacy=True)


def write_policy(path: Path, *publics: Path, **spec: Any) -> Path:
    """A TrustPolicy for every repository in a file."""
    keys = [{"name": public.stem, "pem": public.read_text()} for public in publics]
    policy = {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "TrustPolicy",
        "metadata": {"name": "test"},
        "spec": {"repositories": ["**"], "keys": keys, **spec},
    }
    path.write_text(json.dumps(policy))
    return path


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
