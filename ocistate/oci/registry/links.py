"""Where a registry leads: what it names as the next page, upload, mirror or token server."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from ocistate.errors import ProtocolError

_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def web_address(text: str) -> SplitResult | None:
    """The parts of an http or https URL without a login, where every client reads the same host.

    None for anything else.
    """
    try:
        parts = urlsplit(text)
        good = _HOST.fullmatch(parts.netloc) and parts.port != 0
        if parts.netloc.startswith("["):
            ip_address(parts.hostname or "")
    except ValueError:
        return None
    clean = text.isascii() and text.isprintable() and " " not in text
    return parts if good and clean and parts.scheme in ("https", "http") else None


def check_link(url: str, location: str, host: str) -> str:
    """The URL that a registry's answer to ``url`` leads to, if we may go there.

    Raises ProtocolError, naming ``host``.
    """
    try:
        target = urljoin(url, location)
    except ValueError:
        target = location
    parts = web_address(target)
    if parts is None:
        raise ProtocolError(f"{host} leads to {target[:200]!r}, which is not a URL to follow")
    if parts.scheme == "http" and urlsplit(url).scheme == "https":
        raise ProtocolError(f"{host} leads from https to plain http at {parts.netloc}")
    return target
