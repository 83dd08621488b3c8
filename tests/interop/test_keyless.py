"""Signatures by identity with cosign and sigstore, on a Sigstore instance of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.registries import Registry
from tests.support.command import ocistate, run
from tests.support.fakes.sigstore.authority import GITHUB, WORKFLOW
from tests.support.fakes.sigstore.services import Services, identity_token


@pytest.fixture(scope="module")
def sigstore() -> Iterator[Services]:
    with Services() as services:
        yield services


@pytest.fixture
def files(sigstore: Services, tmp_path: Path) -> Path:
    """A folder with the trust configuration, the root and the signing configuration."""
    config = sigstore.trust_config()
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "root.json").write_text(json.dumps(config["trustedRoot"]))
    (tmp_path / "signing.json").write_text(json.dumps(config["signingConfig"]))
    return tmp_path


def test_cosign_verifies_what_we_sign_by_identity(
    any_registry: Registry, cosign: Path, manifests: Path, files: Path
) -> None:
    name = ocistate(
        "push", manifests, f"{any_registry.host}/keyless:v1", "--sign", "--identity",
        "--trust-config", files / "config.json",
        environ={"SIGSTORE_ID_TOKEN": identity_token()},
    ).line  # fmt: skip
    verify = (
        "verify", "--trusted-root", files / "root.json", "--certificate-oidc-issuer", GITHUB,
        "--allow-http-registry", name,
    )  # fmt: skip
    run(cosign, *verify, "--certificate-identity", WORKFLOW)
    wrong = run(cosign, *verify, "--certificate-identity", WORKFLOW + "x", check=False)
    assert wrong.code != 0


def test_we_verify_what_cosign_signs_by_identity(
    any_registry: Registry, cosign: Path, manifests: Path, files: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/keyless:v2").line
    token = files / "token"
    token.write_text(identity_token())
    run(
        cosign, "sign", "--identity-token", token, "--signing-config",
        files / "signing.json", "--trusted-root", files / "root.json", "--allow-http-registry",
        "--yes", name,
    )  # fmt: skip
    verify = ("verify", name, "--trusted-root", files / "root.json", "--identity")
    ocistate(*verify, f"issuer={GITHUB},subject={WORKFLOW}")
    refused = ocistate(*verify, f"issuer={GITHUB},subject={WORKFLOW}x", check=False)
    assert refused.code == 42
    assert WORKFLOW in refused.err


def bundle_of(name: str, folder: Path, oras: Path) -> Path:
    """The first bundle that refers to an artifact, as a file; fetched with oras, not with us."""
    found = json.loads(run(oras, "discover", "--plain-http", "--format", "json", name).out)[
        "referrers"
    ]
    repository = name.partition("@")[0]
    manifest = f"{repository}@{found[0]['digest']}"
    layer = json.loads(run(oras, "manifest", "fetch", "--plain-http", manifest).out)["layers"][0]
    path = folder / "artifact.sigstore.json"
    run(
        oras, "blob", "fetch", "--plain-http", "--output", path,
        f"{repository}@{layer['digest']}",
    )  # fmt: skip
    return path


def test_the_command_line_of_sigstore_verifies_what_we_sign_by_identity(
    any_registry: Registry, oras: Path, key: Path, manifests: Path, files: Path
) -> None:
    def verify(bundle: Path, digest: str, subject: str = WORKFLOW) -> int:
        return run(
            sys.executable, "-m", "sigstore", "--trust-config", files / "config.json", "verify",
            "identity", "--offline", "--bundle", bundle, "--cert-identity", subject,
            "--cert-oidc-issuer", GITHUB, digest,
            check=False,
        ).code  # fmt: skip

    name = ocistate(
        "push", manifests, f"{any_registry.host}/sigstore:v1", "--sign", "--identity",
        "--trust-config", files / "config.json",
        environ={"SIGSTORE_ID_TOKEN": identity_token()},
    ).line  # fmt: skip
    bundle, digest = bundle_of(name, files, oras), name.partition("@")[2]
    assert verify(bundle, digest) == 0
    assert verify(bundle, digest, WORKFLOW + "x") != 0
    assert verify(bundle, "sha256:" + "0" * 64) != 0
    # One signed by key it does not take: it knows certificates only.
    by_key = ocistate("push", manifests, f"{any_registry.host}/sigstore-key:v1", "--sign", "--key",
                      key).line  # fmt: skip
    assert verify(bundle_of(by_key, files, oras), by_key.partition("@")[2]) != 0
