"""The state folder: what the agent must remember between runs when no cluster keeps it.

One agent at a time: the folder is locked while one runs. Every file is replaced in one step, so
that a cut leaves the old state or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ocistate.api.names import LocalPath
from ocistate.api.stack import Stack, removed_stack
from ocistate.api.stack_spec import StackTarget
from ocistate.api.status import StackStatus, status_from_dict, status_to_dict
from ocistate.durable import write_file
from ocistate.errors import ConfigError
from ocistate.objects import StackKey


def default_state_folder() -> Path:
    """``/var/lib/ocistate`` for root, else ``$XDG_STATE_HOME/ocistate``."""
    if os.geteuid() == 0:
        return Path("/var/lib/ocistate")
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "ocistate"


@dataclass(slots=True)
class StateFolder:
    """One agent's memory on disk."""

    root: Path
    _lock: IO[str] | None = None

    def open(self) -> None:
        """Make the folder and lock it. Raises ConfigError when another agent holds it."""
        try:
            for name in ("stacks", "targets", "content"):
                (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.root / "lock").open("a+")
        except OSError as error:
            raise ConfigError(
                f"the state folder {self.root} cannot be used: {error.strerror}",
                hint="name another one with --state",
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(
                f"another agent uses the state folder {self.root}",
                hint="stop it, or give this one another folder with --state",
            ) from None
        self._lock = lock
        # What a run that was cut short was just writing.
        for name in ("stacks", "targets"):
            for left in (self.root / name).glob(".*"):
                left.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the folder go."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def load(self, key: StackKey) -> StackStatus:
        """A Stack's last status; an empty one when there is none. Raises ConfigError."""
        kept = self._read(key)
        return status_from_dict(kept.get("status")) if kept else StackStatus()

    def save(self, stack: Stack, status: StackStatus) -> None:
        """Keep a Stack's status, and what it takes to remove its objects. Raises ConfigError."""
        value = {
            "status": status_to_dict(status),
            "uid": stack.uid,
            "directory": str(stack.directory) if stack.directory else "",
            "kubeconfig": str(stack.kubeconfig) if stack.kubeconfig else "",
            "context": stack.spec.target.context,
            "deletionPolicy": stack.spec.deletion_policy,
            "serviceAccountName": stack.spec.service_account_name,
        }
        path = self._path("stacks", stack.key)
        try:
            write_file(path, json.dumps(value, indent=1).encode())
        except OSError as error:
            raise ConfigError(
                f"the state in {path} cannot be written: {error.strerror}",
                hint="check the permissions and the space left",
            ) from None

    def put_aside(self, key: StackKey) -> None:
        """Start again with a Stack whose state can't be read, keeping that for a person to see."""
        path = self._path("stacks", key)
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".broken"))

    def departed(self, key: StackKey) -> Stack | None:
        """A Stack that is declared no more, with just what its removal needs."""
        kept = self._read(key)
        if kept is None:
            return None
        target = StackTarget(
            directory=LocalPath(kept.get("directory", "")),
            kubeconfig=LocalPath(kept.get("kubeconfig", "")),
            context=str(kept.get("context", "")),
        )
        return removed_stack(
            key,
            uid=str(kept.get("uid", "")),
            account=str(kept.get("serviceAccountName", "")),
            orphan=kept.get("deletionPolicy") == "orphan",
            target=target,
        )

    def target_name(self, key: StackKey) -> str:
        """Where a Stack belongs; empty: in the agent's own cluster. Raises ConfigError."""
        stack = self.departed(key)
        return stack.target_name if stack is not None else ""

    def _read(self, key: StackKey) -> dict[str, Any] | None:
        path = self._path("stacks", key)
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the state in {path} cannot be read: {error}",
                hint="remove the file: the Stack is then verified and applied again",
            ) from None
        if not isinstance(value, dict):
            raise ConfigError(
                f"the state in {path} is not one",
                hint="remove the file: the Stack is then verified and applied again",
            )
        return value

    def forget(self, key: StackKey) -> None:
        """Remove all that is kept of a Stack; what names it goes last, in case of a cut."""
        shutil.rmtree(self.content(key), ignore_errors=True)
        self._path("stacks", key).unlink(missing_ok=True)

    def known(self) -> list[StackKey]:
        """The Stacks something is kept of."""
        names = (path.name.removesuffix(".json") for path in (self.root / "stacks").glob("*.json"))
        return sorted(
            StackKey(namespace, name) for namespace, _, name in (n.partition(".") for n in names)
        )

    def record(self, key: StackKey) -> Path:
        """Where a folder target remembers its files."""
        return self._path("targets", key)

    def content(self, key: StackKey) -> Path:
        """Where a Stack's last good content is kept."""
        return self.root / "content" / f"{key[0]}.{key[1]}"

    def _path(self, folder: str, key: StackKey) -> Path:
        # A namespace has no dot in it, so that the name is unambiguous.
        return self.root / folder / f"{key[0]}.{key[1]}.json"
