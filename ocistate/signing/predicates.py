"""What an attestation says: the types cosign has short names for, and their forms."""

from __future__ import annotations

import re
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from ocistate.canonical import parse_json
from ocistate.errors import InputError, UsageError
from ocistate.signing.envelope import SIGN_PREDICATE
from ocistate.times import format_time

SHORTHANDS: Final = MappingProxyType(
    {
        "custom": "https://cosign.sigstore.dev/attestation/v1",
        "cyclonedx": "https://cyclonedx.org/bom",
        "link": "https://in-toto.io/Link/v1",
        "openvex": "https://openvex.dev/ns",
        "slsaprovenance": "https://slsa.dev/provenance/v0.2",
        "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
        "slsaprovenance1": "https://slsa.dev/provenance/v1",
        "spdx": "https://spdx.dev/Document",
        "spdxjson": "https://spdx.dev/Document",
        "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    }
)
"""cosign's short names, and the predicate types they mean."""

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")


def predicate_type(text: str) -> str:
    """The predicate type that a short name or a URI names. Raises UsageError."""
    if text in SHORTHANDS:
        return SHORTHANDS[text]
    if text == SIGN_PREDICATE:
        raise UsageError(
            f"{text} is a signature and no attestation", hint="use 'ocistate sign' and 'verify'"
        )
    if not _URI.fullmatch(text) or len(text) > 1024:
        raise UsageError(
            f"{text!r} is no predicate type",
            hint=f"a URI, or one of {', '.join(SHORTHANDS)}",
        )
    return text


def build_predicate(kind: str, content: bytes, *, now: datetime, origin: str) -> Any:
    """The predicate that a file's content makes, in the form cosign gives this type.

    ``custom`` holds the file as text, all others are JSON objects: a bare text, as cosign makes of
    SPDX in its tag form, no verifier of bundles takes, cosign's neither. Raises InputError.
    """
    if kind == "custom":
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise InputError(f"{origin} is not UTF-8 text") from None
        return {"Data": text, "Timestamp": format_time(now)}
    try:
        value = parse_json(content)
    except ValueError as error:
        raise InputError(
            f"{origin} is not JSON, as a predicate of the type {kind} must be: {error}",
            hint="convert it (an SPDX file too), or use --type custom, which takes any text",
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{origin} is not a JSON object, as a predicate must be")
    return value
