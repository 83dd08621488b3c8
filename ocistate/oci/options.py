"""How stores are to be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ocistate.reach import Reach
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci.registry.clients import Clients


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """What we show a registry that asks who connects (mutual TLS); both in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to reach a registry.

    ``insecure`` asks for plain HTTP (loopback needs no asking); ``ca_file`` or ``ca_data`` (PEM)
    replace the system's CAs; without them and ``client_certificate`` the registry's folder in
    ``certs.d`` is looked for; ``docker_config`` is a Kubernetes pull secret's content, used instead
    of the user's own credential files; ``reach`` bounds where a reference that someone else wrote
    may lead, None does not; ``on_warning`` gets the warnings of registries,
    ``on_answer`` the method and status of every answer (0: there was none).
    """

    insecure: bool = False
    ca_file: Path | None = None
    ca_data: bytes | None = field(default=None, repr=False)
    client_certificate: ClientCertificate | None = None
    docker_config: bytes | None = field(default=None, repr=False)
    reach: Reach | None = None
    connect: float = 10.0
    """Seconds for a connection to be made."""
    silence: float = 30.0
    """Seconds without a byte after which a connection is given up."""
    whole: float = 300.0
    """Seconds for one small request, retries included, and for 16 MiB of a blob."""
    attempts: int = 5
    """How often a request is sent while the registry is busy or out of reach."""
    transfers: int = 8
    """How many blobs are on their way at a time."""
    on_warning: Callable[[str], None] | None = None
    on_answer: Callable[[str, int], None] | None = None
    clients: Clients | None = None
    """Where the HTTP clients come from that others use too; None: each store has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Another repository that holds the same artifacts."""

    reference: Reference
    insecure: bool = False
