"""References: what a user types to name an artifact.

    oci://registry.example.com/team/shop:v1
    registry.example.com/team/shop@sha256:…      (oci:// may be left out)
    layout:./build/store:v1                      (an OCI image layout folder)
    layout:/srv/store@sha256:…
    archive:shop.tar:v1                          (such a layout as one tar file)

A reference never carries credentials. A tag beside a digest is allowed, the digest rules.

There is one spelling of each place, whatever was typed, and it is chosen here: policies, mirrors,
credentials and what is remembered of a repository all go by it.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from ocistate.canonical import DIGEST_PATTERN
from ocistate.errors import InvalidReference

Scheme = Literal["oci", "layout", "archive"]

_HOST: Final = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,9})?"
)
DOCKER_HUB: Final = "docker.io"
_HUB_NAMES: Final = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
# Distribution spec 1.1, "Pulling manifests": <name> and <reference>.
NAME_PATTERN: Final = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
TAG_PATTERN: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_MAX_NAME: Final = 255
_CHANNEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A place in a store: a repository, and in it a tag or a digest or neither.

    ``registry`` is ``host[:port]`` for ``oci``, else empty; ``repository`` is the name on the
    registry, or the path of the layout's folder or of the archive.
    """

    scheme: Scheme
    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The repository without scheme, tag and digest, as trust policies match it."""
        return f"{self.registry}/{self.repository}" if self.scheme == "oci" else self.repository

    @property
    def base(self) -> Reference:
        """The same repository, naming no tag and no digest."""
        return replace(self, tag=None, digest=None)

    @property
    def target(self) -> str | None:
        """What to resolve: the digest if there is one, else the tag, else None."""
        return self.digest or self.tag

    def with_tag(self, tag: str) -> Reference:
        """The same repository at a tag. Raises InvalidReference."""
        return replace(self, tag=check_tag(tag), digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The same repository at a digest. Raises InvalidReference."""
        return replace(self, tag=None, digest=check_digest(digest))

    def __str__(self) -> str:
        prefix = "" if self.scheme == "oci" else f"{self.scheme}:"
        if self.scheme != "oci" and not self.target and ":" in posixpath.basename(self.repository):
            return f"{prefix}{self.name}/"  # what follows the colon would be read as a tag
        tag = f":{self.tag}" if self.tag and not self.digest else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{prefix}{self.name}{tag}{digest}"


def canonical_host(host: str) -> str:
    """The one spelling of ``host[:port]``: small letters, no default port, no leading zeros.

    Not only of a valid one: of a pattern too, as policies have them.
    """
    name, port = host.lower(), ""
    if match := re.fullmatch(r"(.*):([0-9]+)", name):
        name, port = match[1], ":" + (match[2].lstrip("0") or "0")
    name = name.removesuffix(".")
    if port == _HTTPS_PORT and _looks_like_host(name):
        port = ""  # without it, a name of one word would be no host any more
    if name.startswith("[") and name.endswith("]"):
        name = _canonical_address(name)
    elif name in _HUB_NAMES:
        name = DOCKER_HUB
    return name + port


def canonical_repository(registry: str, repository: str) -> str:
    """The one spelling of a repository's name on a registry, as `canonical_host` has that."""
    if registry == DOCKER_HUB and "/" not in repository:
        return f"library/{repository}"
    return repository


def canonical_path(path: str) -> str:
    """The one spelling of a folder's or file's path; relative ones stay so."""
    path = posixpath.normpath(path)
    return f"/{path.lstrip('/')}" if path.startswith("/") else path


_HTTPS_PORT: Final = ":443"


def _canonical_address(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host.strip("[]"))
    except ValueError:
        return host
    return str(address.ipv4_mapped) if address.ipv4_mapped else f"[{address.compressed}]"


def check_tag(tag: str) -> str:
    """The tag itself when it is a valid one. Raises InvalidReference."""
    if not TAG_PATTERN.fullmatch(tag):
        raise InvalidReference(
            f"{tag!r} is not a valid tag",
            hint="letters, digits, '_', '.' and '-', at most 128, not starting with '.' or '-'",
        )
    return tag


def check_digest(digest: str) -> str:
    """The digest itself when it is ``sha256:`` and 64 hex digits. Raises InvalidReference."""
    if not DIGEST_PATTERN.fullmatch(digest):
        raise InvalidReference(
            f"{digest!r} is not a digest", hint="write sha256: and 64 lower-case hex digits"
        )
    return digest


def parse_reference(text: str) -> Reference:
    """Parse a reference. Raises InvalidReference, naming the part that is wrong."""
    if not text or text != text.strip() or any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
        raise InvalidReference(
            f"{text!r} is not a reference", hint="write REGISTRY/REPOSITORY:TAG or layout:PATH:TAG"
        )
    if text.startswith("layout:"):
        return _parse_path("layout", text)
    if text.startswith("archive:"):
        return _parse_path("archive", text)
    if "://" in text and not text.startswith("oci://"):
        scheme = text.split("://", 1)[0]
        raise InvalidReference(
            f"{scheme}:// is not a scheme ocistate knows, in {text!r}",
            hint="use oci://, layout: or archive:",
        )
    return _parse_oci(text)


def _split(rest: str, text: str) -> tuple[str, str | None, str | None]:
    digest: str | None = None
    if "@" in rest:
        rest, _, raw = rest.partition("@")
        if not DIGEST_PATTERN.fullmatch(raw):
            raise InvalidReference(
                f"{raw!r} in {text!r} is not a digest",
                hint="write @sha256: and 64 lower-case hex digits; credentials do not belong here",
            )
        digest = raw
    tag: str | None = None
    head, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail:
        rest, tag = head, check_tag(tail)
    return rest, tag, digest


def _parse_oci(text: str) -> Reference:
    rest = text.removeprefix("oci://")
    host, slash, path = rest.partition("/")
    if not slash or not path:
        raise InvalidReference(
            f"{text!r} names no repository", hint="write REGISTRY/REPOSITORY, with the host first"
        )
    if not _HOST.fullmatch(host) or not _looks_like_host(host) or not _is_one_address(host):
        raise InvalidReference(
            f"{host!r} in {text!r} is not a registry host",
            hint="write the registry's host name first, such as registry.example.com/team/app",
        )
    port = host.rsplit(":", 1)[1] if re.search(r":[0-9]+$", host) else "443"
    if not 0 < int(port) < 65536:
        raise InvalidReference(f"{port} in {text!r} is not a port")
    name, tag, digest = _split(path, text)
    if not NAME_PATTERN.fullmatch(name) or len(name) > _MAX_NAME:
        raise InvalidReference(
            f"{name!r} in {text!r} is not a repository name",
            hint="lower-case letters, digits and single '.', '_', '-' between them, with '/'",
        )
    registry = canonical_host(host)
    name = canonical_repository(registry, name)
    return Reference(scheme="oci", registry=registry, repository=name, tag=tag, digest=digest)


def _looks_like_host(host: str) -> bool:
    """A dot, a port or localhost: so that ``library/nginx`` is not taken for a host."""
    return "." in host or ":" in host or host.lower() == "localhost"


def _is_one_address(host: str) -> bool:
    """Whether a host that is an address is one in every resolver's eyes: 127.1, 0177.0.0.1 and
    2130706433 are the same to some, and names to others."""
    name = re.sub(r":[0-9]+$", "", host).removesuffix(".")
    last = name.rpartition(".")[2].lower()
    if not name.startswith("[") and not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _parse_path(scheme: Literal["layout", "archive"], text: str) -> Reference:
    path, tag, digest = _split(text.removeprefix(f"{scheme}:"), text)
    if not path:
        raise InvalidReference(f"{text!r} names no path", hint=f"write {scheme}:PATH:TAG")
    path = canonical_path(path)
    return Reference(scheme=scheme, registry="", repository=path, tag=tag, digest=digest)


def check_channel(name: str) -> str:
    """The name itself when it can be a channel's. Raises InvalidReference."""
    if not _CHANNEL.fullmatch(name) or re.search(r"-\d+$", name):
        raise InvalidReference(
            f"{name!r} is not a channel's name",
            hint="lower-case letters, digits and '-', at most 63, with no '-NUMBER' at the end",
        )
    return name
