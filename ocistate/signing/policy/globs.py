"""Globs over repositories, as TrustPolicies name them: whole names, and stars that stop at slashes.

Two spellings of one repository must not be two repositories to the policies. References have one
spelling only (`ocistate.reference`), and a glob is read the same way.
"""

from __future__ import annotations

import re
from typing import Final

from ocistate.caches import bounded_cache
from ocistate.reference import canonical_host, canonical_path, canonical_repository

# Letters of the repository grammar, ports, and paths of layouts; nothing that looks like them.
_GLOB: Final = re.compile(r"[A-Za-z0-9._:\[\]/*~+ @-]+")


def glob_fault(glob: str) -> str:
    """What is wrong with a glob; empty when it is one."""
    if not _GLOB.fullmatch(glob):
        return f"{glob!r} is not a repository glob"
    if any(part in ("", ".", "..") for part in glob.removeprefix("/").split("/")):
        return f"{glob!r} has an empty part, '.' or '..' in it, and can never match"
    return ""


def matches(glob: str, repository: str) -> bool:
    """Whether a glob matches the whole of a repository's name (``Reference.name``)."""
    if re.match(r"[^/]*[^/.]\./", repository):
        return False  # no reference has a host that ends so
    return _compiled(glob).fullmatch(canonical_name(repository)) is not None


def rank(glob: str) -> tuple[int, int]:
    """How specific a glob is: by its literal characters, then by how few stars it has."""
    glob = canonical_name(glob)
    stars = glob.count("*")
    return (len(glob) - stars, -stars)


def canonical_name(repository: str) -> str:
    """One spelling of a repository's name, or of a glob over such names."""
    # No name on a registry has a part "." or "..": what has is a folder.
    host, slash, path = canonical_path(repository).partition("/")
    host = canonical_host(host).removesuffix(":443")
    # Two stars match names of any depth, and one of them is not a name in the library.
    return host + slash + (path if "**" in path else canonical_repository(host, path))


@bounded_cache("globs", most=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    """``**`` is any number of characters, ``*`` any but a slash; all others are themselves."""
    pieces = re.split(r"(\*\*|\*)", canonical_name(glob))
    pattern = "".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces)
    return re.compile(pattern, re.DOTALL)
