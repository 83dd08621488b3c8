"""Options and helpers that several commands share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ocistate.cli.common.output import warn
from ocistate.errors import ConfigError, UsageError
from ocistate.reference import Reference, parse_reference

if TYPE_CHECKING:
    from ocistate.oci import ClientCertificate, StoreOptions
    from ocistate.oci.store import Store
    from ocistate.signing.policy.model import TrustPolicy

OpenRepository = Callable[[Reference], "Store"]
"""Opens the store that holds a reference's repository."""

T = TypeVar("T")


class ReferenceType(click.ParamType[Reference]):
    """An artifact reference as an argument."""

    name = "ref"

    def convert(self, value: Any, param: Any, ctx: Any) -> Reference:
        return value if isinstance(value, Reference) else parse_reference(value)


class RepositoryType(ReferenceType):
    """A repository as an argument: a tag or digest in it would have no meaning."""

    name = "repository"

    def convert(self, value: Any, param: Any, ctx: Any) -> Reference:
        reference = super().convert(value, param, ctx)
        if reference.target is not None:
            raise UsageError(
                f"{value} names one artifact, and a repository is asked for",
                hint=f"write {reference.base}",
            )
        return reference


REFERENCE = ReferenceType()
REPOSITORY = RepositoryType()
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    """How to reach a registry, as the flags say it."""

    insecure: bool
    ca_file: Path | None
    certificate: ClientCertificate | None

    def over(self, other: _Access) -> _Access:
        """These, and the other's where they say nothing."""
        return _Access(
            insecure=self.insecure or other.insecure,
            ca_file=self.ca_file or other.ca_file,
            certificate=self.certificate or other.certificate,
        )

    def store_options(self) -> StoreOptions:
        """The same for a store."""
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
            help=f"Plain HTTP to {whose} that is not loopback.",
        )
        @click.option(
            f"{flag}ca-file",
            f"{side}_ca_file",
            type=_FILE,
            help=f"CA certificates (PEM) to trust for {whose}, instead of the system's.",
        )
        @click.option(
            f"{flag}client-cert",
            f"{side}_client_cert",
            type=_FILE,
            help=f"A certificate (PEM) to show {whose}.",
        )
        @click.option(
            f"{flag}client-key",
            f"{side}_client_key",
            type=_FILE,
            help=f"The private key (PEM) of {flag}client-cert.",
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

    @_access_options("a registry")
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
        *args: Any, _access: _Access, from_access: _Access, to_access: _Access, **kwargs: Any
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
        help="Where else to look for what has a digest; repeatable.",
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


def trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whom to trust (required): the command gets the ``policies`` that the options name."""
    return _trust_options(command, required=True)


def optional_trust_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whom to trust, if anyone: the command gets no ``policies`` when nothing is said."""
    return _trust_options(command, required=False)


def _trust_options(command: Callable[..., Any], *, required: bool) -> Callable[..., Any]:
    @click.option("--key", "keys", multiple=True, metavar="KEY", help="A public key; repeatable.")
    @click.option(
        "--identity",
        "identities",
        multiple=True,
        metavar="issuer=URL,subject=WHO",
        help="Who may sign without a key; issuer-regexp= and subject-regexp= too; repeatable.",
    )
    @click.option(
        "--trusted-root",
        metavar="FILE",
        help="A trusted_root.json to check identities against, instead of Sigstore's public one.",
    )
    @click.option(
        "--allow-legacy",
        is_flag=True,
        help="Let cosign's older signatures count too, with --key.",
    )
    @click.option(
        "--policy",
        metavar="FILE",
        help="A file with TrustPolicies; the one that matches the repository best decides.",
    )
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        keys: tuple[str, ...],
        identities: tuple[str, ...],
        trusted_root: str | None,
        allow_legacy: bool,
        policy: str | None,
        **kwargs: Any,
    ) -> Any:
        given = keys or identities or trusted_root or allow_legacy or policy
        policies = (
            ()
            if not given and not required
            else policies_of(
                keys,
                policy,
                identities=identities,
                trusted_root=trusted_root,
                allow_legacy=allow_legacy,
            )
        )
        return command(*args, policies=policies, **kwargs)

    return wrapper


def policies_of(
    keys: tuple[str, ...],
    policy: str | None,
    *,
    identities: tuple[str, ...] = (),
    trusted_root: str | None = None,
    allow_legacy: bool = False,
) -> tuple[TrustPolicy, ...]:
    """The policies that the trust options name. Raises UsageError when none is given."""
    flags = bool(keys or identities)
    if flags == bool(policy):
        raise UsageError(
            "no trust source given"
            if not flags
            else "--key and --identity exclude --policy, and the other way round",
            hint="give --key FILE.pub, --identity issuer=…,subject=…, or --policy FILE",
        )
    if trusted_root and not identities:
        raise UsageError("--trusted-root says nothing without --identity")
    if policy:
        if allow_legacy:
            raise UsageError(
                "--allow-legacy says nothing to a policy", hint="write allowLegacy: true in it"
            )
        from ocistate.api.loader import load_files

        return load_files(Path(policy)).policies
    from ocistate.signing.keys import load_public_key, read_key
    from ocistate.signing.policy.model import (
        PUBLIC_GOOD,
        parse_identity,
        policy_of_flags,
        trust_root,
    )

    root = PUBLIC_GOOD
    if trusted_root:
        root = trust_root(_read(Path(trusted_root)), trusted_root)
    return (
        policy_of_flags(
            [load_public_key(read_key(key), origin=key) for key in keys],
            [parse_identity(text, root) for text in identities],
            allow_legacy=allow_legacy,
        ),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Enter the event loop, once per command."""
    return asyncio.run(coroutine)


def required_target(reference: Reference, verb: str) -> str:
    """The tag or digest a reference names. Raises UsageError when it names neither."""
    if reference.target is None:
        raise UsageError(
            f"{reference} names no tag and no digest",
            hint=f"write 'ocistate {verb} {reference}:TAG'",
        )
    return reference.target


def parse_annotations(values: tuple[str, ...]) -> dict[str, str]:
    """``k=v`` options as a dict. Raises ConfigError."""
    annotations = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--annotation {value!r} is not KEY=VALUE")
        annotations[key.strip()] = text
    return annotations
