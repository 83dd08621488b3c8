"""Open a store by its reference, importing only what that kind of store needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ocistate.errors import ConfigError
from ocistate.oci.options import Mirror, StoreOptions
from ocistate.oci.store import Store
from ocistate.reference import Reference

_ATTEMPTS_WITH_MIRRORS: Final = 2
_CONNECT_WITH_MIRRORS: Final = 3.0


def open_store(
    reference: Reference, options: StoreOptions | None = None, mirrors: Sequence[Mirror] = ()
) -> Store:
    """The store a reference names, with its mirrors if it has any. Sends and reads nothing yet.

    Raises ConfigError for one that is out of the options' reach.
    """
    options = options or StoreOptions()
    if not mirrors:
        return _open(reference, options)
    from ocistate.oci.mirrors import MirroredStore

    # Where there is another one to ask, not all patience is spent on each.
    options = replace(options, attempts=_ATTEMPTS_WITH_MIRRORS, connect=_CONNECT_WITH_MIRRORS)
    others = [_open(m.reference.base, replace(options, insecure=m.insecure)) for m in mirrors]
    return MirroredStore([_open(reference, options), *others])


def _open(reference: Reference, options: StoreOptions) -> Store:
    if options.reach is not None and reference.scheme != "oci":
        raise ConfigError(
            f"{reference} is a folder or file of this machine, and may not be reached from here",
            hint="use a registry",
        )
    if reference.scheme == "layout":
        from ocistate.oci.local.layout import LayoutStore

        return LayoutStore(reference)
    if reference.scheme == "archive":
        from ocistate.oci.local.archive import ArchiveStore

        return ArchiveStore(reference)
    from ocistate.oci.registry.store import RegistryStore

    return RegistryStore(reference, options)
