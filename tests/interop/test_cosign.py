"""Signatures both ways with the real cosign, with and without the referrers API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.registries import Registry
from tests.tool import ocistate, run

VERIFY = ("--insecure-ignore-tlog=true", "--allow-http-registry")


@pytest.fixture(scope="session")
def cosign_key(cosign: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cosign")
    run(cosign, "generate-key-pair", cwd=folder, environ={"COSIGN_PASSWORD": "s3cret"})
    return folder / "cosign.key"


@pytest.fixture(scope="session")
def offline(cosign: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signing configuration that names no services."""
    path = tmp_path_factory.mktemp("config") / "signing-config.json"
    run(cosign, "signing-config", "create", "--out", path)
    return path


def cosign_sign(cosign: Path, key: Path, offline: Path, reference: str) -> None:
    run(
        cosign, "sign", "--key", key, "--signing-config", offline, "--allow-http-registry",
        "--yes", reference,
        environ={"COSIGN_PASSWORD": "s3cret"},
    )  # fmt: skip


def test_cosign_verifies_what_we_sign(
    any_registry: Registry, cosign: Path, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/ours:v1", "--sign", "--key", key).line
    done = run(cosign, "verify", "--key", key.with_suffix(".pub"), *VERIFY, name)
    (found,) = json.loads(done.out)
    assert found["critical"]["image"]["docker-manifest-digest"] == name.partition("@")[2]


def test_cosign_refuses_what_another_key_signed(
    any_registry: Registry, cosign: Path, cosign_key: Path, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/ours:v1", "--sign", "--key", key).line
    done = run(
        cosign, "verify", "--key", cosign_key.with_suffix(".pub"), *VERIFY, name, check=False
    )
    assert done.code != 0


def test_we_verify_what_cosign_signs(
    any_registry: Registry, cosign: Path, cosign_key: Path, offline: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/theirs:v1").line
    before = ocistate("verify", name, "--key", cosign_key.with_suffix(".pub"), check=False)
    assert before.code == 41
    cosign_sign(cosign, cosign_key, offline, name)
    after = ocistate("verify", name, "--key", cosign_key.with_suffix(".pub"), "-o", "json")
    assert json.loads(after.out)["verified"] is True


def test_we_refuse_what_cosign_signed_with_a_key_nobody_trusts(
    any_registry: Registry, cosign: Path, cosign_key: Path, offline: Path, key: Path,
    manifests: Path,
) -> None:  # fmt: skip
    name = ocistate("push", manifests, f"{any_registry.host}/theirs:v1").line
    cosign_sign(cosign, cosign_key, offline, name)
    refused = ocistate("verify", name, "--key", key.with_suffix(".pub"), check=False)
    assert refused.code == 42
    assert "signed by nobody" in refused.err


def test_signatures_of_both_stand_side_by_side(
    any_registry: Registry, cosign: Path, cosign_key: Path, offline: Path, key: Path,
    manifests: Path,
) -> None:  # fmt: skip
    name = ocistate("push", manifests, f"{any_registry.host}/both:v1").line
    cosign_sign(cosign, cosign_key, offline, name)
    ocistate("sign", name, "--key", key)
    for public in (cosign_key.with_suffix(".pub"), key.with_suffix(".pub")):
        ocistate("verify", name, "--key", public)
        run(cosign, "verify", "--key", public, *VERIFY, name)
    assert len(json.loads(ocistate("inspect", name, "-o", "json").out)["signatures"]) == 2


def test_we_sign_with_a_key_file_of_cosign(
    any_registry: Registry, cosign: Path, cosign_key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/key:v1").line
    wrong = ocistate(
        "sign", name, "--key", cosign_key, environ={"OCISTATE_PASSWORD": "no"}, check=False
    )
    assert wrong.code == 30
    assert "password" in wrong.err
    ocistate("sign", name, "--key", cosign_key, environ={"OCISTATE_PASSWORD": "s3cret"})
    run(cosign, "verify", "--key", cosign_key.with_suffix(".pub"), *VERIFY, name)


def test_cosign_signs_with_a_key_file_of_ours(
    any_registry: Registry, cosign: Path, offline: Path, manifests: Path, tmp_path: Path
) -> None:
    ocistate("keygen", tmp_path / "mine", environ={"OCISTATE_PASSWORD": "s3cret"})
    name = ocistate("push", manifests, f"{any_registry.host}/key:v2").line
    cosign_sign(cosign, tmp_path / "mine.key", offline, name)
    ocistate("verify", name, "--key", tmp_path / "mine.pub")


def test_an_attestation_of_cosign_is_no_signature(
    any_registry: Registry, cosign: Path, cosign_key: Path, offline: Path, manifests: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"tests": "passed"}')
    name = ocistate("push", manifests, f"{any_registry.host}/attested:v1").line
    run(
        cosign, "attest", "--key", cosign_key, "--signing-config", offline, "--yes",
        "--allow-http-registry", "--type", "https://example.com/tests", "--predicate", predicate,
        name,
        environ={"COSIGN_PASSWORD": "s3cret"},
    )  # fmt: skip
    refused = ocistate("verify", name, "--key", cosign_key.with_suffix(".pub"), check=False)
    assert refused.code == 42
    assert "https://example.com/tests" in refused.err
