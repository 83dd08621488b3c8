"""JSON on the wire to and from the API server, and its metadata read into small typed records."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from ocistate.errors import ClusterError
from ocistate.kube.deep import flattened

T = TypeVar("T")


class ManagedFields(msgspec.Struct, frozen=True, gc=False):
    """An entry of ``metadata.managedFields``; ``fieldsV1`` is left undecoded."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    time: str = ""
    fieldsV1: msgspec.Raw = msgspec.Raw(b"")


class Metadata(msgspec.Struct, frozen=True):
    """The metadata that is kept or looked at; everything else is skipped while decoding."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    generation: int = 0
    deletionTimestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    ownerReferences: list[msgspec.Raw] | None = None
    finalizers: list[str] | None = None
    managedFields: list[ManagedFields] | None = None


class Partial(msgspec.Struct, frozen=True):
    """Any object, of which only the metadata is read."""

    metadata: Metadata


class ListMeta(msgspec.Struct, frozen=True):
    resourceVersion: str = ""
    token: str = msgspec.field(name="continue", default="")


class PartialList(msgspec.Struct, frozen=True):
    """A page of a list, of which only the metadata is read."""

    metadata: ListMeta
    items: list[Partial] | None = None


class RawList(msgspec.Struct, frozen=True):
    """A page of a list, with its items undecoded."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class Page(msgspec.Struct, frozen=True):
    """A page of a list, of which only its own metadata is read."""

    metadata: ListMeta


class Event(msgspec.Struct, frozen=True):
    """A watch event; the object is left undecoded."""

    type: str
    object: msgspec.Raw


PARTIAL: Final = msgspec.json.Decoder(Partial)
PARTIAL_LIST: Final = msgspec.json.Decoder(PartialList)
RAW_LIST: Final = msgspec.json.Decoder(RawList)
PAGE: Final = msgspec.json.Decoder(Page)
EVENT: Final = msgspec.json.Decoder(Event)
ANY: Final = msgspec.json.Decoder()
"""One object, whole or not at all."""
SHALLOW: Final = msgspec.json.Decoder()
"""For what is only looked at: without what is nested too deep."""

encode: Final = msgspec.json.encode


def decode(data: bytes | msgspec.Raw) -> Any:
    """Decode an answer. Raises ClusterError when it is not JSON."""
    return decode_as(ANY, data)


def decode_as(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T:
    """Decode an answer of a known form. Raises ClusterError when it is not of that form."""
    try:
        try:
            return decoder.decode(data)
        except RecursionError:
            if decoder is ANY:
                raise
            # Of many objects, or of news of one, the rest still counts.
            return decoder.decode(flattened(bytes(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # These messages name places and types, never content.
        raise ClusterError(
            f"the API server's answer cannot be read: {error}", hint="is a proxy in between?"
        ) from None
