"""Artifacts, TrustPolicies and Stacks for the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ocistate.artifact.pack import PackOptions, Provenance, pack
from ocistate.oci import open_store
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.artifact.push import push_artifact
from ocistate.ops.signing.sign import sign_artifact
from ocistate.reference import parse_reference
from tests.support.factories.keys import Key


@dataclass(frozen=True)
class Publisher:
    """Puts artifacts into one repository, as `push --sign` does."""

    reference: str
    key: Key

    def push(
        self,
        objects: Sequence[Mapping[str, Any]] | Mapping[str, bytes],
        tag: str = "prod",
        *,
        sign: Key | bool | None = True,
    ) -> str:
        """Push objects (one file each) or files; sign with the own key, another one, or none."""
        files = (
            dict(objects)
            if isinstance(objects, Mapping)
            else {
                f"{number:03}-{obj['kind'].lower()}.yaml": yaml.safe_dump(dict(obj)).encode()
                for number, obj in enumerate(objects)
            }
        )
        chosen = self.key if sign is True else sign or None
        return asyncio.run(self._push(files, tag, chosen))

    def point(self, tag: str, digest: str) -> None:
        """Move a tag."""

        async def move() -> None:
            async with open_store(parse_reference(self.reference)) as store:
                await store.push_manifest(await store.fetch_manifest(digest), tag)

        asyncio.run(move())

    async def _push(self, files: dict[str, bytes], tag: str, key: Key | None) -> str:
        packed = pack(
            files,
            provenance=Provenance(revision="main@sha1:" + "1" * 40),
            options=PackOptions(allow_secrets=True),
        )
        async with open_store(parse_reference(self.reference)) as store:
            if key is not None:
                pushed = await push_artifact(store, packed, [])
                await sign_artifact(store, pushed.descriptor, key.signer)
            return (await push_artifact(store, packed, [tag])).descriptor.digest

    @property
    def blobs(self) -> Path:
        """The blobs' folder of a layout."""
        store = open_store(parse_reference(self.reference))
        assert isinstance(store, LayoutStore)
        return Path(parse_reference(self.reference).repository) / "blobs" / "sha256"


def policy(*keys: Key, name: str = "default", repositories: str = "**", **spec: Any) -> Any:
    """A TrustPolicy that trusts these keys."""
    return {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "TrustPolicy",
        "metadata": {"name": name},
        "spec": {
            "repositories": [repositories],
            "keys": [{"pem": key.pem} for key in keys],
            **spec,
        },
    }


def stack(name: str, repository: str, *, namespace: str = "", **spec: Any) -> dict[str, Any]:
    """A Stack; what ``source`` says is added to the repository, tag and a short interval."""
    source = {"repository": repository, "tag": "prod", "interval": "300ms"} | spec.pop("source", {})
    return {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "spec": {"source": {k: v for k, v in source.items() if v is not None}, **spec},
    }


def config_map(name: str, namespace: str = "", **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "data": data,
    }
