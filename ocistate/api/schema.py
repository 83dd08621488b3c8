"""The structural schema of a CustomResourceDefinition, made from a struct.

    schema = structural_schema(StackSpec)

Descriptions are the docstrings of the struct's fields, so they are read from its source: this runs
when ocistate is built, not when it is installed into a cluster.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect as shapes

from ocistate.api.scalars import Duration, Schema, scalar_of
from ocistate.api.struct import ApiStruct

_INT64: Final[Schema] = {"type": "integer", "format": "int64"}


def structural_schema(kind: type[msgspec.Struct]) -> Schema:
    """The OpenAPI v3 schema that an API server holds objects of this kind to."""
    return _schema(shapes.type_info(kind))


def descriptions(kind: type[msgspec.Struct]) -> Mapping[str, str]:
    """What each field of a struct means, by its name in Python."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base.__struct_fields__:
            found |= member_texts(base)
    return found


def _schema(shape: shapes.Type) -> Schema:
    match shape:
        case shapes.Metadata():
            schema = _schema(shape.type) | (shape.extra_json_schema or {})
        case shapes.UnionType():
            (inner,) = (each for each in shape.types if not isinstance(each, shapes.NoneType))
            schema = _schema(inner)
        case shapes.StructType():
            schema = _object(shape)
        case shapes.VarTupleType() | shapes.ListType():
            schema = _given(
                {"type": "array", "items": _schema(shape.item_type)},
                minItems=shape.min_length,
                maxItems=shape.max_length,
            )
        case shapes.DictType():
            schema = {"type": "object", "additionalProperties": _schema(shape.value_type)}
        case shapes.StrType():
            schema = _given(
                {"type": "string"},
                minLength=shape.min_length,
                maxLength=shape.max_length,
                pattern=shape.pattern,
            )
        case shapes.IntType():
            schema = _given(dict(_INT64), minimum=shape.ge, maximum=shape.le)
        case shapes.BoolType():
            schema = {"type": "boolean"}
        case shapes.LiteralType():
            schema = {"type": "string", "enum": list(shape.values)}
        case shapes.CustomType():
            schema = dict(scalar_of(shape.cls).schema)
        case _:
            raise TypeError(f"no schema for {shape}")
    return schema


def _object(shape: shapes.StructType) -> Schema:
    texts = descriptions(shape.cls)
    properties: Schema = {}
    for field in shape.fields:
        schema = _schema(field.type)
        if text := texts.get(field.name):
            schema["description"] = text
        if (default := _default(field)) is not None:
            schema["default"] = default
        properties[field.encode_name] = schema
    found: Schema = {"type": "object", "properties": properties}
    if required := [field.encode_name for field in shape.fields if field.required]:
        found["required"] = required
    if issubclass(shape.cls, ApiStruct) and (rules := (*shape.cls.rules, *shape.cls.cluster_rules)):
        found["x-kubernetes-validations"] = [
            {"rule": rule.cel, "message": rule.message} for rule in rules
        ]
    return found


def _default(field: shapes.Field) -> Any:
    """A default worth writing down: an empty one says nothing that absence does not."""
    value = field.default
    if isinstance(value, Duration):
        return value.text
    if isinstance(value, bool) or (isinstance(value, str | int) and value):
        return value
    return None


def _given(schema: Schema, **more: Any) -> Schema:
    return schema | {key: value for key, value in more.items() if value is not None}


@cache
def member_texts(kind: type) -> Mapping[str, str]:
    """The string that follows each field, or member of an enum, in the source of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found: dict[str, str] = {}
    name = ""
    for line in tree.body if isinstance(tree, ast.ClassDef) else ():
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case ast.Expr(value=ast.Constant(value=str() as text)) if name:
                found[name] = " ".join(text.split())
                name = ""
            case _:
                name = ""
    return found
