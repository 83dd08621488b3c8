"""Texts that public objects hold, each with what is allowed in it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from msgspec import Meta

from ocistate.api.scalars import Scalar, register
from ocistate.errors import InvalidReference
from ocistate.reference import Reference, parse_reference
from ocistate.semver import parse_range

_DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

ObjectName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        extra={"allowed": "lower-case letters, digits, '-' and '.'"},
    ),
]
"""The name of a Kubernetes object: a DNS subdomain (RFC 1123)."""

NamespaceName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=63,
        pattern=f"^{_DNS_LABEL}$",
        extra={"allowed": "lower-case letters, digits and '-', at most 63"},
    ),
]
"""The name of a Namespace: a DNS label (RFC 1123)."""

SecretKey = Annotated[
    str,
    Meta(
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]*$",
        extra={"allowed": "letters, digits, '-', '_' and '.'"},
    ),
]
"""A key of a Secret's or ConfigMap's data."""

Tag = Annotated[
    str,
    Meta(
        max_length=128,
        pattern=r"^([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?$",
        extra={"allowed": "letters, digits, '_', '.' and '-', not starting with '.' or '-'"},
    ),
]
"""A tag (OCI distribution specification 1.1)."""

Digest = Annotated[
    str,
    Meta(
        max_length=71,
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        extra={"allowed": "sha256: and 64 lower-case hex digits"},
    ),
]
"""A digest, or nothing."""


class SemverRange(str):
    """A range of versions, such as ``^1.2`` or ``>=1.0 <2``; see `ocistate.semver`."""

    __slots__ = ()

    @classmethod
    def read(cls, value: Any) -> Self:
        """Raises UsageError, ValueError."""
        if not isinstance(value, str):
            raise ValueError("must be a text")
        parse_range(value)
        return cls(value)


def read_repository(value: Any) -> Reference:
    """A repository: a reference without tag and digest. Raises InvalidReference, ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be a text")
    repository = parse_reference(value)
    if repository.tag or repository.digest:
        raise InvalidReference("names a tag or digest", hint="use the fields tag, digest")
    return repository


register(
    SemverRange,
    Scalar(read=SemverRange.read, write=str, schema={"type": "string", "maxLength": 256}),
)
register(
    Reference,
    Scalar(read=read_repository, write=str, schema={"type": "string", "maxLength": 512}),
)
