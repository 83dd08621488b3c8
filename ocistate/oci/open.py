"""Open a store by its reference, importing only what that kind of store needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ocistate.oci.layout import LayoutStore
from ocistate.oci.store import Store
from ocistate.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to reach a registry.

    ``insecure`` asks for plain HTTP (loopback needs no asking); ``ca_file`` or ``ca_data`` (PEM)
    replace the system's CAs; ``docker_config`` is a Kubernetes pull secret's content, used instead
    of the user's own credential files; ``on_warning`` is told what registries warn of.
    """

    insecure: bool = False
    ca_file: Path | None = None
    ca_data: bytes | None = field(default=None, repr=False)
    docker_config: bytes | None = field(default=None, repr=False)
    silence: float = 30.0
    """Seconds without a byte after which a connection is given up."""
    whole: float = 300.0
    """Seconds for one small request, retries included, and for 16 MiB of a blob."""
    transfers: int = 8
    """How many blobs are on their way at a time."""
    on_warning: Callable[[str], None] | None = None


def open_store(reference: Reference, options: StoreOptions | None = None) -> Store:
    """The store a reference names. Sends and reads nothing yet."""
    if reference.scheme == "layout":
        return LayoutStore(reference)
    if reference.scheme == "archive":
        from ocistate.oci.archive import ArchiveStore

        return ArchiveStore(reference)
    from ocistate.oci.registry import RegistryStore

    return RegistryStore(reference, options or StoreOptions())
