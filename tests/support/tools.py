"""cosign and skopeo as their users call them, offline: no transparency log, plain HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.command import Done, run

_ANYTHING = '{"default": [{"type": "insecureAcceptAnything"}]}'
PASSWORD = "s3cret"
_OLDER = ("--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false")
_CHECK = ("--insecure-ignore-tlog=true", "--allow-http-registry")


@dataclass(frozen=True, slots=True)
class Cosign:
    """The program, a key pair of its own, and a signing configuration that names no services."""

    program: Path
    key: Path
    config: Path

    @property
    def public(self) -> Path:
        return self.key.with_suffix(".pub")

    def sign(self, name: str, *, legacy: bool = False, key: Path | None = None) -> None:
        self._write("sign", name, legacy=legacy, key=key)

    def attest(self, name: str, kind: str, predicate: Path, *, legacy: bool = False) -> None:
        self._write("attest", "--type", kind, "--predicate", predicate, name, legacy=legacy)

    def import_key(self, pem: Path) -> Path:
        """A key file made of a plain PEM; the public one lies beside it."""
        prefix = pem.with_suffix("")
        self._run("import-key-pair", "--yes", "--key", pem, "--output-key-prefix", prefix)
        return prefix.with_suffix(".key")

    def verify(self, name: str, public: Path, *more: str, check: bool = True) -> Done:
        return run(self.program, "verify", "--key", public, *_CHECK, *more, name, check=check)

    def verify_attestation(self, name: str, kind: str, public: Path, *, check: bool = True) -> Done:
        return run(
            self.program, "verify-attestation", "--type", kind, "--key", public, *_CHECK, name,
            check=check,
        )  # fmt: skip

    def _write(
        self, verb: str, *arguments: str | Path, legacy: bool, key: Path | None = None
    ) -> None:
        how = _OLDER if legacy else ("--signing-config", self.config)
        self._run(
            verb, "--key", key or self.key, *how, "--allow-http-registry", "--yes", *arguments
        )

    def _run(self, *arguments: str | Path) -> None:
        run(self.program, *arguments, environ={"COSIGN_PASSWORD": PASSWORD})


def make(program: Path, folder: Path) -> Cosign:
    """Make the key pair and the configuration in a folder."""
    run(program, "generate-key-pair", cwd=folder, environ={"COSIGN_PASSWORD": PASSWORD})
    config = folder / "signing-config.json"
    run(program, "signing-config", "create", "--out", config)
    return Cosign(program, folder / "cosign.key", config)


@dataclass(frozen=True, slots=True)
class Skopeo:
    """skopeo with all its configuration in a folder of the test's: it takes none of the machine's.

    Without a policy of the test's own, it takes every image.
    """

    program: Path
    folder: Path

    def command(
        self, *arguments: str | Path, policy: Path | None = None, registries: Path | None = None
    ) -> list[str | Path]:
        return [
            self.program,
            *("--policy", policy or self._file("policy.json", _ANYTHING)),
            *("--registries.d", registries or self._folder("registries.d")),
            *("--registries-conf", self._file("registries.conf", "")),
            *arguments,
        ]

    def copy(
        self,
        *arguments: str | Path,
        policy: Path | None = None,
        registries: Path | None = None,
        check: bool = True,
    ) -> Done:
        command = self.command("copy", *arguments, policy=policy, registries=registries)
        return run(*command, check=check)

    def _file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def _folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path
