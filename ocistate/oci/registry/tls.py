"""TLS to registries: whom to trust, and which client certificate to show.

What is given by name goes first. Else the folder of docker and podman is looked for,
``certs.d/HOST[:PORT]``: its ``*.crt`` are CAs beside the system's, and ``NAME.cert`` with
``NAME.key`` is a client certificate (containers-certs.d(5)).
"""

from __future__ import annotations

import os
import ssl
import stat
import tempfile
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ocistate.errors import ConfigError
from ocistate.oci.options import ClientCertificate, StoreOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What proves a registry's identity, beside or instead of the system's CAs."""

    ca_files: tuple[Path, ...] = ()
    ca_data: bytes | None = field(default=None, repr=False)
    instead: bool = False
    """Whether the system's CAs do not count for the registry itself."""
    certificate: ClientCertificate | None = None

    @property
    def is_given(self) -> bool:
        """Whether there are settings for the registry's TLS: then it must not be without TLS."""
        return bool(self.ca_files or self.ca_data is not None or self.certificate)

    @property
    def mark(self) -> Hashable:
        """Equal where a connection made under one may be used under the other."""
        return (self, *(path.stat().st_mtime_ns for path in self.ca_files if path.exists()))

    def context(self, *, ours: bool) -> ssl.SSLContext:
        """For the registry itself, or for others that it sends us to: they see no client
        certificate, and may have one from the system's CAs. Raises ConfigError."""
        try:
            if ours and self.instead:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            else:  # reads all of the system's CAs, which takes most of a client's time and memory
                context = ssl.create_default_context()
            for path in self.ca_files:
                context.load_verify_locations(cafile=path)
            if self.ca_data is not None:
                context.load_verify_locations(cadata=self.ca_data.decode())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the registry's CA cannot be used: {error}", hint="it must be certificates in PEM"
            ) from None
        if ours and self.certificate is not None:
            _load(context, self.certificate)
        return context


def find_trust(host: str, options: StoreOptions, environ: Mapping[str, str] | None = None) -> Trust:
    """A registry's TLS settings: from the options, or else from its folder. Raises ConfigError."""
    files = (options.ca_file,) if options.ca_file is not None else ()
    if files or options.ca_data is not None or options.client_certificate is not None:
        return Trust(
            ca_files=files,
            ca_data=options.ca_data,
            instead=bool(files) or options.ca_data is not None,
            certificate=options.client_certificate,
        )
    for folder in _folders(os.environ if environ is None else environ):
        path = f"{folder}/{host}"
        try:
            found = _read_folder(Path(path)) if _is_folder(path) else None
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from None
        if found is not None:
            return found
    return Trust()


def _folders(environ: Mapping[str, str]) -> list[str]:
    home = environ.get("HOME") or str(Path.home())
    return [
        f"{home}/.config/containers/certs.d",
        "/etc/containers/certs.d",
        f"{home}/.config/docker/certs.d",
        "/etc/docker/certs.d",
    ]


def _is_folder(path: str) -> bool:
    # As a Path does, at a tenth of the cost: this runs in each pass of each Stack.
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _read_folder(folder: Path) -> Trust | None:
    certificate = None
    for path in sorted(folder.glob("*.cert")):
        key = path.with_suffix(".key")
        if not key.is_file():
            raise ConfigError(f"{path} has no key beside it", hint=f"put it at {key}")
        certificate = ClientCertificate(certificate=path.read_bytes(), key=key.read_bytes())
        break
    found = Trust(ca_files=tuple(sorted(folder.glob("*.crt"))), certificate=certificate)
    return found if found.is_given else None


def _load(context: ssl.SSLContext, pair: ClientCertificate) -> None:
    def no_password() -> bytes:
        raise ValueError("the key has a password")

    try:
        # The ssl module reads files only; this one is the owner's alone, and gone at once.
        with tempfile.NamedTemporaryFile(prefix="ocistate-") as file:
            file.write(pair.certificate + b"\n" + pair.key)
            file.flush()
            context.load_cert_chain(file.name, password=no_password)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"the client certificate cannot be used: {reason or type(error).__name__}",
            hint="certificate and key must be PEM, belong together, and the key have no password",
        ) from None
