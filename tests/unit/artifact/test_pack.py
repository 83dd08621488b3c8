from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocistate.artifact.content import read_own_layer, resources_of
from ocistate.artifact.inventory import parse_inventory
from ocistate.artifact.pack import Packed, PackOptions, Provenance, canonical_tar, pack
from ocistate.artifact.unpack import DEFAULT_LIMITS, untar
from ocistate.canonical import canonical_json, digest_of
from ocistate.errors import InputError, InvalidManifest, OcistateError, PolicyRefused


def config_map(name: str, namespace: str = "", data: str = "") -> bytes:
    where = f", namespace: {namespace}" if namespace else ""
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{where}}}\n"
        f"data: {{k: '{data}'}}\n"
    ).encode()


def deployment(image: str) -> bytes:
    return (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n"
        f"    spec:\n      containers:\n      - {{name: c, image: '{image}'}}\n"
    ).encode()


GOLDEN = {
    "b.yaml": config_map("b"),
    "a/a.yaml": b"# comment\r\n---\n---\n" + config_map("a", "shop") + b"---\n" + deployment("i:1"),
    "c.json": b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"}}',
    "empty.yaml": b"",
    "ü/" + "long-name-" * 12 + ".yaml": b"---\n",
}
PROVENANCE = Provenance(
    source="https://example.com/shop.git",
    revision="main@sha1:0123456789abcdef0123456789abcdef01234567",
    created="2024-05-06T07:08:09Z",
)


def test_the_golden_artifact_never_changes() -> None:
    packed = pack(GOLDEN, provenance=PROVENANCE)
    assert packed.inventory.content_digest == (
        "sha256:829002a36f33e851bbc955d63d87a8ad53ea5c2f799cbd382f757662a004d23d"
    )
    assert packed.manifest.config.digest == (
        "sha256:91b552095f59b4c3dad9f5672ac39f5040087f22dec08c22ba43437b6b87760d"
    )


def test_the_manifest_is_the_one_of_the_format_description() -> None:
    packed = pack(
        {"a.yaml": config_map("a")},
        provenance=PROVENANCE,
        options=PackOptions(annotations={"org.opencontainers.image.title": "shop"}),
    )
    manifest = json.loads(packed.manifest.raw)
    assert manifest == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.ocistate.artifact.v1",
        "config": {
            "mediaType": "application/vnd.ocistate.config.v1+json",
            "digest": "sha256:" + hashlib.sha256(packed.config).hexdigest(),
            "size": len(packed.config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": "sha256:" + hashlib.sha256(packed.layer).hexdigest(),
                "size": len(packed.layer),
            }
        ],
        "annotations": {
            "org.opencontainers.image.source": PROVENANCE.source,
            "org.opencontainers.image.revision": PROVENANCE.revision,
            "org.opencontainers.image.created": PROVENANCE.created,
            "org.opencontainers.image.title": "shop",
        },
    }
    assert packed.manifest.raw == canonical_json(manifest)


def test_the_config_is_the_one_of_the_format_description() -> None:
    packed = pack(GOLDEN, provenance=PROVENANCE)
    config = json.loads(packed.config)
    assert packed.config == canonical_json(config)
    assert config["schemaVersion"] == 1
    assert config["source"] == PROVENANCE.source
    assert config["revision"] == PROVENANCE.revision
    assert config["images"] == [{"image": "i:1", "pinned": False}]
    assert [
        (r["apiVersion"], r["kind"], r.get("namespace"), r["name"], r["path"], r["index"])
        for r in config["resources"]
    ] == [
        ("v1", "ConfigMap", None, "b", "b.yaml", 0),
        ("v1", "ConfigMap", "shop", "a", "a/a.yaml", 1),
        ("v1", "Service", None, "s", "c.json", 0),
        ("apps/v1", "Deployment", None, "d", "a/a.yaml", 2),
    ]


def test_nothing_is_annotated_that_nothing_tells() -> None:
    assert "annotations" not in json.loads(pack({"a.yaml": config_map("a")}).manifest.raw)


def test_annotations_given_by_hand_win() -> None:
    options = PackOptions(annotations={"org.opencontainers.image.revision": "mine"})
    packed = pack({"a.yaml": config_map("a")}, provenance=PROVENANCE, options=options)
    assert packed.manifest.annotations["org.opencontainers.image.revision"] == "mine"


def test_the_tar_holds_the_files_as_given_sorted_and_bare() -> None:
    with tarfile.open(fileobj=io.BytesIO(canonical_tar(GOLDEN))) as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == sorted(GOLDEN)
        for m in members:
            assert m.isreg()
            assert (m.mode, m.mtime, m.uid, m.gid, m.uname, m.gname) == (0o644, 0, 0, 0, "", "")
            content = tar.extractfile(m)
            assert content is not None
            assert content.read() == GOLDEN[m.name]


def test_the_gzip_header_names_no_time_and_no_file() -> None:
    layer = pack(GOLDEN).layer
    assert layer[:4] == b"\x1f\x8b\x08\0"
    assert layer[4:8] == b"\0\0\0\0"
    assert zlib.decompress(layer, wbits=31) == canonical_tar(GOLDEN)


CHILD = """
import json, os, sys
from ocistate.artifact.pack import Provenance, pack
os.umask(int(sys.argv[1], 8))
os.chdir(sys.argv[2])
names = json.load(sys.stdin)
files = {name: names[name].encode() for name in sorted(names, reverse=sys.argv[3] == "r")}
print(pack(files, provenance=Provenance(revision="r")).manifest.descriptor.digest)
"""


@pytest.mark.parametrize(
    ("umask", "folder", "order", "environ"),
    [
        ("022", "/", "s", {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"}),
        ("077", ".", "r", {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "HOME": "/nowhere"}),
        ("000", "/tmp", "r", {"TZ": "America/St_Johns", "PYTHONHASHSEED": "4711", "USER": "x"}),  # noqa: S108 any other folder
    ],
)
def test_the_same_input_gives_the_same_artifact_anywhere(
    umask: str, folder: str, order: str, environ: dict[str, str]
) -> None:
    files = {name: content.decode() for name, content in GOLDEN.items()}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, umask, folder, order],
        input=json.dumps(files),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environ},
    )
    here = pack(GOLDEN, provenance=Provenance(revision="r"))
    assert done.stdout.strip() == here.manifest.descriptor.digest


def test_content_is_told_apart_from_where_it_comes_from() -> None:
    one, two = pack(GOLDEN, provenance=PROVENANCE), pack(GOLDEN)
    assert one.inventory.content_digest == two.inventory.content_digest
    assert one.manifest.descriptor.digest != two.manifest.descriptor.digest


@pytest.mark.parametrize(
    ("files", "location", "names"),
    [
        (
            {"a.yaml": config_map("x"), "b.yaml": b"---\n" + config_map("x")},
            "b.yaml:2",
            ["ConfigMap/x", "a.yaml:1"],
        ),
        ({"a.yaml": config_map("x") + b"---\n" + config_map("x")}, "a.yaml:6", ["a.yaml:1"]),
        (
            {
                "a.yaml": b"apiVersion: apps/v1\nkind: D\nmetadata: {name: x, namespace: s}",
                "b.yaml": b"apiVersion: apps/v1beta1\nkind: D\nmetadata: {name: x, namespace: s}",
            },
            "b.yaml:1",
            ["D.apps/s/x", "a.yaml:1"],
        ),
        (
            {
                "a.json": b'{"kind": "List", "items": [{"apiVersion": "v1", "kind": "A", "metadata"'
                b': {"name": "x"}}, {"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}}]}'
            },
            "a.json:1",
            ["A/x"],
        ),
    ],
)
def test_the_same_resource_twice_is_refused_naming_both_places(
    files: dict[str, bytes], location: str, names: list[str]
) -> None:
    with pytest.raises(InvalidManifest) as caught:
        pack(files)
    assert caught.value.location == location
    assert caught.value.hint
    for name in names:
        assert name in caught.value.message


def test_the_same_name_in_another_group_kind_or_namespace_is_another_resource() -> None:
    files = {
        "a.yaml": config_map("x") + b"---\n" + config_map("x", "shop"),
        "b.yaml": b"apiVersion: a.example/v1\nkind: ConfigMap\nmetadata: {name: x}",
        "c.yaml": b"apiVersion: v1\nkind: Service\nmetadata: {name: x}",
    }
    assert len(pack(files).inventory.resources) == 4


@pytest.mark.parametrize(
    "files",
    [{}, {"a.yaml": b""}, {"a.yaml": b"# c\n---\n---\n"}, {"a.yaml": b"kind: List\nitems: []"}],
)
def test_an_input_without_resources_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="no resource to pack") as caught:
        pack(files)
    assert caught.value.hint


def secret(body: str, name: str = "s") -> str:
    return f"{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, {body}}}"


@pytest.mark.parametrize(
    "text",
    [
        secret("data: {a: Yg==}"),
        secret("stringData: {a: b}"),
        secret("data: x"),
        f"kind: List\nitems:\n- {secret('data: {a: Yg==}')}",
        f"kind: List\nitems:\n- kind: List\n  items:\n  - {secret('data: {a: Yg==}')}",
        "kind: List\nmetadata: {name: x}\napiVersion: v1\nspec: {}\nitems:\n"
        f"- {secret('data: {a: b}')}",
    ],
)
def test_secrets_with_data_are_refused_unless_allowed(text: str) -> None:
    files = {"f.yaml": b"---\n# c\n---\n" + text.encode()}
    with pytest.raises(PolicyRefused) as caught:
        pack(files)
    assert caught.value.message.startswith("f.yaml:4: Secret/s ")
    assert "--allow-secrets" in caught.value.hint
    assert pack(files, options=PackOptions(allow_secrets=True)).inventory.resources


@pytest.mark.parametrize(
    "text",
    [
        secret("type: Opaque"),
        secret("data: {}"),
        secret("data: "),
        "{apiVersion: example.com/v1, kind: Secret, metadata: {name: s}, data: {a: b}}",
        "{apiVersion: bitnami.com/v1, kind: SealedSecret, metadata: {name: s}, spec: {a: b}}",
    ],
)
def test_what_holds_no_plain_secret_is_packed(text: str) -> None:
    assert pack({"f.yaml": text.encode()}).inventory.resources


def test_floating_images_are_warned_about_once_and_refused_when_strict() -> None:
    files = {"a.yaml": deployment("nginx"), "b.yaml": config_map("x")}
    files["c.yaml"] = deployment("nginx").replace(b"name: d", b"name: e")
    (warning,) = pack(files).warnings
    assert warning.startswith("a.yaml:1: Deployment.apps/d runs nginx, ")
    with pytest.raises(PolicyRefused, match=r"a\.yaml:1") as caught:
        pack(files, options=PackOptions(strict=True))
    assert "--strict" in caught.value.hint


@pytest.mark.parametrize("image", ["nginx:1.27", "nginx@sha256:" + "0" * 64])
def test_images_of_a_version_pass_also_when_strict(image: str) -> None:
    packed = pack({"a.yaml": deployment(image)}, options=PackOptions(strict=True))
    assert packed.warnings == ()
    assert packed.inventory.images[0].pinned is ("@" in image)


@pytest.mark.parametrize(
    "path",
    [
        "/a.yaml",
        "../a.yaml",
        "a/../../b.yaml",
        "a\\b.yaml",
        "c:a.yaml",
        "a\nb.yaml",
        "a\x7f.yaml",
        "a\x9b.yaml",
        "./a.yaml",
        "a//b.yaml",
        "",
        "\udc80.yaml",
        "x" * 256,
        "a/" * 70 + "b.yaml",
    ],
)
def test_what_could_not_be_unpacked_is_not_packed(path: str) -> None:
    with pytest.raises(InputError) as caught:
        pack({path: config_map("a")})
    assert caught.value.hint


@pytest.mark.parametrize(
    "paths",
    [("a.yaml", "A.yaml"), ("é.yaml", "e\u0301.yaml"), ("a", "a/b.yaml"), ("ß.yaml", "SS.yaml")],
)
def test_files_that_would_be_one_on_some_file_system_are_not_packed(paths: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        pack({path: config_map(f"a{place}") for place, path in enumerate(paths)})
    assert "rename" in caught.value.hint


def test_more_than_could_be_unpacked_is_not_packed() -> None:
    size = DEFAULT_LIMITS.file_bytes + 1
    with pytest.raises(InputError, match="too large"):
        pack({"a.yaml": b"#" * size})


def test_what_compresses_badly_beyond_the_limit_is_not_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ocistate.artifact.pack.MAX_COMPRESSED_BYTES", 300)
    noise = random.Random(1).randbytes(500).hex()
    with pytest.raises(InputError, match="compressed"):
        pack({"a.yaml": config_map("a", data=noise)})


def test_a_source_or_revision_that_could_not_be_shown_is_refused() -> None:
    for provenance in (Provenance(source="a\x1b[2J"), Provenance(revision="b\udc80")):
        with pytest.raises(InputError, match="control characters"):
            pack({"a.yaml": config_map("a")}, provenance=provenance)


def check_round_trip(packed: Packed, files: dict[str, bytes]) -> None:
    inventory = parse_inventory(packed.config)
    assert inventory == packed.inventory
    found = read_own_layer(packed.layer, inventory)
    assert found == files
    resources = resources_of(found, inventory)
    assert {entry.id: entry.digest for entry in inventory.resources} == {
        key: resource.digest for key, resource in resources.items()
    }


names = st.lists(
    st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\:"),
        min_size=1,
        max_size=30,
    ).filter(lambda part: part not in (".", "..")),
    min_size=1,
    max_size=4,
).map(lambda parts: "/".join(parts) + ".yaml")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)


def manifest(name: str, value: Any) -> bytes:
    obj = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": name}, "spec": value}
    # ASCII only: YAML takes fewer characters bare than JSON does, and no escaped surrogate pairs.
    text = json.dumps(obj, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text).encode()


@settings(max_examples=150)
@given(st.dictionaries(names, values, min_size=1, max_size=5), st.randoms())
def test_any_objects_under_any_names_come_back_and_order_means_nothing(
    objects: dict[str, Any], shuffle: random.Random
) -> None:
    files = {
        path: manifest(f"n{place}", value) for place, (path, value) in enumerate(objects.items())
    }
    try:
        packed = pack(files)
    except InputError as error:
        # Twins by case or normal form; nothing else may be wrong with them.
        assert "file systems" in error.message or "folder" in error.message  # noqa: PT017
        return
    check_round_trip(packed, files)
    order = list(files)
    shuffle.shuffle(order)
    again = pack({path: files[path] for path in order})
    assert again.manifest.raw == packed.manifest.raw
    assert again.layer == packed.layer
    assert untar(canonical_tar(files)) == files


@settings(max_examples=300)
@given(
    st.dictionaries(st.text(max_size=8), st.binary(max_size=60) | st.text(max_size=60), max_size=3)
)
def test_any_files_are_packed_or_refused(files: dict[str, Any]) -> None:
    data = {
        path + ".yaml": text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        for path, text in files.items()
    }
    try:
        packed = pack(data)
    except OcistateError:
        return
    check_round_trip(packed, data)


def test_a_folder_read_back_from_disk_packs_to_the_same(tmp_path: Path) -> None:
    packed = pack(GOLDEN)
    for path, content in untar(zlib.decompress(packed.layer, wbits=31)).items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    files = {
        p.relative_to(tmp_path).as_posix(): p.read_bytes()
        for p in tmp_path.rglob("*")
        if p.is_file()
    }
    assert pack(files).manifest.raw == packed.manifest.raw


def hook(name: str, hooks: str) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n"
        f"  annotations: {{'helm.sh/hook': '{hooks}'}}\n"
        "spec: {containers: [{name: c, image: 'i:1'}]}\n"
    )


PLAIN = "# Source: a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n"


@pytest.mark.parametrize(
    "hooks", ["test", "pre-delete", "post-delete, test-success", "test-failure"]
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_hooks_for_a_deletion_or_a_test_are_left_out(hooks: str, ends: str) -> None:
    first, later = hook("first", hooks), "---\n" + hook("later", hooks)
    text = (first + "---\n" + PLAIN + later + "---\n# end\n").replace("\n", ends)
    packed = pack({"a.yaml": text.encode(), "b.yaml": hook("alone", hooks).encode()})
    assert [entry.id.name for entry in packed.inventory.resources] == ["plain"]
    rest = ("---\n" + PLAIN + "---\n# end\n").replace("\n", ends).encode()
    assert packed.inventory.content_digest == digest_of(canonical_tar({"a.yaml": rest}))
    assert len([said for said in packed.warnings if "left out" in said]) == 3
    whole = pack({"a.yaml": text.encode()}, options=PackOptions(include_hooks=True))
    assert len(whole.inventory.resources) == 3


@pytest.mark.parametrize("hooks", ["pre-install", "post-upgrade,test", "crd-install"])
def test_other_hooks_are_packed_and_warned_about(hooks: str) -> None:
    files = {"a.yaml": (PLAIN + "---\n" + hook("a", hooks)).encode()}
    packed = pack(files)
    assert packed.inventory.content_digest == digest_of(canonical_tar(files))
    assert [said for said in packed.warnings if hooks.split(",")[0] in said]


def test_a_hook_that_shares_its_document_is_not_taken_out_of_it_in_silence() -> None:
    ordinary = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}}
    metadata = {"name": "b", "annotations": {"helm.sh/hook": "test"}}
    items = [ordinary, {**ordinary, "metadata": metadata}]
    text = json.dumps({"kind": "List", "items": items}).encode()
    with pytest.raises(InvalidManifest, match="left out"):
        pack({"a.json": text})
    assert (
        len(pack({"a.json": text}, options=PackOptions(include_hooks=True)).inventory.resources)
        == 2
    )


def test_an_input_of_a_build_is_named_before_what_is_beside_it() -> None:
    files = {"a.yaml": b"{{ x }}", "b/kustomization.yaml": b"resources: [x]", "c.yaml": b"x"}
    with pytest.raises(InvalidManifest) as caught:
        pack(files)
    assert "kustomize build" in caught.value.hint
    with pytest.raises(InvalidManifest) as caught:
        pack({"templates/a.yaml": b"{{ x }}", "Chart.yaml": b"apiVersion: v2\nname: x\n"})
    assert "helm template" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: anchors, namespace: default}\n"
            "data: {a: &x one, b: *x, c: &x two, d: *x}\n",
            {"a": "one", "b": "one", "c": "two", "d": "two"},
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n"
            'metadata: {name: a, annotations: {about: "sets the key to {{ element.key }}"}}\n',
            None,
        ),
    ],
    ids=["anchor-twice", "template-mark-in-annotation-text"],
)
def test_what_kubectl_reads_is_packed(text: str, want: Any) -> None:
    files = {"a.yaml": text.encode()}
    packed = pack(files)
    (resource,) = resources_of(files, packed.inventory).values()
    assert resource.object.get("data") == want
