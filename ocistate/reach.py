"""Where requests may go whose address someone else chose.

    reach = Reach(allow=parse_allowed(["10.2.0.0/16", "*.example.com"]))
    confine(client, reach)      # an httpx2 client that connects nowhere else

A Stack's author names registries, mirrors and API servers, and these name token servers and
redirects; all of it is asked by the agent, from the agent's place in the network. So addresses are
looked at when a connection is made, after the name was resolved and with that very address: a name
that resolves to something else the next time gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from ocistate.errors import ConfigError, HostNotAllowed

if TYPE_CHECKING:
    import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.100.100.200/32",  # Alibaba Cloud
            "192.0.0.192/32",  # Oracle Cloud
            "168.63.129.16/32",  # Azure's host agent
            "fd00:ec2::/32",  # AWS
            "fd20:ce::/32",  # Google Cloud
        ),
    )
)
"""Clouds' metadata services, credentials included, that are not at link-local addresses."""

_NAMES: Final = (
    "localhost",
    "*.localhost",
    "metadata.google.internal",
    "metadata",
    "instance-data",
)
"""Names that mean this machine or its metadata service, for where a proxy resolves them."""

_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What an operator allows in spite of all else: a host's name with stars, or a network."""

    name: str = ""
    network: Network | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Addresses of this machine, of its link and of clouds' metadata services are never reached;
    with ``deny_private`` none of a private network either. ``allow`` makes exceptions."""

    allow: tuple[Allowed, ...] = ()
    deny_private: bool = False

    def public(self) -> Reach:
        """The same, with private networks out of reach."""
        return replace(self, deny_private=True)

    def check_host(self, host: str) -> None:
        """That a URL's host may be asked, as far as its spelling shows. Raises HostNotAllowed."""
        name = host.strip("[]").rstrip(".").lower()
        if self._names(name):
            return
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if any(fnmatchcase(name, each) for each in _NAMES):
                raise _refusal(host, "it means this machine or its metadata service") from None
            return
        if fault := self.fault(address):
            raise _refusal(host, fault)

    def choose(self, host: str, addresses: Iterable[str]) -> list[str]:
        """Those of a host's addresses that may be connected to. Raises HostNotAllowed."""
        found = list(dict.fromkeys(addresses))
        if self._names(host.strip("[]").rstrip(".").lower()):
            return found
        faults = {each: self.fault(ipaddress.ip_address(each)) for each in found}
        good = [each for each in found if not faults[each]]
        if not good:
            raise _refusal(host, next(iter(faults.values()), "it has no address"))
        return good

    def fault(self, address: Address) -> str:
        """Why an address is out of reach, as a sentence; empty when it is not."""
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        if self._holds(address):
            return ""
        faults = (
            _fault(each, deny_private=self.deny_private)
            for each in (address, *_inside(address))
            if not self._holds(each)
        )
        return next(filter(None, faults), "")

    def _names(self, host: str) -> bool:
        return any(each.name and fnmatchcase(host, each.name) for each in self.allow)

    def _holds(self, address: Address) -> bool:
        return any(
            each.network is not None
            and each.network.version == address.version
            and address in each.network
            for each in self.allow
        )


def parse_allowed(texts: Iterable[str]) -> tuple[Allowed, ...]:
    """Hosts (with stars), addresses and networks, as ``--allow-hosts`` takes them.

    Raises ConfigError.
    """
    found = []
    for text in texts:
        try:
            found.append(Allowed(network=ipaddress.ip_network(text.strip("[]"), strict=False)))
        except ValueError:
            name = text.lower().rstrip(".")
            if not name or not all(c.isascii() and (c.isalnum() or c in ".-*_") for c in name):
                raise ConfigError(
                    f"{text!r} is neither a host, an address nor a network",
                    hint="write registry.example.com, *.example.com, 10.1.2.3 or 10.0.0.0/8",
                ) from None
            found.append(Allowed(name=name))
    return tuple(found)


def confine(client: httpx2.AsyncClient, reach: Reach) -> httpx2.AsyncClient:
    """Have a client connect to nothing out of reach; the client itself.

    A proxy of the environment is the operator's: it is connected to as it is, and then only the
    spelling of a host is looked at, for the proxy resolves it. A proxy that the client was given is
    no better than any other host.
    """

    async def check(request: httpx2.Request) -> None:
        reach.check_host(request.url.host)

    client.event_hooks = {**client.event_hooks, "request": [check, *client.event_hooks["request"]]}
    wrap_backends(client, lambda inner: _Confined(inner, reach), proxies=not client.trust_env)
    return client


def wrap_backends(
    client: httpx2.AsyncClient, wrap: Callable[[Any], Any], *, proxies: bool = True
) -> None:
    """Put a network backend of our own around those of a client, and of its ``proxies``.

    httpcore takes one when a pool is made, httpx2 has no option to pass it on: this is the one
    place that reaches into it, and tests hold that it works.
    """
    mounts = client._mounts.values() if proxies else ()
    for transport in (client._transport, *mounts):
        pool: Any = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = wrap(pool._network_backend)


class _Confined:
    """A network backend of httpcore that looks at each address before it connects to it."""

    def __init__(self, inner: Any, reach: Reach) -> None:
        self._inner = inner
        self._reach = reach

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **more: Any
    ) -> Any:
        import httpcore2

        addresses = self._reach.choose(host, await _resolve(host, port, timeout))
        for place, address in enumerate(addresses):
            try:
                return await self._inner.connect_tcp(address, port, timeout=timeout, **more)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if place == len(addresses) - 1:
                    raise
        raise _refusal(host, "it has no address")

    async def connect_unix_socket(self, path: str, **more: Any) -> Any:
        raise HostNotAllowed(f"the socket {path} is not reached for anyone")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _resolve(host: str, port: int, timeout: float | None) -> Sequence[str]:
    import httpcore2

    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise httpcore2.ConnectTimeout(f"{host} was not resolved in time") from None
    except OSError as error:
        raise httpcore2.ConnectError(f"{host}: {error.strerror or error}") from None
    return [str(each[4][0]).partition("%")[0] for each in found]


def _inside(address: Address) -> list[Address]:
    """The IPv4 addresses that are inside an IPv6 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address] = list(address.teredo or ())
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NAT64) or (
        address in _COMPATIBLE and int(address) > 1
    ):
        found.append(low)
    if (int(address) >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE):  # ISATAP
        found.append(low)
    return found


def _fault(address: Address, *, deny_private: bool) -> str:
    if address.is_loopback or address.is_unspecified:
        return "it is this machine itself"
    if any(address.version == each.version and address in each for each in _METADATA):
        return "it is a cloud's metadata service"
    if address.is_link_local:
        return "it is of this machine's link, where clouds have their metadata services"
    if address.version == 4 and address in _THIS_NETWORK:
        return "it is this machine itself"
    if address.is_multicast or (address.version == 4 and address.is_reserved):
        return "it is no single host's"
    site = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    if deny_private and (site or not address.is_global):
        return "it is of a private network"
    return ""


def _refusal(host: str, fault: str) -> HostNotAllowed:
    return HostNotAllowed(
        f"{host} may not be reached from here: {fault}",
        hint="who runs the agent may allow it with --allow-hosts",
    )
