"""Where a registry may lead a client."""

from __future__ import annotations

import pytest

from ocistate.errors import ProtocolError
from ocistate.oci.registry.links import check_link, web_address

HERE = "https://registry.example.com/v2/shop/tags/list"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/next?n=2", "https://registry.example.com/v2/next?n=2"),
        ("next", "https://registry.example.com/v2/shop/tags/next"),
        ("https://storage.example.com/blob", "https://storage.example.com/blob"),
        ("//cdn.example.com/blob", "https://cdn.example.com/blob"),
    ],
)
def test_a_link_is_followed_as_a_browser_would(location: str, target: str) -> None:
    assert check_link(HERE, location, "registry") == target


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.com/blob",
        "file:///etc/passwd",
        "https://user:pass@example.com/",
        "https://example.com:0/",
        "https://[::zz]/",
        "https://exa mple.com/",
        "https://example.com\\@evil.example/",
        "https://[",
    ],
)
def test_a_link_that_clients_read_differently_is_refused(location: str) -> None:
    with pytest.raises(ProtocolError, match="not a URL to follow"):
        check_link(HERE, location, "registry")


def test_a_link_never_leads_from_tls_to_plain_http() -> None:
    with pytest.raises(ProtocolError, match="from https to plain http"):
        check_link(HERE, "http://example.com/", "registry")
    assert check_link("http://127.0.0.1/", "http://example.com/", "registry")


def test_the_parts_of_an_address() -> None:
    parts = web_address("https://[2001:db8::1]:5000/v2/")
    assert parts is not None
    assert (parts.hostname, parts.port) == ("2001:db8::1", 5000)
    assert web_address("registry.example.com") is None
