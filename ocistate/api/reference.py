"""Reference pages, as Markdown: the fields of a public object and the reasons of conditions.

text = field_reference("Stack", "What it is.", {"spec": structural_schema(StackSpec)})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from ocistate.api.conditions import ConditionType, EventReason, Reason
from ocistate.api.scalars import Schema
from ocistate.api.schema import member_texts

_CONDITIONS_INTRO: Final = """\
What a Stack's status reports. `Ready`, `Reconciling` and `Stalled` follow
[kstatus](https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus), so that
`kubectl wait`, Flux, Argo CD and Helm wait for a Stack as for any other object:

    kubectl wait stack/web --for=condition=Ready --timeout=5m"""


def condition_reference() -> str:
    """The page of all conditions and reasons: what each means, and what a user does about it."""
    parts: list[tuple[str, type[StrEnum]]] = [
        ("Conditions", ConditionType),
        ("Reasons", Reason),
        ("Reasons of Events only", EventReason),
    ]
    lines = ["# Conditions and reasons", "", _CONDITIONS_INTRO, ""]
    for title, kind in parts:
        texts = member_texts(kind)
        lines += [f"## {title}", ""]
        lines += [f"- `{member.value}`: {texts[member.name]}" for member in kind]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


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
