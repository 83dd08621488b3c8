"""What a registry's answers and silences mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2 as httpx
import pytest

from ocistate.errors import LimitExceeded, NotFound, StoreError, Unauthorized, Unavailable
from ocistate.oci.registry.answers import (
    LONGEST_PAUSE,
    describe,
    error_of,
    is_lasting,
    pause_of,
    read_body,
)
from tests.support.loop import in_loop

HTTPS = httpx.Request("GET", "https://registry.example.com/v2/")


def response(status: int, content: bytes = b"", **headers: str) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield content

    return httpx.Response(status, content=body(), headers=headers)


def refusal(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(None, 2.0), ("7", 7.0), ("99999", LONGEST_PAUSE), ("soon", 2.0), ("-5", 2.0)],
)
def test_a_registry_may_ask_for_a_pause_within_bounds(
    retry_after: str | None, pause: float
) -> None:
    assert pause_of(retry_after, 2.0) == pause


def test_a_pause_may_be_a_date() -> None:
    now = datetime.now(UTC)
    assert 0 < pause_of(format_datetime(now + timedelta(seconds=20)), 2.0) <= 20
    assert pause_of(format_datetime(now - timedelta(days=1)), 2.0) == 0
    assert pause_of(format_datetime(now + timedelta(days=1)), 2.0) == LONGEST_PAUSE


@in_loop
async def test_a_body_is_refused_by_its_declared_length_before_it_is_read() -> None:
    with pytest.raises(LimitExceeded, match="an answer of 999 bytes, more than 10"):
        await read_body(response(200, b"", **{"Content-Length": "999"}), 10, "reading")


@in_loop
async def test_a_body_without_a_length_is_refused_once_it_is_too_long() -> None:
    with pytest.raises(LimitExceeded, match="more than 10 bytes"):
        await read_body(response(200, b"x" * 11), 10, "reading")
    assert await read_body(response(200, b"x" * 10), 10, "reading") == b"x" * 10


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (429, Unavailable),
        (503, Unavailable),
        (599, Unavailable),
        (405, StoreError),
        (400, StoreError),
    ],
)
@in_loop
async def test_each_status_is_an_error_of_its_own_class(
    status: int, kind: type[StoreError]
) -> None:
    error = await error_of(response(status), "registry", "reading", has_credentials=False)
    assert type(error) is kind


@in_loop
async def test_the_message_of_a_registry_is_quoted_and_made_safe_for_a_terminal() -> None:
    body = refusal("MANIFEST_INVALID", "bad \x1b[31mlayer")
    error = await error_of(response(400, body), "registry", "pushing", has_credentials=False)
    assert "MANIFEST_INVALID bad" in error.message
    assert "\x1b" not in error.message


@in_loop
async def test_without_quotes_only_a_code_of_the_spec_is_shown() -> None:
    for code, shown in (("MANIFEST_INVALID", True), ("root:x:0:0", False)):
        body = refusal(code, "internal page")
        error = await error_of(
            response(400, body), "registry", "pushing", has_credentials=False, quote=False
        )
        assert (code in error.message) is shown
        assert "internal page" not in error.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"errors": []}', b'{"errors": [1]}'])
@in_loop
async def test_an_error_of_another_shape_says_the_status(body: bytes) -> None:
    error = await error_of(response(400, body), "registry", "pushing", has_credentials=False)
    assert error.message == "registry answered 400 to pushing"


def test_a_certificate_that_is_not_trusted_is_lasting_and_names_the_option() -> None:
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=HTTPS)
    assert is_lasting(error)
    assert "--ca-file" in describe(error)


def test_a_wanted_client_certificate_is_found_in_the_causes() -> None:
    error = httpx.ReadError("", request=HTTPS)
    error.__cause__ = OSError("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")
    assert is_lasting(error)
    assert "--client-cert" in describe(error)


def test_a_connection_that_ends_without_an_answer_may_want_a_certificate() -> None:
    assert "--client-cert" in describe(httpx.ReadError("", request=HTTPS))
    plain = httpx.Request("GET", "http://127.0.0.1/")
    assert describe(httpx.ReadError("", request=plain)) == "ReadError"


def test_a_refused_connection_may_be_tried_again() -> None:
    assert not is_lasting(httpx.ConnectError("Connection refused", request=HTTPS))
    assert is_lasting(httpx.UnsupportedProtocol("no such scheme"))
