"""Pieces of the CustomResourceDefinitions' schemas, with the bounds that the parsers have."""

from __future__ import annotations

from typing import Any, Final

from ocistate.api.status import LONGEST_TEXT
from ocistate.documents import shapes

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "maxLength": LONGEST_TEXT}
FLAG: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "integer", "format": "int64"}
NUMBER_FIELDS: Final[Schema] = {"epoch": NUMBER, "sequence": NUMBER}
NAME: Final[Schema] = shapes.NAME.schema


def object_of(properties: Schema, *required: str, **more: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, **more}
    return schema | ({"required": list(required)} if required else {})


def list_of(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def text(most: int) -> Schema:
    return {"type": "string", "maxLength": most}


def enum(*values: str, default: str | None = None) -> Schema:
    schema: Schema = {"type": "string", "enum": list(values)}
    return schema | ({"default": default} if default else {})


def described(schema: Schema, text: str) -> Schema:
    return schema | {"description": text}
