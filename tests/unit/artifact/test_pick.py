"""A few resources out of many files, each proven by its digest."""

from __future__ import annotations

import pytest

from ocistate.artifact.inventory import entry_of
from ocistate.artifact.manifests import read_resources
from ocistate.artifact.pick import pick_resources
from ocistate.errors import ArtifactError
from ocistate.objects import Resource


def config_map(name: str, value: str = "v") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n"


def read(text: str, path: str = "a.yaml") -> dict[str, Resource]:
    return {each.id.name: each for each in read_resources(path, text.encode())}


@pytest.mark.parametrize(
    "text",
    [
        config_map("a") + "---\n" + config_map("b"),
        "# comment\n---\n" + config_map("a") + "---\n---\n" + config_map("b"),
        "%YAML 1.1\n---\n" + config_map("a") + "...\n---\n" + config_map("b"),
    ],
)
def test_a_document_is_found_wherever_it_is(text: str) -> None:
    resources = read(text)
    picked = pick_resources({"a.yaml": text.encode()}, [entry_of(resources["b"])])
    (found,) = picked.values()
    assert (found.id, found.json) == (resources["b"].id, resources["b"].json)


def test_another_object_than_listed_is_never_picked() -> None:
    listed = entry_of(read(config_map("a", "old"))["a"])
    with pytest.raises(ArtifactError, match="not what the artifact's inventory lists"):
        pick_resources({"a.yaml": config_map("a", "new").encode()}, [listed])
    with pytest.raises(ArtifactError):
        pick_resources({}, [listed])
