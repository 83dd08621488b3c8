"""Texts that public objects hold, each with what is allowed in it.

The shapes are those of `ocistate.documents.shapes`: a name here is one of them as a type that
structs can have, so that reader and schema hold a text to the same.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Self

from msgspec import Meta

from ocistate.api.scalars import Scalar, register
from ocistate.documents import shapes
from ocistate.documents.pointers import ignore_fault
from ocistate.documents.shapes import Shape
from ocistate.errors import ConfigError, InvalidReference
from ocistate.reference import Reference, check_channel, parse_reference
from ocistate.semver import parse_range

LONGEST_CEL: Final = 1000
_LINE_ENDS: Final = dict.fromkeys(map(ord, "\n\r\t"))


def _meta(shape: Shape, repeat: str) -> Meta:
    # Python's $ also matches before a line end, and \Z is not known to RE2.
    pattern = f"^({shape.pattern}){repeat}"
    return Meta(
        max_length=shape.most,
        pattern=rf"{pattern}\Z",
        extra={"what": shape.what, "allowed": shape.hint},
        extra_json_schema={"pattern": f"{pattern}$"},
    )


def required(shape: Shape) -> Meta:
    """A text of this shape."""
    return _meta(shape, "")


def optional(shape: Shape) -> Meta:
    """A text of this shape, or an empty one, which means as much as none."""
    return _meta(shape, "?")


Name = Annotated[str, required(shapes.NAME)]
"""The name of a Kubernetes object: a DNS subdomain (RFC 1123)."""

OptionalName = Annotated[str, optional(shapes.NAME)]
OptionalNamespace = Annotated[str, optional(shapes.NAMESPACE)]
"""The name of a Namespace: a DNS label (RFC 1123)."""

OptionalUid = Annotated[str, optional(shapes.UID)]
OptionalObjectName = Annotated[str, optional(shapes.OBJECT_NAME)]
KindName = Annotated[str, required(shapes.KIND)]
ApiVersion = Annotated[str, required(shapes.API_VERSION)]
OptionalDataKey = Annotated[str, optional(shapes.DATA_KEY)]
"""A key of a Secret's or ConfigMap's data."""

Tag = Annotated[str, required(shapes.TAG)]
"""A tag (OCI distribution specification 1.1)."""

Digest = Annotated[str, required(shapes.DIGEST)]
OptionalLine = Annotated[str, optional(shapes.LINE)]


class CheckedText(str):
    """A text that no pattern alone can describe. Empty is what is not given."""

    __slots__ = ()

    shape: ClassVar[Shape]

    @classmethod
    def read(cls, value: Any) -> Self:
        """Raises ValueError, ConfigError, UsageError."""
        text = _text(value)
        if not cls.shape.fits(text):
            raise ConfigError(f"{text[:80]!r} is not {cls.shape.what}", hint=cls.shape.hint)
        return cls(text)


class ChannelName(CheckedText):
    """The name of a channel; see `ocistate.reference.check_channel`."""

    __slots__ = ()
    shape = shapes.CHANNEL

    @classmethod
    def read(cls, value: Any) -> Self:
        return cls(check_channel(super().read(value)))


class SemverRange(CheckedText):
    """A range of versions, such as ``^1.2`` or ``>=1.0 <2``; see `ocistate.semver`."""

    __slots__ = ()
    shape = shapes.VERSIONS

    @classmethod
    def read(cls, value: Any) -> Self:
        text = super().read(value)
        parse_range(text)
        return text


class IgnoredPointer(CheckedText):
    """A JSON pointer to a field that can be left to others."""

    __slots__ = ()
    shape = shapes.POINTER

    @classmethod
    def read(cls, value: Any) -> Self:
        text = _text(value)
        if fault := ignore_fault(text):
            raise ConfigError(
                f"{text[:80]!r} {fault}",
                hint="of the metadata, single labels and annotations can be left to others",
            )
        return cls(text)


class ArtifactFolder(CheckedText):
    """A folder inside an artifact, without what means nothing at its ends."""

    __slots__ = ()
    shape = shapes.FOLDER

    @classmethod
    def read(cls, value: Any) -> Self:
        return cls(super().read(value).removeprefix("./").strip("/")) if value != "" else cls()


class LocalPath(CheckedText):
    """A file or folder of the machine that ocistate runs on."""

    __slots__ = ()
    shape = shapes.LINE

    @classmethod
    def read(cls, value: Any) -> Self:
        return super().read(value) if value != "" else cls()


class OptionalCel(str):
    """An expression in CEL, or an empty text. Its syntax is checked when it is read."""

    __slots__ = ()

    @classmethod
    def read(cls, value: Any) -> Self:
        """Raises ValueError."""
        text = _text(value)
        if len(text) > LONGEST_CEL:
            raise ValueError(f"is longer than {LONGEST_CEL} characters")
        if not text.translate(_LINE_ENDS).isprintable():
            raise ValueError("has characters that can't be printed; remove them")
        if text:
            from ocistate.cel import check_syntax  # a library that few Stacks need

            if fault := check_syntax(text):
                raise ConfigError(fault)
        return cls(text)


class Cel(OptionalCel):
    """An expression in CEL."""

    __slots__ = ()

    @classmethod
    def read(cls, value: Any) -> Self:
        if value == "":
            raise ValueError("must be a text, and not an empty one")
        return super().read(value)


class Repository(str):
    """A repository: a reference without tag and digest."""

    reference: Reference

    @classmethod
    def of(cls, reference: Reference) -> Self:
        """The repository that a reference names."""
        found = cls(reference)
        found.reference = reference
        return found

    @classmethod
    def read(cls, value: Any) -> Self:
        """Raises InvalidReference, ValueError."""
        text = _text(value)
        if not text.isprintable():
            raise ValueError(
                f"{text[:80]!r} has characters that can't be printed; write oci://HOST/NAME"
            )
        reference = parse_reference(text)
        if reference.tag or reference.digest:
            raise InvalidReference("names a tag or digest", hint="use the fields tag, digest")
        return cls.of(reference)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


_IGNORED: Final = {
    **shapes.POINTER.schema,
    # As ignore_fault has it.
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
_CEL: Final = {"type": "string", "maxLength": LONGEST_CEL}

register(ChannelName, Scalar(read=ChannelName.read, write=str, schema=shapes.CHANNEL.schema))
register(SemverRange, Scalar(read=SemverRange.read, write=str, schema=shapes.VERSIONS.schema))
register(IgnoredPointer, Scalar(read=IgnoredPointer.read, write=str, schema=_IGNORED))
register(
    ArtifactFolder,
    Scalar(read=ArtifactFolder.read, write=str, schema=shapes.FOLDER.optional_schema),
)
register(LocalPath, Scalar(read=LocalPath.read, write=str, schema=shapes.LINE.optional_schema))
register(OptionalCel, Scalar(read=OptionalCel.read, write=str, schema=_CEL))
register(Cel, Scalar(read=Cel.read, write=str, schema=_CEL))
register(Repository, Scalar(read=Repository.read, write=str, schema=shapes.REPOSITORY.schema))
