"""The cluster's TrustPolicies, with what they take from Secrets and ConfigMaps.

Those are read as the agent itself and from its own namespace alone: a policy is the cluster
administrator's, and what it refers to must be out of the tenants' reach too.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ocistate.cluster.client import KubeClient
from ocistate.cluster.status import StatusError
from ocistate.errors import ClusterError, ConfigError
from ocistate.objects import ObjectId
from ocistate.signing.policy import TrustPolicy
from ocistate.signing.policy_object import Material, faulty_policy, parse_policy, references

log = logging.getLogger("ocistate.agent")

REFRESH_SECONDS: Final = 10.0
"""Between two looks at the Secrets and ConfigMaps that policies refer to."""

_Held = Mapping[str, bytes] | ConfigError


@dataclass(slots=True)
class Policies:
    """What the policies are, and what the objects they refer to held when last read."""

    client: KubeClient
    _objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    _parsed: dict[str, TrustPolicy] = field(default_factory=dict)
    _held: dict[Material, _Held] = field(default_factory=dict)

    @property
    def all(self) -> tuple[TrustPolicy, ...]:
        """The policies; what can't be read stands as a refusal."""
        return tuple(self._parsed[name] for name in sorted(self._parsed))

    def clear(self) -> None:
        """Forget the policies, before all are told anew."""
        self._objects.clear()
        self._parsed.clear()

    async def put(self, obj: dict[str, Any]) -> None:
        """A policy is there, or has changed."""
        name = obj["metadata"]["name"]
        self._objects[name] = obj
        for material in set(references(obj)):
            if not isinstance(self._held.get(material), Mapping):
                self._held[material] = await self._read(material)
        self._parse(name)

    def remove(self, name: str) -> None:
        """A policy is gone."""
        self._objects.pop(name, None)
        self._parsed.pop(name, None)

    async def refresh(self) -> bool:
        """Look again at what policies refer to; whether a policy is another one since then."""
        before = self.all
        for material in self._needed():
            found = await self._read(material)
            # An API server that is out of reach says nothing: what was read last holds.
            if not isinstance(found, _OutOfReach) or material not in self._held:
                self._held[material] = found
        needed = self._needed()  # the policies may have changed meanwhile
        self._held = {key: value for key, value in self._held.items() if key in needed}
        for name, obj in self._objects.items():
            if any(references(obj)):
                self._parse(name)
        return self.all != before

    def _needed(self) -> set[Material]:
        return {material for obj in self._objects.values() for material in references(obj)}

    def _parse(self, name: str) -> None:
        obj = self._objects[name]
        try:
            self._parsed[name] = parse_policy(obj, origin=f"TrustPolicy {name}", read=self._get)
        except ConfigError as error:
            # In its place stands a refusal, which the Stacks then show.
            refusal = faulty_policy(obj, error)
            if self._parsed.get(name) != refusal:
                log.error("%s", error, extra={"reason": error.reason})
            self._parsed[name] = refusal

    def _get(self, material: Material) -> bytes:
        if material.kind == "file":
            raise ConfigError("there are no files in a cluster", hint="use configMapRef, or pem")
        held = self._held.get(Material(material.kind, material.name))
        if isinstance(held, ConfigError):
            raise held
        if held is None or material.key not in held:
            raise ConfigError(f"{self._where(material)} has no key {material.key!r}")
        return held[material.key]

    async def _read(self, material: Material) -> _Held:
        namespace = self.client.access.namespace
        try:
            obj = await self.client.get(ObjectId("", material.kind, namespace, material.name))
        except StatusError as error:
            if error.status == 403 and material.kind == "Secret":
                return ConfigError(
                    f"the agent may not read the {self._where(material)}",
                    hint=f"'ocistate install --policy-secret {material.name}' allows just that",
                )
            return _OutOfReach(str(error))
        except ClusterError as error:
            return _OutOfReach(str(error))
        if obj is None:
            return ConfigError(f"the {self._where(material)} does not exist")
        return _data(material, obj)

    def _where(self, material: Material) -> str:
        return f"{material.kind} {self.client.access.namespace}/{material.name}"


class _OutOfReach(ConfigError):
    """An object that could not be read now."""


def _data(material: Material, obj: Mapping[str, Any]) -> _Held:
    data = {str(key): value for key, value in (obj.get("data") or {}).items()}
    binary = data if material.kind == "Secret" else obj.get("binaryData") or {}
    try:
        decoded = {key: base64.b64decode(value) for key, value in binary.items()}
    except (binascii.Error, TypeError, ValueError):
        return ConfigError(f"the {material} holds what is not base64")
    if material.kind == "Secret":
        return decoded
    return decoded | {key: str(value).encode() for key, value in data.items()}
