"""The field reference of a public object, as Markdown, made from its schema.

text = field_reference("Stack", "What it is.", {"spec": structural_schema(StackSpec)})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocistate.api.scalars import Schema


def field_reference(title: str, about: str, parts: Mapping[str, Schema]) -> str:
    """One page: a heading for each mapping or list of mappings, its fields below it."""
    lines = [f"# {title}", "", about, ""]
    for path, schema in parts.items():
        lines += _section(path, schema)
    return "\n".join(lines).rstrip() + "\n"


def _section(path: str, schema: Schema) -> Iterator[str]:
    yield from (f"## `{path}`", "")
    for rule in schema.get("x-kubernetes-validations", ()):
        yield from (f"Rule: {rule['message']}.", "")
    required = schema.get("required", ())
    nested: list[tuple[str, Schema]] = []
    for name, field in schema.get("properties", {}).items():
        facts = [_type(field), "required" if name in required else "", *_facts(field)]
        text = field.get("description", "")
        line = f"- `{name}` ({', '.join(fact for fact in facts if fact)})"
        yield f"{line}: {text}" if text else line
        items = field.get("items", {})
        if "properties" in field:
            nested.append((f"{path}.{name}", field))
        elif "properties" in items:
            nested.append((f"{path}.{name}[]", items))
    yield ""
    for below, inner in nested:
        yield from _section(below, inner)


def _type(field: Schema) -> str:
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object":
        values = field.get("additionalProperties")
        return f"map of {_type(values)}" if values else "object"
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    kind: str = field["type"]
    return kind


def _facts(field: Schema) -> Iterator[str]:
    if "default" in field:
        yield f"default `{_plain(field['default'])}`"
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None or most is not None:
        yield f"{'' if least is None else least} to {'' if most is None else most}".strip()
    if "maxLength" in field:
        yield f"at most {field['maxLength']} characters"
    if "maxItems" in field:
        yield f"at most {field['maxItems']} items"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
