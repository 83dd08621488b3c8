"""Over an air gap and through other people's layouts: still signed, for them and for us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.registries import Distribution, ReferrersRegistry, Registry
from tests.support.command import ocistate, run
from tests.support.tools import Cosign, Skopeo


@pytest.fixture(params=[Distribution, ReferrersRegistry])
def empty_registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    with request.param() as registry:
        yield registry


def test_an_artifact_moved_by_archive_is_verified_by_cosign_and_by_us(
    any_registry: Registry, empty_registry: Registry, their: Cosign, key: Path, manifests: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    public = key.with_suffix(".pub")
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"tests": "passed"}')
    near = f"{any_registry.host}/near/{empty_registry.kind}"
    name = ocistate("push", manifests, f"{near}:v1").line
    ocistate("sign", name, "--key", key, "--format", "both")
    ocistate(
        "attest", name, "--key", key, "--type", "https://example.com/tests",
        "--predicate", predicate,
    )  # fmt: skip
    archive = tmp_path / "shop.tar"
    ocistate("copy", f"{near}:v1", f"archive:{archive}")
    ocistate("verify", f"archive:{archive}:v1", "--key", public)

    far = f"{empty_registry.host}/far/shop"
    crossed = ocistate("copy", f"archive:{archive}:v1", far).line
    assert crossed.partition("@")[2] == name.partition("@")[2]
    ocistate("verify", f"{far}:v1", "--key", public)
    their.verify(f"{far}:v1", public)
    their.verify_attestation(f"{far}:v1", "https://example.com/tests", public)
    ocistate("copy", f"{near}:v1", f"archive:{tmp_path}/again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_skopeo_and_ocistate_read_each_others_archives(
    distribution: Distribution, skopeo: Skopeo, key: Path, manifests: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours.tar"
    name = ocistate(
        "push", manifests, f"archive:{ours}:v1", "--sign", "--key", key
    ).line  # fmt: skip
    target = f"{distribution.host}/archived:v1"
    skopeo.copy("--dest-tls-verify=false", f"oci-archive:{ours}:v1", f"docker://{target}")
    digest = json.loads(ocistate("inspect", target, "-o", "json").out)["digest"]
    assert digest == name.partition("@")[2]

    theirs = tmp_path / "theirs.tar"
    skopeo.copy("--src-tls-verify=false", f"docker://{target}", f"oci-archive:{theirs}:v2")
    copied = ocistate("copy", f"archive:{theirs}:v2", f"{distribution.host}/from-theirs").line
    assert copied.partition("@")[2] == digest
    ocistate("pull", f"{distribution.host}/from-theirs:v2", "-o", tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in manifests.iterdir()}


def test_oras_sees_in_our_layouts_and_archives_what_refers_to_an_artifact(
    any_registry: Registry, oras: Path, key: Path, manifests: Path, tmp_path: Path
) -> None:
    near = f"{any_registry.host}/for-oras:v1"
    ocistate("push", manifests, near, "--sign", "--key", key)
    for target in (f"layout:{tmp_path}/layout", f"archive:{tmp_path}/archive.tar"):
        ocistate("copy", near, target)
        path = target.partition(":")[2]
        found = run(
            oras, "discover", "--oci-layout", "--format", "json", f"{path}:v1"
        ).out  # fmt: skip
        (signature,) = json.loads(found)["referrers"]
        assert signature["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"


def test_a_layout_written_by_oras_is_verified_and_copied_on(
    any_registry: Registry, oras: Path, key: Path, manifests: Path, tmp_path: Path
) -> None:
    near = f"{any_registry.host}/by-oras:v1"
    ocistate("push", manifests, near, "--sign", "--key", key)
    layout = tmp_path / "theirs"
    run(oras, "cp", "-r", "--from-plain-http", near, "--to-oci-layout", f"{layout}:v1")
    ocistate("verify", f"layout:{layout}:v1", "--key", key.with_suffix(".pub"))
    far = f"{any_registry.host}/back-from-oras"
    ocistate("copy", f"layout:{layout}:v1", far)
    ocistate("verify", f"{far}:v1", "--key", key.with_suffix(".pub"))
    # What oras wrote into the index stays when we write into it too.
    ocistate("tag", f"layout:{layout}:v1", "v2")
    run(oras, "manifest", "fetch", "--oci-layout", f"{layout}:v2")
