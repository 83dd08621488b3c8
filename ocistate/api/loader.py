"""Stacks and TrustPolicies from files: the embedded default, without a cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from ocistate.api.names import LocalPath, Repository
from ocistate.api.stack import API_VERSION, Stack, parse_stack
from ocistate.artifact.manifests import is_manifest_path
from ocistate.documents.reader import read_documents
from ocistate.errors import ConfigError, InvalidManifest
from ocistate.objects import StackKey
from ocistate.reference import Reference
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import Material, Reader, parse_policy

_MAX_MATERIAL: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the files say."""

    stacks: tuple[Stack, ...]
    policies: tuple[TrustPolicy, ...]
    beside: tuple[Path, ...] = ()
    """The files that policies take keys and roots from."""


def load_files(path: Path) -> Declared:
    """Read a file, or a folder's YAML and JSON files. Raises ConfigError naming file and field.

    A Stack's relative paths (``layout:``, ``archive:``, ``target.directory``,
    ``target.kubeconfig``) start at its file.
    """
    before = _regular(path)
    stacks: dict[StackKey, Stack] = {}
    policies: dict[str, TrustPolicy] = {}
    beside: list[Path] = []
    for file in _files(path):
        for origin, value in read_objects(file):
            kind = value.get("kind") if isinstance(value, dict) else None
            if not isinstance(value, dict) or value.get("apiVersion") != API_VERSION:
                raise ConfigError(
                    f"{origin}: not an object of {API_VERSION}",
                    hint="this file may hold Stacks and TrustPolicies only",
                )
            if kind == "Stack":
                stack = _localise(parse_stack(value, origin=origin), file.parent)
                stack = replace(stack, generation=stack.generation or _generation(value))
                if stack.key in stacks:
                    raise ConfigError(f"{origin}: the Stack {stack} is declared twice")
                stacks[stack.key] = stack
            elif kind == "TrustPolicy":
                policy = parse_policy(value, origin=origin, read=beside_file(file, beside))
                if policy.name in policies:
                    raise ConfigError(f"{origin}: the TrustPolicy {policy.name} is declared twice")
                policies[policy.name] = policy
            else:
                raise ConfigError(f"{origin}: kind {kind!r} is neither Stack nor TrustPolicy")
    if _regular(path) != before:
        raise ConfigError(f"{path} was changed while it was read", hint="it must be read again")
    return Declared(
        stacks=tuple(stacks.values()), policies=tuple(policies.values()), beside=tuple(beside)
    )


Stamp = tuple[str, int, int, int]


@dataclass(slots=True)
class Settled:
    """Tells when what is looked at again and again has changed, and is not being changed just now.

    Files are written one after the other, and not at once: what was seen twice in a row is whole.
    The first look counts by itself.
    """

    _taken: object = None
    _seen: object = None

    def take(self, mark: object) -> None:
        """It has been read as it is with this mark."""
        self._taken = self._seen = mark

    def is_news(self, mark: object) -> bool:
        """Whether to read again. What is read with an error is not read again before it changes."""
        settled = self._taken is None or mark == self._seen
        self._seen = mark
        if mark == self._taken or not settled:
            return False
        self._taken = mark
        return True


def fingerprint(path: Path) -> tuple[Stamp, ...]:
    """Changes when a file is added, removed or edited; costs no reading."""
    return stamps(_files(path))


def _regular(path: Path) -> tuple[Stamp, ...]:
    """The fingerprint of what can be looked at twice: a pipe can't."""
    return fingerprint(path) if path.is_dir() or path.is_file() else ()


def stamps(files: Sequence[Path]) -> tuple[Stamp, ...]:
    """What tells that a file was edited or replaced; one that is not there has none."""
    marks = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            marks.append((str(file), status.st_ctime_ns, status.st_ino, status.st_size))
    return tuple(marks)


def _files(path: Path) -> Sequence[Path]:
    if path.is_dir():
        return sorted(p for p in path.iterdir() if is_manifest_path(p.name) and p.is_file())
    if not path.exists():
        raise ConfigError(f"{path} does not exist", hint="give a file or folder with Stacks")
    return [path]


def beside_file(policy_file: Path, found: list[Path]) -> Reader:
    """Reads what an object in a file names: files, meant from its folder, added to found."""

    def read(material: Material) -> bytes:
        if material.kind != "file":
            raise ConfigError(f"the {material} is in no file", hint="give file: PATH instead")
        path = policy_file.parent / material.name
        found.append(path)
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_MATERIAL + 1)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        if len(data) > _MAX_MATERIAL:
            raise ConfigError(f"{path} is larger than {_MAX_MATERIAL} bytes")
        return data

    return read


def read_objects(file: Path) -> list[tuple[str, Any]]:
    """A file's objects, each with ``file:line`` for errors. Raises ConfigError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    try:
        return [(f"{file}:{d.line}", d.value) for d in read_documents(str(file), data)]
    except InvalidManifest as error:
        raise ConfigError(error.message, hint=error.hint) from None


def _generation(value: Any) -> int:
    """A number that another spec does not have: here no API server counts the edits."""
    spec = json.dumps(value.get("spec"), sort_keys=True, default=str)
    return int(hashlib.sha256(spec.encode()).hexdigest()[:12], 16)


def _localise(stack: Stack, folder: Path) -> Stack:
    source, target = stack.spec.source, stack.spec.target
    stack = stack.with_source(
        repository=_beside(source.repository, folder),
        channel_repository=source.channel_repository and _beside(source.channel_repository, folder),
        mirrors=tuple(
            structs.replace(mirror, repository=_beside(mirror.repository, folder))
            for mirror in source.mirrors
        ),
    )
    if stack.directory:
        target = structs.replace(target, directory=LocalPath(folder / stack.directory))
    if stack.kubeconfig:
        file = (folder / stack.kubeconfig.expanduser()).absolute()
        target = structs.replace(target, kubeconfig=LocalPath(file))
    # No API server hands out UIDs here; the name is as unique within one state folder.
    uid = hashlib.sha256(str(stack).encode()).hexdigest()[:32]
    return replace(stack.with_target(target), uid=stack.uid or uid)


def _beside(repository: Repository, folder: Path) -> Repository:
    return Repository.of(local_to(repository.reference, folder))


def local_to(repository: Reference, folder: Path) -> Reference:
    """A repository whose path, if it is one, starts at a folder."""
    if repository.scheme == "oci":
        return repository
    # Path's "/" leaves an absolute one as it is.
    return replace(repository, repository=str(folder / repository.repository))
