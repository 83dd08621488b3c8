"""The cluster's TrustPolicies, with what they take from Secrets and ConfigMaps.

Those are read as the agent itself and from its own namespace alone: a policy is the cluster
administrator's, and what it refers to must be out of the tenants' reach too.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ocistate.agent.contain import unexpected
from ocistate.errors import ClusterError, ConfigError, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import Material, faulty_policy, parse_policy, references

log = logging.getLogger("ocistate.agent")

REFRESH_SECONDS: Final = 10.0
"""Between two looks at the Secrets and ConfigMaps that policies refer to."""

_CachedMaterial = Mapping[str, bytes] | ConfigError


@dataclass(frozen=True, slots=True)
class _Entry:
    """A policy's object, and what it takes from elsewhere."""

    obj: dict[str, Any]
    needs: frozenset[Material]


@dataclass(slots=True)
class Policies:
    """What the policies are, and what the objects they refer to held when last read.

    ``all`` goes from one whole set to the next: what takes time is done aside before.
    """

    client: KubeClient
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _parsed: dict[str, TrustPolicy] = field(default_factory=dict)
    _held: dict[Material, _CachedMaterial] = field(default_factory=dict)

    @property
    def all(self) -> tuple[TrustPolicy, ...]:
        """The policies; what can't be read is a refusal."""
        return tuple(self._parsed[name] for name in sorted(self._parsed))

    async def replace(self, objects: Iterable[dict[str, Any]]) -> None:
        """These are all policies there are."""
        entries = {obj["metadata"]["name"]: _entry(obj) for obj in objects}
        held = await self._look(need for entry in entries.values() for need in entry.needs)
        self._hold(held)
        self._entries = entries
        self._parse_all()

    async def put(self, obj: dict[str, Any]) -> None:
        """A policy is there, or has changed."""
        entry = _entry(obj)
        self._hold(await self._look(entry.needs))
        name = obj["metadata"]["name"]
        self._entries[name] = entry
        self._parsed[name] = self._parse(name, entry)

    def remove(self, name: str) -> None:
        """A policy is gone."""
        self._entries.pop(name, None)
        self._parsed.pop(name, None)

    async def refresh(self) -> bool:
        """Look again at what policies refer to; whether a policy is another one since then."""
        before = self.all
        fresh = {material: await self._read(material) for material in self._needed()}
        for material, found in fresh.items():
            # An API server that is out of reach says nothing: what was read last holds.
            if not isinstance(found, _OutOfReach) or material not in self._held:
                self._held[material] = found
        self._parse_all()
        return self.all != before

    async def _look(self, needed: Iterable[Material]) -> dict[Material, _CachedMaterial]:
        """What these hold: what is known of them, or else as it is now."""
        found = {}
        for material in set(needed):
            known = self._held.get(material)
            found[material] = known if isinstance(known, Mapping) else await self._read(material)
        return found

    def _hold(self, found: Mapping[Material, _CachedMaterial]) -> None:
        """Keep it, unless a refresh has found newer meanwhile."""
        for material, held in found.items():
            if not isinstance(self._held.get(material), Mapping):
                self._held[material] = held

    def _needed(self) -> set[Material]:
        return {material for entry in self._entries.values() for material in entry.needs}

    def _parse_all(self) -> None:
        needed = self._needed()
        self._held = {key: value for key, value in self._held.items() if key in needed}
        self._parsed = {name: self._parse(name, entry) for name, entry in self._entries.items()}

    def _parse(self, name: str, entry: _Entry) -> TrustPolicy:
        try:
            return parse_policy(entry.obj, origin=f"TrustPolicy {name}", read=self._get)
        except ConfigError as error:
            fault: OcistateError = error
        except Exception as error:
            fault = unexpected(f"reading the TrustPolicy {name}", error)
        # Instead there is a refusal, which the Stacks then show.
        try:
            refusal = faulty_policy(entry.obj, fault)
        except Exception:  # not even its globs can be read: it refuses everything
            refusal = TrustPolicy(name=name, repositories=(), fault=str(fault))
        if self._parsed.get(name) != refusal:
            log.error("%s", fault, extra={"reason": fault.reason})
        return refusal

    def _get(self, material: Material) -> bytes:
        if material.kind == "file":
            raise ConfigError("there are no files in a cluster", hint="use configMapRef, or pem")
        held = self._held.get(Material(material.kind, material.name))
        if isinstance(held, ConfigError):
            raise held
        if held is None or material.key not in held:
            raise ConfigError(f"{self._where(material)} has no key {material.key!r}")
        return held[material.key]

    async def _read(self, material: Material) -> _CachedMaterial:
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
        try:
            return _data(material, obj)
        except Exception as error:
            return ConfigError(unexpected(f"reading the {self._where(material)}", error).message)

    def _where(self, material: Material) -> str:
        return f"{material.kind} {self.client.access.namespace}/{material.name}"


def _entry(obj: dict[str, Any]) -> _Entry:
    try:
        return _Entry(obj, frozenset(references(obj)))
    except Exception as error:  # then parsing it says what is wrong
        log.warning("what a TrustPolicy refers to cannot be read: %s", type(error).__name__)
        return _Entry(obj, frozenset())


class _OutOfReach(ConfigError):
    """An object that could not be read now."""


def _data(material: Material, obj: Mapping[str, Any]) -> _CachedMaterial:
    data = {str(key): value for key, value in (obj.get("data") or {}).items()}
    binary = data if material.kind == "Secret" else obj.get("binaryData") or {}
    try:
        decoded = {key: base64.b64decode(value) for key, value in binary.items()}
    except (binascii.Error, TypeError, ValueError):
        return ConfigError(f"the {material} holds what is not base64")
    if material.kind == "Secret":
        return decoded
    return decoded | {key: str(value).encode() for key, value in data.items()}
