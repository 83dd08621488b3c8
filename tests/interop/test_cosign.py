"""Signatures both ways with the real cosign, with and without the referrers API."""

from __future__ import annotations

import json
from pathlib import Path

from testbed.registries import Registry
from tests.support.command import ocistate
from tests.support.tools import PASSWORD, Cosign


def test_cosign_verifies_what_we_sign(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/ours:v1", "--sign", "--key", key).line
    done = their.verify(name, key.with_suffix(".pub"))
    (found,) = json.loads(done.out)
    assert found["critical"]["image"]["docker-manifest-digest"] == name.partition("@")[2]


def test_cosign_refuses_what_another_key_signed(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/ours:v1", "--sign", "--key", key).line
    assert their.verify(name, their.public, check=False).code != 0


def test_we_verify_what_cosign_signs(
    any_registry: Registry, their: Cosign, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/theirs:v1").line
    before = ocistate("verify", name, "--key", their.public, check=False)
    assert before.code == 41
    their.sign(name)
    after = ocistate("verify", name, "--key", their.public, "-o", "json")
    assert json.loads(after.out)["verified"] is True


def test_we_refuse_what_cosign_signed_with_an_untrusted_key(
    any_registry: Registry, their: Cosign, key: Path,
    manifests: Path,
) -> None:  # fmt: skip
    name = ocistate("push", manifests, f"{any_registry.host}/theirs:v1").line
    their.sign(name)
    refused = ocistate("verify", name, "--key", key.with_suffix(".pub"), check=False)
    assert refused.code == 42
    assert "signed by no one" in refused.err


def test_bundles_of_ocistate_and_cosign_coexist_on_an_artifact(
    any_registry: Registry, their: Cosign, key: Path,
    manifests: Path,
) -> None:  # fmt: skip
    name = ocistate("push", manifests, f"{any_registry.host}/both:v1").line
    their.sign(name)
    ocistate("sign", name, "--key", key)
    for public in (their.public, key.with_suffix(".pub")):
        ocistate("verify", name, "--key", public)
        their.verify(name, public)
    assert len(json.loads(ocistate("inspect", name, "-o", "json").out)["signatures"]) == 2


def test_we_sign_with_a_key_file_of_cosign(
    any_registry: Registry, their: Cosign, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/key:v1").line
    wrong = ocistate(
        "sign", name, "--key", their.key, environ={"OCISTATE_PASSWORD": "no"}, check=False
    )
    assert wrong.code == 30
    assert "password" in wrong.err
    ocistate("sign", name, "--key", their.key, environ={"OCISTATE_PASSWORD": PASSWORD})
    their.verify(name, their.public)


def test_cosign_signs_with_a_key_file_of_ours(
    any_registry: Registry, their: Cosign, manifests: Path, tmp_path: Path
) -> None:
    ocistate("keygen", tmp_path / "mine", environ={"OCISTATE_PASSWORD": PASSWORD})
    name = ocistate("push", manifests, f"{any_registry.host}/key:v2").line
    their.sign(name, key=tmp_path / "mine.key")
    ocistate("verify", name, "--key", tmp_path / "mine.pub")


def test_an_attestation_of_cosign_does_not_count_as_a_signature(
    any_registry: Registry, their: Cosign, manifests: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"tests": "passed"}')
    name = ocistate("push", manifests, f"{any_registry.host}/attested:v1").line
    their.attest(name, "https://example.com/tests", predicate)
    refused = ocistate("verify", name, "--key", their.public, check=False)
    assert refused.code == 42
    assert "https://example.com/tests" in refused.err
