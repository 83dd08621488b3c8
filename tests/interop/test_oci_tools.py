"""What we push, oras, crane, skopeo, Flux and Argo CD take; what they push, we read."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from testbed.registries import Distribution, Registry
from tests.support.command import ocistate, run
from tests.support.tools import Skopeo


def test_oras_pulls_what_we_push(
    any_registry: Registry, oras: Path, manifests: Path, tmp_path: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/tools:oras").line
    manifest = json.loads(run(oras, "manifest", "fetch", "--plain-http", name).out)
    layer = manifest["layers"][0]["digest"]
    repository = name.partition("@")[0]
    run(
        oras,
        "blob",
        "fetch",
        "--plain-http",
        "--output",
        tmp_path / "layer",
        f"{repository}@{layer}",
    )
    with tarfile.open(tmp_path / "layer") as tar:
        assert tar.getnames() == ["config.yaml", "namespace.yaml"]


def test_oras_copies_an_artifact_with_its_signature(
    any_registry: Registry, distribution: Distribution, oras: Path, key: Path, manifests: Path
) -> None:
    name = ocistate(
        "push", manifests, f"{any_registry.host}/tools:copy", "--sign", "--key", key
    ).line
    target = f"{distribution.host}/copied:v1"
    run(oras, "cp", "-r", "--from-plain-http", "--to-plain-http", name, target)
    ocistate("verify", target, "--key", key.with_suffix(".pub"))


def test_crane_copies_what_we_push_and_keeps_its_digest(
    any_registry: Registry, distribution: Distribution, crane: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/tools:crane").line
    target = f"{distribution.host}/craned:v1"
    run(crane, "copy", "--insecure", name, target)
    assert run(crane, "digest", "--insecure", target).line == name.partition("@")[2]


def test_skopeo_copies_into_a_layout_that_we_read(
    any_registry: Registry, skopeo: Skopeo, manifests: Path, tmp_path: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/tools:skopeo").line
    layout = tmp_path / "layout"
    skopeo.copy("--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:v1")
    facts = json.loads(ocistate("inspect", f"layout:{layout}:v1", "-o", "json").out)
    assert facts["digest"] == name.partition("@")[2]


def test_skopeo_and_oras_read_a_layout_of_ours(
    distribution: Distribution, skopeo: Skopeo, oras: Path, manifests: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "ours"
    name = ocistate("pack", manifests, f"layout:{layout}:v1").line
    target = f"{distribution.host}/from-layout:v1"
    skopeo.copy("--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{target}")
    fetched = run(oras, "manifest", "fetch", "--oci-layout", "--descriptor", f"{layout}:v1")
    assert json.loads(fetched.out)["digest"] == name.partition("@")[2]
    facts = json.loads(ocistate("inspect", target, "-o", "json").out)
    assert facts["digest"] == name.partition("@")[2]


def test_argo_cd_unpacks_what_we_push(
    any_registry: Registry, argocd_pull: Path, manifests: Path, tmp_path: Path
) -> None:
    repository = f"{any_registry.host}/tools-argocd"
    name = ocistate("push", manifests, f"{repository}:prod").line
    found = run(argocd_pull, f"oci://{repository}", "prod", tmp_path / "argo")
    assert found.line == name.partition("@")[2]
    assert _texts(tmp_path / "argo" / "files") == _texts(manifests)


def test_we_read_what_flux_pushes(
    any_registry: Registry, flux_push: Path, manifests: Path, tmp_path: Path
) -> None:
    reference = f"{any_registry.host}/flux:v1"
    source = ("https://example.com/repo", "main@sha1:0123")
    name = run(flux_push, reference, manifests, *source).line
    facts = json.loads(ocistate("inspect", reference, "-o", "json").out)
    assert facts["digest"] == name.partition("@")[2]
    assert (facts["source"], facts["revision"]) == source
    assert [item["kind"] for item in facts["resources"]] == ["ConfigMap", "Namespace"]
    ocistate("pull", reference, "-o", tmp_path / "out")
    assert _texts(tmp_path / "out") == _texts(manifests)


def test_we_read_a_folder_and_plain_files_that_oras_pushes(
    any_registry: Registry, oras: Path, manifests: Path, tmp_path: Path
) -> None:
    folder = f"{any_registry.host}/oras-folder:v1"
    run(oras, "push", "--plain-http", folder, "manifests/", cwd=tmp_path)
    plain = f"{any_registry.host}/oras-files:v1"
    run(
        oras, "push", "--plain-http", plain, "config.yaml:application/yaml",
        "namespace.yaml:application/yaml", cwd=manifests,
    )  # fmt: skip
    for reference in (folder, plain):
        facts = json.loads(ocistate("inspect", reference, "-o", "json").out)
        assert [item["kind"] for item in facts["resources"]] == ["ConfigMap", "Namespace"]


def test_a_helm_chart_is_refused_with_a_hint_to_render_it(
    distribution: Distribution, oras: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "chart.tgz").write_bytes(b"x")
    reference = f"{distribution.host}/chart:v1"
    run(
        oras, "push", "--plain-http",
        "--config", "config.json:application/vnd.cncf.helm.config.v1+json", reference,
        "chart.tgz:application/vnd.cncf.helm.chart.content.v1.tar+gzip", cwd=tmp_path,
    )  # fmt: skip
    refused = ocistate("pull", reference, "-o", tmp_path / "out", check=False)
    assert refused.code == 20
    assert "helm template" in refused.err


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}
