"""What a registry answers, read within limits, and what its refusals and silences mean."""

from __future__ import annotations

import contextlib
import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2 as httpx

from ocistate.canonical import parse_json
from ocistate.errors import LimitExceeded, NotFound, StoreError, Unavailable
from ocistate.oci.registry.challenges import refused
from ocistate.text import plain, whole_number

MAX_ERROR_BODY: Final = 64 * 1024
TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses after which it is worth trying again."""
LONGEST_PAUSE: Final = 30.0
"""Seconds before trying again, whatever the registry asks for."""

_CERTIFICATE_ALERTS: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE")
"""The TLS alerts of a server that wants a client certificate that it accepts."""
_MAX_CAUSES: Final = 10

_CODES: Final = (
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID"),
    *("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"),
    *("NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"),
)
"""Distribution spec 1.1, "Error Codes"."""


async def read_body(response: httpx.Response, limit: int, doing: str) -> bytes:
    """A body of at most ``limit`` bytes. Raises LimitExceeded before more is kept."""
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and whole_number(declared, most=limit) is None:
        raise LimitExceeded(f"{doing}: an answer of {declared[:20]} bytes, more than {limit}")
    content = bytearray()  # not a list of pieces: they may be of one byte each
    async for piece in response.aiter_raw():
        if len(content) + len(piece) > limit:
            raise LimitExceeded(f"{doing}: an answer of more than {limit} bytes")
        content += piece
    return bytes(content)


async def error_of(
    response: httpx.Response, host: str, doing: str, *, has_credentials: bool, quote: bool = True
) -> StoreError:
    """The error that an answer with an unexpected status means.

    With ``quote`` the message of the registry is in it; without, no more of the body than a code
    of the distribution spec: the answer may come from something that the reader must not read.
    """
    status = response.status_code
    quoted = ""
    with contextlib.suppress(httpx.HTTPError, StoreError):
        code, message = _first_error(await read_body(response, MAX_ERROR_BODY, doing))
        if quote and (code or message):
            quoted = plain(f": {code} {message}", most=300)
        elif code in _CODES:
            quoted = f": {code}"
    if status in (401, 403):
        return refused(host, has_credentials, doing)
    if status == 404:
        return NotFound(f"{host} does not have it: {doing}")
    if status in TRANSIENT or status >= 500:
        return unavailable(host, doing, f"answered {status}{quoted}")
    hint = "the registry does not allow this: ask who runs it" if status == 405 else ""
    return StoreError(f"{host} answered {status} to {doing}{quoted}", hint=hint)


def _first_error(body: bytes) -> tuple[str, str]:
    """Code and message of the first error in a body; empty where it has another shape."""
    try:
        first = parse_json(body)["errors"][0]
        return str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""


def unavailable(host: str, doing: str, why: str) -> Unavailable:
    """The error when a registry can't be used."""
    return Unavailable(
        f"{host} cannot be used for {doing}: {why}",
        hint="check the host, the network and the registry",
    )


def is_lasting(error: BaseException) -> bool:
    """Whether a retry cannot help."""
    unsupported = isinstance(error, httpx.UnsupportedProtocol)
    return unsupported or _is_certificate(error) or _wants_certificate(error)


def describe(error: BaseException) -> str:
    """Why there was no answer, and what helps."""
    text = str(error) or type(error).__name__
    if _is_certificate(error):
        return "its certificate is not trusted; name its CA with --ca-file"
    if _wants_certificate(error):
        return "it asks for a client certificate; name one with --client-cert and --client-key"
    if isinstance(error, httpx.ReadError) and not str(error) and _is_https(error):
        # The TLS alert may be lost with the connection.
        return (
            "it closed the connection without an answer; if it asks for a client certificate, name "
            "one with --client-cert and --client-key"
        )
    return text[:300]


def pause_of(retry_after: str | None, pause: float) -> float:
    """RFC 9110, section 10.2.3: seconds or a date; never more than we are willing to wait."""
    if retry_after is None:
        return pause
    if retry_after.isdecimal():
        return min(float(retry_after), LONGEST_PAUSE)
    with contextlib.suppress(ValueError, TypeError):
        until = parsedate_to_datetime(retry_after).timestamp()
        return min(max(0.0, until - time.time()), LONGEST_PAUSE)
    return pause


def _is_certificate(error: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _wants_certificate(error: BaseException) -> bool:
    # The library above keeps the alert only as the cause of its own error.
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            break
        if any(alert in str(cause) for alert in _CERTIFICATE_ALERTS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _is_https(error: httpx.RequestError) -> bool:
    try:
        return error.request.url.scheme == "https"
    except RuntimeError:
        return False
