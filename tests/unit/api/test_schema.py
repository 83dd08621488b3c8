from ocistate.api.reference import field_reference
from ocistate.api.schema import structural_schema

from .shapes import Spec, Status

SOURCE = structural_schema(Spec)["properties"]["source"]


def test_a_field_has_its_docstring_as_description() -> None:
    assert SOURCE["properties"]["repository"] == {
        "type": "string",
        "description": "The repository to read from.",
    }
    assert "description" not in SOURCE["properties"]["tag"]


def test_bounds_patterns_choices_and_defaults_reach_the_api_server() -> None:
    fields = SOURCE["properties"]
    assert fields["refs"]["items"]["properties"]["name"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 8,
        "pattern": "^[a-z]+$",
    }
    assert fields["count"] == {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": 100,
        "default": 50,
    }
    assert fields["mode"] == {"type": "string", "enum": ["fast", "safe"], "default": "fast"}
    assert fields["on"] == {"type": "boolean", "default": True}
    assert fields["pause"]["default"] == "1m"
    assert SOURCE["required"] == ["repository"]


def test_rules_are_written_as_cel() -> None:
    assert [rule["rule"] for rule in SOURCE["x-kubernetes-validations"]] == [
        "[has(self.tag), has(self.semver)].filter(x, x).size() == 1",
        "[has(self.pullSecretRef), has(self.mode)].filter(x, x).size() <= 1",
        "!has(self.count) || has(self.tag)",
    ]


def test_maps_and_optional_objects_keep_their_shape() -> None:
    assert structural_schema(Spec)["properties"]["weights"]["additionalProperties"] == {
        "type": "integer",
        "format": "int64",
    }
    assert structural_schema(Status)["properties"]["current"]["type"] == "object"


def test_the_reference_names_each_field_with_its_type_default_and_meaning() -> None:
    text = field_reference("Stack", "What runs where.", {"spec": structural_schema(Spec)})
    assert "## `spec.source`" in text
    assert "Rule: exactly one of tag and semver must be given." in text
    assert "- `repository` (string, required): The repository to read from." in text
    assert "- `mode` (`fast` \\| `safe`, default `fast`)" in text
    assert "- `count` (integer, default `50`, 1 to 100)" in text
    assert "## `spec.source.refs[]`" in text
