"""How a Stack's cluster is reached: by a kubeconfig from a Secret, or from the agent's files.

Whoever writes a Stack into a cluster names a Secret of its own namespace, and nothing of the
agent's machine; whoever writes the agent's files may name its kubeconfigs and their contexts.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ocistate.api.stack import Stack
from ocistate.errors import ClusterUnavailable, ConfigError
from ocistate.kube.client import KubeClient
from ocistate.kube.kubeconfig import ClusterAccess, access_from_text, find_access
from ocistate.objects import ObjectId
from ocistate.reach import Reach

_KEYS: Final = ("value", "kubeconfig")


@dataclass(frozen=True, slots=True)
class SecretKubeconfigs:
    """Kubeconfigs in Secrets of the Stacks' own namespaces, each read as ``reader`` says, and
    leading nowhere out of ``reach``."""

    reader: Callable[[Stack], KubeClient]
    reach: Reach

    async def __call__(self, stack: Stack) -> ClusterAccess:
        """Raises ClusterError, ConfigError."""
        text = await self._read(stack)
        chosen = stack.spec.target.context or None
        return await asyncio.to_thread(access_from_text, text, chosen, reach=self.reach)

    async def _read(self, stack: Stack) -> str:
        target = stack.spec.target
        id = ObjectId("", "Secret", stack.namespace, target.kubeconfig_secret)
        obj = await self.reader(stack).get(id)
        data = (obj or {}).get("data") or {}
        wanted = (target.kubeconfig_key,) if target.kubeconfig_key else _KEYS
        encoded = next((data[key] for key in wanted if key in data), None)
        if encoded is None:
            what = "does not exist" if obj is None else f"has no key {' or '.join(wanted)}"
            raise ClusterUnavailable(
                f"the kubeconfig Secret {stack.namespace}/{target.kubeconfig_secret} {what}",
                hint="fix spec.target.kubeconfigSecretRef, or the Secret",
            )
        try:
            return base64.b64decode(encoded, validate=True).decode()
        except ValueError:  # no base64, or no UTF-8 within
            raise ConfigError(f"the Secret {id} holds no kubeconfig") from None


@dataclass(frozen=True, slots=True)
class FileKubeconfigs:
    """Kubeconfig files that Stacks name, else the agent's own; and the contexts in them."""

    kubeconfig: Path | None
    context: str | None

    async def __call__(self, stack: Stack) -> ClusterAccess:
        """Raises ConfigError."""
        try:
            if stack.kubeconfig is not None:
                return find_access(stack.kubeconfig, stack.spec.target.context or None)
            return find_access(self.kubeconfig, stack.spec.target.context or self.context)
        except ConfigError as error:
            field = (
                "kubeconfig" if stack.kubeconfig else "context" if stack.spec.target.context else ""
            )
            where = f"Stack {stack}: " + (f"spec.target.{field}: " if field else "")
            hint = error.hint
            if stack.kubeconfig and not hint.startswith("it has"):
                hint = "fix spec.target, or the file that it names"
            raise ConfigError(f"{where}{error.message}", hint=hint) from None
