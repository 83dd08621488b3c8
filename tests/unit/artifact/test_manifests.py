from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocistate.artifact.images import images_of, is_floating
from ocistate.artifact.inventory import (
    Image,
    Inventory,
    entry_of,
    parse_inventory,
    sort_entries,
)
from ocistate.artifact.manifests import is_manifest_path, read_resources
from ocistate.canonical import canonical_json
from ocistate.errors import ArtifactError, InvalidManifest
from ocistate.objects import ObjectId, Resource

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def resources(text: str, path: str = "f.yaml") -> list[Resource]:
    return list(read_resources(path, text.encode()))


def refusal(text: str, path: str = "f.yaml") -> InvalidManifest:
    with pytest.raises(InvalidManifest) as caught:
        resources(text, path)
    return caught.value


def test_a_resource_knows_its_identity_and_its_place() -> None:
    text = (
        "# c\n---\n---\napiVersion: apps/v1\nkind: Deployment\n"
        "metadata: {name: a, namespace: shop}\n"
    )
    (found,) = resources(text, "dir/f.yaml")
    assert found.id == ObjectId("apps", "Deployment", "shop", "a")
    assert (found.path, found.index, found.line) == ("dir/f.yaml", 1, 4)
    assert found.api_version == "apps/v1"
    assert str(found.id) == "Deployment.apps/shop/a"


def test_the_digest_of_a_resource_is_that_of_its_content_not_of_its_form() -> None:
    yaml = "kind: ConfigMap # c\nmetadata:\n  name: 'a'\napiVersion: v1\ndata: {k: \"\\x41\"}"
    js = '{"apiVersion":"v1","data":{"k":"A"},"kind":"ConfigMap","metadata":{"name":"a"}}'
    (one,), (two,) = resources(yaml), resources(js, "f.json")
    assert one.digest == two.digest


def test_the_digest_of_a_resource_never_changes_between_versions() -> None:
    (found,) = resources(CONFIG_MAP + 'data: {k: "1", é: ü}\nx: [1, 1.5, 3.0, true, null]\n')
    # printf '%s' '{"apiVersion":"v1","data":{"k":"1","é":"ü"},"kind":"ConfigMap",…}' | sha256sum
    want = "0538804711147d05ad65e27fb772406b6860d360309d3d91ee5fc3979d951a1b"
    assert found.digest == f"sha256:{want}"


@pytest.mark.parametrize(
    ("text", "line", "problem", "hint"),
    [
        ("a: 1", 1, "no apiVersion", ".ocistateignore"),
        ("---\n# c\nkind: A\nmetadata: {name: a}", 3, "no apiVersion", "needs apiVersion"),
        ("apiVersion: 1\nkind: A\nmetadata: {name: a}", 1, "no apiVersion", ""),
        ("apiVersion: ''\nkind: A\nmetadata: {name: a}", 1, "no apiVersion", ""),
        ("apiVersion: v1\nmetadata: {name: a}", 1, "no kind", "needs kind"),
        ("apiVersion: v1\nkind: []\nmetadata: {name: a}", 1, "no kind", ""),
        ("apiVersion: v1\nkind: A", 1, "no metadata.name in this A", "needs metadata.name"),
        ("apiVersion: v1\nkind: A\nmetadata:", 1, "no metadata.name", ""),
        ("apiVersion: v1\nkind: A\nmetadata: x", 1, "metadata is not a mapping", ""),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: [x]}",
            1,
            "metadata.labels is not a mapping",
            "",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: x}",
            1,
            "metadata.annotations is not a mapping",
            "",
        ),
        ("apiVersion: v1\nkind: A\nmetadata: {name: ''}", 1, "no metadata.name", ""),
        ("apiVersion: v1\nkind: A\nmetadata: {name: 12}", 1, "no metadata.name", "quote"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: on}", 1, "no metadata.name", "quote"),
        ("apiVersion: v1\nkind: A\nmetadata: {generateName: a-}", 1, "no metadata", "fixed name"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: 1}", 1, "namespace is", "quote"),
        ("apiVersion: a/b/c\nkind: A\nmetadata: {name: a}", 1, "is no apiVersion", "GROUP/"),
        ("apiVersion: /v1\nkind: A\nmetadata: {name: a}", 1, "is no apiVersion", ""),
        ("apiVersion: apps/\nkind: A\nmetadata: {name: a}", 1, "is no apiVersion", ""),
        ("apiVersion: v1\nkind: A/b\nmetadata: {name: a}", 1, "is no kind", "letters"),
        ("apiVersion: v1\nkind: 'A '\nmetadata: {name: a}", 1, "is no kind", ""),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a/b}", 1, "metadata.name cannot be", ""),
        ("apiVersion: v1\nkind: A\nmetadata: {name: ..}", 1, "metadata.name cannot be", ""),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a%2fb}", 1, "metadata.name cannot be", ""),
        ('apiVersion: v1\nkind: A\nmetadata: {name: "a\\e"}', 1, "metadata.name cannot be", ""),
        ('apiVersion: v1\nkind: A\nmetadata: {name: "a\\n"}', 1, "metadata.name cannot be", ""),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: ../b}",
            1,
            "namespace cannot",
            "",
        ),
        ("- 1", 1, "not a Kubernetes object", "apiVersion"),
        ("just text", 1, "not a Kubernetes object", ""),
        ("''", 1, "not a Kubernetes object", ""),
        ("apiVersion: '{{ x }}'\nkind: A\nmetadata: {name: a}", 1, "apiVersion holds", "render"),
        ("apiVersion: v1\nkind: '{{ x }}'\nmetadata: {name: a}", 1, "kind holds", "render"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: 'a-{{ x }}'}", 1, "metadata.name ho", "render"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: '${{x}}'}", 1, "namespace", ""),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {'{{ k }}': x}}",
            1,
            "a key of metadata.labels holds",
            "render",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, finalizers: [x, '{{ k }}']}",
            1,
            "metadata.finalizers[1] holds",
            "render",
        ),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: {{ x }}\n", 4, "", "render"),
        ("apiVersion: v1\n{{ if x }}\nkind: A\n", 2, "", "render"),
        ("apiVersion: v1\nkind: List\nitems: [x]", 1, "items[0] is not a Kubernetes object", ""),
        ("apiVersion: v1\nkind: List\nitems: [{metadata: {name: a}}]", 1, "items[0]: no", ""),
        ("kind: ConfigMapList\nitems: [{metadata: {name: a}}]", 1, "items[0]: no api", ""),
        ("apiVersion: v1\nkind: List\nitems: [null]", 1, "items[0] is not", ""),
        (
            "apiVersion: v1\nkind: List\nitems: [{kind: List, items: [{kind: A}]}]",
            1,
            "items[0].items[0]: no apiVersion",
            "",
        ),
        (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a]",
            1,
            "an input of a build",
            "kustomize build",
        ),
        (CONFIG_MAP + "---\n" + CONFIG_MAP + "--- \nkind: A\n", 9, "no apiVersion", ""),
    ],
)
def test_what_is_no_manifest_is_refused_with_file_line_and_fix(
    text: str, line: int, problem: str, hint: str
) -> None:
    error = refusal(text)
    assert error.location == f"f.yaml:{line}"
    assert problem in error.message
    assert hint in error.hint


@pytest.mark.parametrize("text", ["{", '{"apiVersion": "v1"}', "[]", "null", '"x"'])
def test_json_that_is_no_manifest_is_refused(text: str) -> None:
    assert refusal(text, "f.json").location == "f.json:1"


def test_json_nested_deeper_than_any_manifest_is_refused() -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900
    text = '{"apiVersion":"v1","kind":"A","metadata":{"name":"a","annotations":' + deep + "}}"
    assert "nested" in refusal(text, "f.json").message


def test_a_lone_surrogate_is_refused() -> None:
    text = '{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"data":{"x":"\\ud800"}}'
    assert refusal(text, "f.json").location == "f.json:1"


def test_template_markers_in_content_are_content() -> None:
    text = CONFIG_MAP + "data: {t: 'Hello {{ .Name }}', '{{ k }}': '${{ x }} {% y %} <% z'}\n"
    assert len(resources(text)) == 1


def test_kubectls_copy_of_an_object_may_quote_templates() -> None:
    text = (
        "apiVersion: v1\nkind: A\nmetadata:\n  name: a\n  annotations:\n"
        '    kubectl.kubernetes.io/last-applied-configuration: \'{"x": "{{ y }}"}\'\n'
    )
    assert len(resources(text)) == 1


@pytest.mark.parametrize("name", ["system:node", "a.b-c", "A", "a_b", "a b", "...", "é", "*"])
def test_names_that_some_kinds_allow_are_let_through(name: str) -> None:
    text = f"apiVersion: v1\nkind: ClusterRole\nmetadata: {{name: '{name}'}}"
    assert resources(text)[0].id.name == name


def item(name: str) -> str:
    return f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"kind: List\nitems: [{item('a')}, {item('b')}]", ["a", "b"]),
        (f"apiVersion: v1\nkind: ConfigMapList\nitems: [{item('a')}]", ["a"]),
        (f"kind: List\nitems: [{{kind: List, items: [{item('a')}]}}, {item('b')}]", ["b", "a"]),
        (f"kind: List\nspec: {{}}\nmetadata: {{name: x}}\nitems: [{item('a')}]", ["a"]),
        ("kind: List\nitems: []", []),
        ("kind: List\nitems: null", []),
        ("kind: List\nmetadata: {resourceVersion: ''}\nitems:", []),
        ("apiVersion: v1\nkind: SecretList\nitems: null", []),
        ("kind: List\nitems: [{kind: List, items: null}, " + item("b") + "]", ["b"]),
        (
            "apiVersion: x/v1\nkind: AllowList\nmetadata: {name: c}\nspec: {}\nitems: [{a: 1}]",
            ["c"],
        ),
        ("apiVersion: x/v1\nkind: AllowList\nmetadata: {name: c}", ["c"]),
        ("apiVersion: x/v1\nkind: AllowList\nmetadata: {name: c}\nitems: x", ["c"]),
    ],
)
def test_lists_are_opened(text: str, names: list[str]) -> None:
    found = resources(text)
    assert [resource.id.name for resource in found] == names
    assert all(resource.index == 0 for resource in found)


@pytest.mark.parametrize(
    ("api_version", "kind"), [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("x.io/v2", "Thing")]
)
def test_the_items_of_a_typed_list_take_their_type_from_it(api_version: str, kind: str) -> None:
    text = (
        f"apiVersion: {api_version}\nkind: {kind}List\nitems:\n- metadata: {{name: a}}\n"
        f"- {{kind: {kind}, metadata: {{name: b}}}}\n"
        "- {apiVersion: z/v1, kind: Other, metadata: {name: c}}"
    )
    assert [(r.api_version, r.id.kind) for r in resources(text)] == [
        (api_version, kind),
        (api_version, kind),
        ("z/v1", "Other"),
    ]


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml"])
@pytest.mark.parametrize("text", ["resources: [a.yaml]", "kind: null\nnamePrefix: x-"])
def test_a_kustomization_without_a_type_is_to_be_built_first(name: str, text: str) -> None:
    error = refusal(text, f"overlays/prod/{name}")
    assert "kustomize build" in error.hint
    assert ".ocistateignore" not in error.hint


def test_a_chart_is_to_be_rendered_first() -> None:
    error = refusal("apiVersion: v2\nname: web\nversion: 1.0.0\n", "web/Chart.yaml")
    assert "helm template" in error.hint
    assert ".ocistateignore" not in error.hint


def test_an_object_may_be_in_a_file_named_like_an_input_of_a_build() -> None:
    assert resources(CONFIG_MAP, "Chart.yaml")
    flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}"
    assert resources(flux, "kustomization.yaml")


@pytest.mark.parametrize(
    "place",
    [
        "metadata: {name: a, annotations: {about: 'sets {{ element.key }}'}}",
        "metadata: {name: a, annotations: {'x/y': '{% if %} <% z %> ${{ w }}'}}",
        "metadata: {name: a}\nspec: {description: 'use {{ x }}', versions: ['{{ y }}']}",
        "metadata: {name: a}\nspec: {templates: [{container: {image: '{{inputs.image}}'}}]}",
    ],
)
def test_free_text_may_be_about_templates(place: str) -> None:
    assert len(resources(f"apiVersion: v1\nkind: A\n{place}")) == 1


@pytest.mark.parametrize(
    "place",
    [
        "metadata: {name: a, annotations: {'{{ k }}': x}}",
        "metadata: {name: a, labels: {k: '{{ x }}'}}",
        "metadata: {name: a, generateName: '{{ x }}'}",
        "metadata: {name: a}\nspec: {containers: [{image: 'web:{{ .Values.tag }}'}]}",
        "metadata: {name: a}\nspec: {template: {spec: {initContainers: [{image: '{{ image }}'}]}}}",
    ],
)
def test_what_the_cluster_acts_on_must_be_rendered(place: str) -> None:
    assert "render" in refusal(f"apiVersion: v1\nkind: A\n{place}").hint


@pytest.mark.parametrize("path", ["a.yaml", "a.yml", "d/a.json", ".yaml"])
def test_manifest_files_are_known_by_their_suffix(path: str) -> None:
    assert is_manifest_path(path)


@pytest.mark.parametrize("path", ["a.txt", "yaml", "a.yaml.bak", "a.YAML", "a.jsonnet", ""])
def test_other_files_are_no_manifests(path: str) -> None:
    assert not is_manifest_path(path)


def pod(*images: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": image} for image in images]}


@pytest.mark.parametrize(
    ("obj", "names"),
    [
        ({"kind": "Pod", "spec": pod("a:1")}, ["a:1"]),
        ({"kind": "Deployment", "spec": {"template": {"spec": pod("a:1", "b:2")}}}, ["a:1", "b:2"]),
        (
            {
                "kind": "CronJob",
                "spec": {"jobTemplate": {"spec": {"template": {"spec": pod("a")}}}},
            },
            ["a"],
        ),
        ({"kind": "PodTemplate", "template": {"spec": pod("a:1")}}, ["a:1"]),
        (
            {
                "spec": {
                    "initContainers": [{"image": "i:1"}],
                    "containers": [{"image": "c:1"}],
                    "ephemeralContainers": [{"image": "e:1"}],
                }
            },
            ["i:1", "c:1", "e:1"],
        ),
        ({"spec": pod("", None, 5, "a b", "a\x1b[2J", "ok:1")}, ["ok:1"]),
        ({"spec": {"containers": "x", "initContainers": [None, "x", {}]}}, []),
        ({"spec": {"template": "x"}}, []),
        ({"spec": None}, []),
        ({"data": {"image": "a"}}, []),
    ],
)
def test_images_are_found_wherever_a_kind_keeps_its_pods(
    obj: dict[str, Any], names: list[str]
) -> None:
    assert [image.name for image in images_of(obj)] == names


HEX = "0" * 64


@pytest.mark.parametrize(
    ("image", "floating", "pinned"),
    [
        ("nginx", True, False),
        ("nginx:latest", True, False),
        ("docker.io/library/nginx", True, False),
        ("localhost:5000/nginx", True, False),
        ("localhost:5000/nginx:latest", True, False),
        ("localhost:5000/nginx:1.2", False, False),
        ("nginx:1.2", False, False),
        (f"nginx@sha256:{HEX}", False, True),
        (f"nginx:latest@sha256:{HEX}", False, True),
        ("nginx:latestish", False, False),
    ],
)
def test_images_are_told_floating_or_pinned(image: str, floating: bool, pinned: bool) -> None:
    assert is_floating(image) is floating
    (found,) = images_of({"spec": pod(image)})
    assert found.pinned is pinned


def inventory() -> Inventory:
    text = CONFIG_MAP + "---\napiVersion: apps/v1\nkind: D\nmetadata: {name: a, namespace: shop}\n"
    return Inventory(
        content_digest="sha256:" + HEX,
        source="https://example.com/r",
        revision="main@sha1:0",
        resources=sort_entries(map(entry_of, resources(text))),
        images=(Image(name="a:1", pinned=False), Image(name=f"b@sha256:{HEX}", pinned=True)),
    )


def test_an_inventory_is_read_back_as_it_was() -> None:
    assert parse_inventory(inventory().to_json()) == inventory()


def test_an_inventorys_bytes_are_canonical() -> None:
    raw = inventory().to_json()
    assert raw == canonical_json(json.loads(raw))


def test_fields_that_a_newer_minor_writer_adds_are_passed_over() -> None:
    value = json.loads(inventory().to_json())
    value["more"] = 1
    value["resources"][0]["more"] = 1
    assert parse_inventory(canonical_json(value)) == inventory()


def edited(**change: Any) -> bytes:
    value = json.loads(inventory().to_json())
    for path, new in change.items():
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("__"))
        target = value
        for part in parents:
            target = target[part]
        target[last] = new
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not an object"),
        (b"{}", "schemaVersion is None"),
        (b'{"schemaVersion": 1, "schemaVersion": 1}', "duplicate key"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not valid JSON"),
        (edited(schemaVersion=2), "schemaVersion is 2"),
        (edited(schemaVersion="1"), "schemaVersion is '1'"),
        (edited(schemaVersion=1.0), "schemaVersion is 1.0"),
        (edited(contentDigest="sha256:0"), "contentDigest"),
        (edited(contentDigest=None), "contentDigest is not text"),
        (edited(contentDigest="sha256:" + HEX + "\n"), "contentDigest"),
        (edited(source=1), "source is not text"),
        (edited(source="a\x1b[2J"), "source has control characters"),
        (edited(revision="\ud800"), "half of a surrogate pair"),
        (edited(revision="\u009b"), "revision has control characters"),
        (edited(resources=None), "resources is not a list"),
        (edited(resources=[1]), "resources[0]: not an object"),
        (edited(resources__1__kind=None), "resources[1]: kind is not text"),
        (edited(resources__1__name=5), "resources[1]: name is not text"),
        (edited(resources__1__name="a\n"), "resources[1]: name has control"),
        (edited(resources__0__namespace=None), "resources[0]: namespace is not text"),
        (edited(resources__0__apiVersion=[]), "resources[0]: apiVersion is not text"),
        (edited(resources__0__path={}), "resources[0]: path is not text"),
        (edited(resources__0__digest="x"), "resources[0].digest"),
        (edited(resources__0__index=-1), "resources[0].index"),
        (edited(resources__0__index=True), "resources[0].index"),
        (edited(resources__0__index=1.5), "resources[0].index"),
        (edited(images={}), "images is not a list"),
        (edited(images__1="x"), "images[1]: not an image"),
        (edited(images__0__pinned=1), "images[0]: not an image"),
        (edited(images__0__image=1), "images[0]: image is not text"),
    ],
)
def test_a_broken_inventory_is_refused_naming_the_field(raw: bytes, problem: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse_inventory(raw)
    assert caught.value.message.startswith("config: ")
    assert problem in caught.value.message


def test_a_resource_listed_twice_is_refused_also_in_another_version() -> None:
    value = json.loads(inventory().to_json())
    value["resources"].append({**value["resources"][1], "apiVersion": "apps/v2"})
    with pytest.raises(ArtifactError, match="listed twice"):
        parse_inventory(canonical_json(value))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ["schemaVersion", "contentDigest", "source", "revision", "resources", "images"]


def parsed_or_refused(raw: bytes) -> Inventory | None:
    try:
        return parse_inventory(raw)
    except ArtifactError:
        return None


@settings(max_examples=300)
@given(st.sampled_from(FIELDS), json_values, st.sampled_from(["", "0", "0__name", "0__image"]))
def test_any_value_in_an_inventory_is_read_or_refused(field: str, value: Any, deep: str) -> None:
    change = {f"{field}__{deep}" if deep and field in FIELDS[4:] else field: value}
    parsed = parsed_or_refused(edited(**change))
    assert parsed is None or parse_inventory(parsed.to_json()) == parsed


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_for_an_inventory_are_refused(raw: bytes) -> None:
    assert parsed_or_refused(raw) is None
