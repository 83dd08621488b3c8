"""Sign without a key: with an OIDC identity, a certificate of minutes, and an entry in a log.

The identity is a CI job's own (GitHub Actions, GitLab, Google Cloud, Buildkite, CircleCI), or a
token that is given. Everything here blocks, on the network too: call it in a thread. The token is
a secret, and goes to the certificate authority alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ocistate.errors import ConfigError, IdentityError, OcistateError

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

TOKEN_VARIABLE: Final = "SIGSTORE_ID_TOKEN"  # noqa: S105
"""Where GitLab puts a job's token, and cosign looks for one too."""

_MAX_TOKEN: Final = 64 * 1024
_HINT: Final = (
    "GitHub Actions needs 'permissions: id-token: write', GitLab id_tokens: SIGSTORE_ID_TOKEN "
    "with aud: sigstore; or give --identity-token FILE"
)


@dataclass(frozen=True, slots=True)
class IdentitySigner:
    """Signs as an identity. ``config`` is a ClientTrustConfig's JSON: whose authorities and logs
    are asked; empty for Sigstore's public ones."""

    token: str = field(repr=False)
    config: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """Whom the token names. Raises IdentityError."""
        from sigstore.oidc import IdentityError as BadToken
        from sigstore.oidc import IdentityToken

        try:
            identity = IdentityToken(self.token)
        except BadToken as error:
            raise IdentityError(
                f"the identity token can't be used: {error.__cause__ or error}",
                hint="it must be a fresh OIDC token for the audience 'sigstore'",
            ) from None
        return f"{identity.identity} of {identity.federated_issuer}"

    def bundle(self, payload: bytes) -> bytes:
        """A bundle about a statement: certified, signed, logged. Raises IdentityError."""
        import requests
        from sigstore.dsse import Statement
        from sigstore.oidc import IdentityToken
        from sigstore.sign import SigningContext

        name = self.name
        try:
            context = SigningContext.from_trust_config(_trust_config(self.config))
            with context.signer(IdentityToken(self.token)) as signer:
                return signer.sign_dsse(Statement(payload)).to_json().encode()
        except OcistateError:
            raise
        except requests.ConnectionError as error:
            raise IdentityError(
                f"{_host(error)} can't be reached to sign as {name}",
                hint="are Sigstore's services reachable from here? --trust-config names others",
            ) from None
        except _refusals() as error:
            raise IdentityError(f"signing as {name} was refused: {_detail(error)}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityError(
                f"signing as {name} failed: a service gave an answer that is none: {error}"
            ) from None


def find_token(source: str | None, environ: Mapping[str, str] | None = None) -> str:
    """The token to sign with: from a file or ``env://NAME``, else the surroundings' own.

    Raises IdentityError.
    """
    environ = os.environ if environ is None else environ
    if source is not None:
        return _given(source, environ)
    if token := environ.get(TOKEN_VARIABLE, "").strip():
        return token
    from sigstore.oidc import IdentityError as NoToken
    from sigstore.oidc import detect_credential

    try:
        token = detect_credential() or ""
    except NoToken as error:
        raise IdentityError(
            f"the surroundings' identity can't be had: {error.__cause__ or error}", hint=_HINT
        ) from None
    if not token:
        raise IdentityError("there is no identity here to sign with", hint=_HINT)
    return token


def _given(source: str, environ: Mapping[str, str]) -> str:
    if source.startswith("env://"):
        name = source.removeprefix("env://")
        token = environ.get(name, "")
    else:
        name = source
        try:
            with Path(source).open("rb") as stream:
                token = stream.read(_MAX_TOKEN).decode("ascii", "replace")
        except OSError as error:
            raise IdentityError(
                f"the identity token {source} cannot be read: {error.strerror}"
            ) from None
    if not (token := token.strip()):
        raise IdentityError(f"{name} holds no identity token", hint=_HINT)
    return token


def _trust_config(data: bytes) -> ClientTrustConfig:
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig

    if not data:
        try:
            return ClientTrustConfig.production()
        except (Error, OSError, ValueError) as error:
            raise IdentityError(
                f"Sigstore's public services can't be found: {error}",
                hint="--trust-config FILE names those of another instance",
            ) from None
    try:
        config = ClientTrustConfig.from_json(data.decode())
        _ = config.signing_config, config.trusted_root
        return config
    except (Error, ValueError) as error:
        raise ConfigError(
            f"the trust configuration can't be used: {error}",
            hint="a ClientTrustConfig as sigstore-python's --trust-config takes it",
        ) from None


def _refusals() -> tuple[type[Exception], ...]:
    """What sigstore raises when a service says no; some of it outside its own error tree."""
    from requests import RequestException
    from sigstore._internal.fulcio.client import ExpiredCertificate, FulcioClientError
    from sigstore._internal.rekor import RekorClientError
    from sigstore.errors import Error
    from sigstore.oidc import ExpiredIdentity

    return (
        Error,
        RequestException,
        FulcioClientError,
        RekorClientError,
        ExpiredIdentity,
        ExpiredCertificate,
    )


def _detail(error: Exception) -> str:
    return str(error) or str(error.__cause__ or type(error).__name__)


def _host(error: Exception) -> str:
    request = getattr(error, "request", None)
    return str(getattr(request, "url", None) or "the service")
