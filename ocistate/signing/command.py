"""Sign with a command: the bridge to a KMS, an HSM or an agent that keeps the key to itself.

    --key 'exec:ocistate-pkcs11 --token release'

The protocol, version 1; each call is one process, its arguments the command's own and then:

    COMMAND… public-key     prints the public key: ECDSA P-256, SPKI PEM
    COMMAND… sign           reads a line, the SHA-256 digest to sign in lower-case hex, and prints
                            the ECDSA signature over that digest, DER in base64

``OCISTATE_SIGNER_PROTOCOL=1`` is in its environment, our own passwords are not. It fails by an exit
code other than 0, and says why on stderr, which goes to the user as it is. No shell is involved.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ocistate.errors import InvalidSignature, KeyFileError
from ocistate.signing.envelope import decode_base64
from ocistate.signing.keys import PublicKey, load_public_key

PREFIX: Final = "exec:"
TIMEOUT_VARIABLE: Final = "OCISTATE_SIGNER_TIMEOUT"
DEFAULT_TIMEOUT: Final = 60.0
"""Seconds for one call, unless the environment sets another: time enough to touch a device."""

_MAX_OUTPUT: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    arguments: Sequence[str]
    environ: Mapping[str, str]
    timeout: float

    def call(self, action: str, given: bytes = b"") -> bytes:
        """What the command prints. Raises KeyFileError."""
        try:
            done = subprocess.run(
                [*self.arguments, action],
                input=given,
                stdout=subprocess.PIPE,
                timeout=self.timeout,
                env=self.environ,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self.error(
                action,
                f"did not answer within {self.timeout:g} s",
                hint=f"{TIMEOUT_VARIABLE} gives it more seconds",
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "its name or arguments are not usable"
            raise self.error(action, f"cannot be run: {reason}") from None
        if done.returncode != 0:
            code = done.returncode
            how = f"signal {-code}" if code < 0 else f"code {code}"
            raise self.error(action, f"ended with {how}", hint="its own message is above")
        if len(done.stdout) > _MAX_OUTPUT:
            raise self.error(action, f"printed {len(done.stdout)} bytes")
        return done.stdout

    def error(self, action: str, message: str, *, hint: str = "") -> KeyFileError:
        """An error that names the program alone: its arguments or output may hold a secret."""
        return KeyFileError(
            f"the signer command {self.arguments[0]!r} ({action}) {message}", hint=hint
        )


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """A private key behind a command."""

    public_key: PublicKey
    _command: _Command = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """The command's signature, checked against its public key. Raises KeyFileError."""
        digest = hashlib.sha256(data).hexdigest()
        answer = self._command.call("sign", f"{digest}\n".encode())
        try:
            signature = decode_base64("".join(answer.decode("ascii").split()), "what it printed")
        except (InvalidSignature, UnicodeDecodeError):
            raise self._command.error("sign", "did not print a signature in base64") from None
        if not self.public_key.verify(signature, data):
            raise self._command.error(
                "sign",
                "printed a signature that its public key does not verify",
                hint="it must sign the digest it is given, with ECDSA P-256, and print DER",
            )
        return signature


def load_command(
    source: str, *, hidden: Collection[str] = (), environ: Mapping[str, str] | None = None
) -> CommandSigner:
    """The signer that ``exec:COMMAND`` names, its public key asked for.

    ``hidden`` are the environment variables that are kept from it. Raises KeyFileError.
    """
    environ = os.environ if environ is None else environ
    try:
        arguments = tuple(shlex.split(source.removeprefix(PREFIX)))
    except ValueError:
        raise KeyFileError("the signer command has an open quote") from None
    if not arguments:
        raise KeyFileError("exec: names no command", hint="write exec:COMMAND ARGUMENT…")
    inherited = {name: value for name, value in environ.items() if name not in hidden}
    command = _Command(
        arguments=arguments,
        environ={**inherited, "OCISTATE_SIGNER_PROTOCOL": "1"},
        timeout=_timeout(environ),
    )
    answer = command.call("public-key")
    try:
        key = load_public_key(answer, origin="what it printed")
    except KeyFileError as error:
        raise command.error("public-key", f"failed: {error.message}") from None
    if key.kind != "ECDSA P-256":
        raise command.error("public-key", f"has a key of the kind {key.kind}, not ECDSA P-256")
    return CommandSigner(key, command)


def _timeout(environ: Mapping[str, str]) -> float:
    text = environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else DEFAULT_TIMEOUT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise KeyFileError(f"{TIMEOUT_VARIABLE} is {text!r}, not seconds up to 3600")
    return seconds
