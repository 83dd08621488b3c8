"""How to reach registries: plain HTTP, CA certificates, client certificates, mirrors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocistate.cli.common.options import REFERENCE
from ocistate.cli.common.output import warn
from ocistate.errors import ConfigError, UsageError
from ocistate.reference import Reference

if TYPE_CHECKING:
    from ocistate.oci import ClientCertificate, StoreOptions
    from ocistate.oci.store import Store

OpenRepository = Callable[[Reference], "Store"]
"""Opens the store that holds a reference's repository."""

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    """How to reach a registry, as given by the flags."""

    insecure: bool
    ca_file: Path | None
    certificate: ClientCertificate | None

    def over(self, other: _Access) -> _Access:
        """These, with the other's values where these have none."""
        return _Access(
            insecure=self.insecure or other.insecure,
            ca_file=self.ca_file or other.ca_file,
            certificate=self.certificate or other.certificate,
        )

    def store_options(self) -> StoreOptions:
        """As the options of a store."""
        from ocistate.oci import StoreOptions

        return StoreOptions(
            insecure=self.insecure,
            ca_file=self.ca_file,
            client_certificate=self.certificate,
            on_warning=warn,
        )


def _access_options(
    whose: str, side: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The four flags, with ``side`` before their names; the command gets ``SIDE_access``."""
    flag = f"--{side}-" if side else "--"

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            f"{flag}insecure",
            f"{side}_insecure",
            is_flag=True,
            help=f"Use plain HTTP for {whose} (not needed for loopback).",
        )
        @click.option(
            f"{flag}ca-file",
            f"{side}_ca_file",
            type=_FILE,
            help=f"CA certificates (PEM) to trust for {whose} instead of the system's.",
        )
        @click.option(
            f"{flag}client-cert",
            f"{side}_client_cert",
            type=_FILE,
            help=f"Client certificate (PEM) for {whose}.",
        )
        @click.option(
            f"{flag}client-key",
            f"{side}_client_key",
            type=_FILE,
            help=f"Private key (PEM) of {flag}client-cert.",
        )
        @functools.wraps(command)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            access = _Access(
                insecure=kwargs.pop(f"{side}_insecure"),
                ca_file=kwargs.pop(f"{side}_ca_file"),
                certificate=_client_certificate(
                    kwargs.pop(f"{side}_client_cert"), kwargs.pop(f"{side}_client_key"), flag
                ),
            )
            return command(*args, **{f"{side}_access": access}, **kwargs)

        return wrapper

    return decorate


def registry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to reach a registry; the command gets ``options``."""

    @_access_options("the registry")
    @functools.wraps(command)
    def wrapper(*args: Any, _access: _Access, **kwargs: Any) -> Any:
        return command(*args, options=_access.store_options(), **kwargs)

    return wrapper


def two_store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to reach two registries: the command gets ``connect_from``, ``connect_to``."""

    @_access_options("either registry")
    @_access_options("the registry of SRC", "from")
    @_access_options("the registry of DST", "to")
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        _access: _Access,
        from_access: _Access,
        to_access: _Access,
        **kwargs: Any,
    ) -> Any:
        return command(
            *args,
            connect_from=_connect(from_access.over(_access).store_options()),
            connect_to=_connect(to_access.over(_access).store_options()),
            **kwargs,
        )

    return wrapper


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to reach the registry; the command gets ``connect``, a function that opens a store."""

    @registry_options
    @functools.wraps(command)
    def wrapper(*args: Any, options: StoreOptions, **kwargs: Any) -> Any:
        return command(*args, connect=_connect(options), **kwargs)

    return wrapper


def _connect(options: StoreOptions) -> OpenRepository:
    def connect(reference: Reference) -> Store:
        from ocistate.oci import open_store

        return open_store(reference.base, options)

    return connect


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As ``store_options``, for a command that reads one artifact, which may have mirrors."""

    @click.option(
        "--mirror",
        "mirrors",
        multiple=True,
        type=REFERENCE,
        metavar="REPOSITORY",
        help="A mirror to read digests from; repeatable.",
    )
    @registry_options
    @functools.wraps(command)
    def wrapper(
        *args: Any, options: StoreOptions, mirrors: tuple[Reference, ...], **kwargs: Any
    ) -> Any:
        def connect(reference: Reference) -> Store:
            from ocistate.oci import Mirror, open_store

            others = [Mirror(reference=item, insecure=options.insecure) for item in mirrors]
            return open_store(reference.base, options, others)

        for item in mirrors:
            if item.target is not None:
                raise UsageError(
                    f"--mirror {item} names a tag or digest", hint="name the repository alone"
                )
        return command(*args, connect=connect, **kwargs)

    return wrapper


def _client_certificate(
    certificate: Path | None, key: Path | None, flag: str
) -> ClientCertificate | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError(f"{flag}client-cert and {flag}client-key go together", hint="give both")
    from ocistate.oci import ClientCertificate

    try:
        return ClientCertificate(certificate=certificate.read_bytes(), key=key.read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from None
