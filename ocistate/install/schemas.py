"""Pieces of the CustomResourceDefinitions' schemas, with the bounds that the parsers have."""

from __future__ import annotations

from typing import Any, Final

from ocistate.api.status import LONGEST_TEXT
from ocistate.documents import shapes
from ocistate.documents.fields import MOST_SECONDS

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "maxLength": LONGEST_TEXT}
FLAG: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "integer", "format": "int64"}
NUMBER_FIELDS: Final[Schema] = {"epoch": NUMBER, "sequence": NUMBER}
LINE: Final[Schema] = shapes.LINE.optional_schema
NAME: Final[Schema] = shapes.NAME.schema
IGNORED: Final[Schema] = {
    **shapes.POINTER.schema,
    "description": "Of the metadata, single labels and annotations that are not ocistate's.",
    # As cluster.prepare.ignore_fault has it.
    "anyOf": [
        {"not": {"pattern": "^/(apiVersion|kind|metadata)?(/|$)"}},
        {
            "allOf": [
                {"pattern": "^/metadata/(labels|annotations)/[^/]*$"},
                {"not": {"pattern": r"^/metadata/(labels|annotations)/ocistate\.dev~1"}},
            ]
        },
    ],
}


def object_of(properties: Schema, *required: str, **more: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, **more}
    return schema | ({"required": list(required)} if required else {})


def list_of(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def text(most: int) -> Schema:
    return {"type": "string", "maxLength": most}


def duration(least: float) -> Schema:
    """A duration within the bounds that the parser has."""
    low, high = f"{least * 1000:.0f}ms", f"{MOST_SECONDS / 3600:.0f}h"
    return shapes.DURATION.schema | {
        "minLength": 1,
        "x-kubernetes-validations": [
            {
                "rule": f"duration(self) >= duration('{low}') "
                f"&& duration(self) <= duration('{high}')",
                "message": f"must be from {low} to {high}",
            }
        ],
    }


def enum(*values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema | ({"default": default} if default else {})


def described(schema: Schema, text: str) -> Schema:
    return schema | {"description": text}
