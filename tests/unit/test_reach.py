"""Where requests may go on somebody else's word: addresses in every spelling, at connect time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.errors import ConfigError, HostNotAllowed
from ocistate.kube.kubeconfig import access_from_text
from ocistate.oci import StoreOptions, open_store
from ocistate.reach import Reach, confine, parse_allowed
from ocistate.reference import parse_reference

NEVER = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",  # noqa: S104 - that it is refused is the point
    "0.1.2.3",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:db8::5efe:127.0.0.1",
]
PRIVATE = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "fec0::1",
           "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"]  # fmt: skip
PUBLIC = ["1.1.1.1", "140.82.121.3", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", NEVER)
def test_what_nobody_reaches(address: str) -> None:
    with pytest.raises(HostNotAllowed):
        Reach().choose("host.example.com", [address])
    with pytest.raises(HostNotAllowed):
        Reach().check_host(address)


def test_private_networks_are_reached_unless_denied() -> None:
    assert Reach().choose("h.io", PRIVATE + PUBLIC) == PRIVATE + PUBLIC
    assert Reach(deny_private=True).choose("h.io", PRIVATE + PUBLIC) == PUBLIC
    with pytest.raises(HostNotAllowed, match="private"):
        Reach().public().choose("h.io", PRIVATE)


def test_an_operator_makes_exceptions_by_network_and_by_name() -> None:
    reach = Reach(allow=parse_allowed(["127.0.0.1", "10.1.0.0/16", "*.corp.example.com"]))
    assert reach.choose("h.io", ["127.0.0.1"]) == ["127.0.0.1"]
    assert reach.choose("h.io", ["::ffff:127.0.0.1"])
    assert reach.public().choose("h.io", ["10.1.2.3"]) == ["10.1.2.3"]
    assert reach.public().choose("git.corp.example.com", ["10.9.9.9"]) == ["10.9.9.9"]
    for host, address in (("h.io", "127.0.0.2"), ("evilcorp.example.com", "127.0.0.9")):
        with pytest.raises(HostNotAllowed):
            reach.choose(host, [address])


@pytest.mark.parametrize("text", ["", "a b", "https://h.io", "h.io/x", "10.0.0.0/99", "h.io:5000"])
def test_what_is_neither_a_host_nor_a_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_allowed([text])


@given(st.ip_addresses())
def test_an_address_is_no_freer_in_its_mapped_spelling(address: Any) -> None:
    for reach in (Reach(), Reach(deny_private=True)):
        if address.version == 4:
            mapped = type(address)  # the same address, as IPv6 sockets show it
            assert mapped
            import ipaddress

            other = ipaddress.IPv6Address(f"::ffff:{address}")
            assert bool(reach.fault(address)) == bool(reach.fault(other))


@contextmanager
def _server() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _get(url: str, reach: Reach, answers: list[str] | None = None, **options: Any) -> int:
    """A request by a confined client; a name is resolved to each of ``answers`` in turn."""

    async def run() -> int:
        loop = asyncio.get_running_loop()
        if answers is not None:
            turns = iter(answers)

            async def resolve(host: str, port: int, **more: Any) -> list[Any]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(turns), port))]

            loop.getaddrinfo = resolve  # type: ignore[method-assign,assignment]
        async with confine(httpx.AsyncClient(**options), reach) as client:
            return (await client.get(url)).status_code

    return asyncio.run(run())


def test_a_confined_client_connects_only_to_what_is_allowed() -> None:
    with _server() as port:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0"):
            with pytest.raises(HostNotAllowed):
                _get(f"http://{host}:{port}/", Reach(), trust_env=False)
        allowed = Reach(allow=parse_allowed(["127.0.0.1"]))
        assert _get(f"http://127.0.0.1:{port}/", allowed, trust_env=False) == 200


def test_a_name_is_resolved_once_and_that_address_is_connected_to() -> None:
    with _server() as port:
        url = f"http://rebound.example.com:{port}/"
        with pytest.raises(HostNotAllowed):
            _get(url, Reach(), ["127.0.0.1"], trust_env=False)
        # The second answer would be the harmless one: it is not asked for.
        with pytest.raises(HostNotAllowed):
            _get(url, Reach(), ["169.254.169.254", "1.1.1.1"], trust_env=False)
        allowed = Reach(allow=parse_allowed(["127.0.0.0/8"]))
        assert _get(url, allowed, ["127.0.0.1", "169.254.169.254"], trust_env=False) == 200


def test_a_proxy_that_a_kubeconfig_names_is_no_way_around() -> None:
    with _server() as port, pytest.raises(HostNotAllowed):
        _get("http://1.1.1.1/", Reach(), proxy=f"http://127.0.0.1:{port}", trust_env=False)


def test_a_proxy_of_the_environment_is_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert _get("http://h.example.com/", Reach()) == 200
        with pytest.raises(HostNotAllowed):
            _get("http://169.254.169.254/latest/meta-data/", Reach())


@pytest.mark.parametrize("scheme", ["layout:/tmp/x", "archive:/tmp/x.tar", "layout:///tmp/x"])
def test_files_are_out_of_every_reach(scheme: str) -> None:
    with pytest.raises(ConfigError, match="folder or file"):
        open_store(parse_reference(scheme), StoreOptions(reach=Reach()))


KUBECONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "%s"}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.mark.parametrize(
    "server",
    [
        "https://h.io/a?b=c",
        "https://h.io/a#b",
        "https://u:p@h.io",
        "https://h.io/../x",
        "https://h.io/%2e%2e/x",
        "ftp://h.io",
        "https://h.io//x",
        "https://h io",
    ],
)
def test_a_tenants_api_server_is_a_plain_address(server: str) -> None:
    with pytest.raises(ConfigError, match="no plain address"):
        access_from_text(KUBECONFIG % server, reach=Reach())


@pytest.mark.parametrize("server", ["https://h.io:6443", "https://r.io/k8s/clusters/c-m-x1/"])
def test_an_api_server_behind_a_path_is_read(server: str) -> None:
    access = access_from_text(KUBECONFIG % server, reach=Reach())
    assert access.server == server
    assert access.reach == Reach()
