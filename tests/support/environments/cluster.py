"""A Stack's place in a real cluster, and the people who meddle with it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocistate.apply.desired.prepare import Desired, prepare
from ocistate.apply.executor import apply
from ocistate.apply.observe import observe
from ocistate.apply.options import Options
from ocistate.apply.plan import Plan, make_plan
from ocistate.apply.result import ApplyOutcome, Result
from ocistate.kube.client import KubeClient
from ocistate.kube.kubeconfig import find_access
from ocistate.kube.transport import Transport
from ocistate.objects import GroupKind, ObjectId
from testbed.controlplane import ControlPlane
from testbed.process import patience
from testbed.tools import ensure
from tests.support.factories.objects import obj, resource


class Recorder(Transport):
    """A transport that writes down what it sends."""

    asked: list[str]

    async def send(self, method: str, path: str, **keywords: Any) -> bytes:
        self.asked.append(f"{method} {path}")
        return await super().send(method, path, **keywords)


def connect(kubeconfig: Path) -> tuple[KubeClient, list[str]]:
    """A client, and the list of the requests it sends."""
    transport = Recorder(find_access(kubeconfig))
    transport.asked = []
    return KubeClient(transport), transport.asked


@dataclass(slots=True)
class World:
    """Applies objects as the owner ``name`` into the namespace ``name``, which it makes."""

    cluster: ControlPlane
    name: str
    requests: list[str] = field(default_factory=list)

    def run(self, scenario: Callable[[KubeClient], Awaitable[None]]) -> None:
        """Run a scenario with a client of the administrator; ``requests`` are what it sends."""

        async def whole() -> None:
            client, self.requests = connect(self.cluster.kubeconfig)
            async with client:
                await scenario(client)

        asyncio.run(whole())

    def id(self, kind: str, name: str, group: str = "") -> ObjectId:
        return ObjectId(group, kind, self.name, name)

    async def desired(
        self,
        client: KubeClient,
        *objects: Mapping[str, Any],
        home: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Desired:
        kinds = await client.kinds(max_age=0.0)
        return prepare(
            [resource(each) for each in (home or obj("Namespace", self.name), *objects)],
            **{
                "owner": self.name,
                "artifact": "sha256:" + "0" * 64,
                "namespaced": kinds.namespaced,
                "namespace": self.name,
                **keywords,
            },
        )

    async def plan(
        self,
        client: KubeClient,
        desired: Desired,
        *,
        kinds: Iterable[GroupKind] | None = None,
        **keywords: Any,
    ) -> Plan:
        mine, others = await observe(client, desired, kinds=kinds)
        return make_plan(desired, mine, others, **keywords)

    async def sync(
        self,
        client: KubeClient,
        *objects: Mapping[str, Any],
        options: Options | None = None,
        adopt_from: tuple[str, ...] = (),
        **keywords: Any,
    ) -> ApplyOutcome:
        """One pass: look, plan, apply."""
        desired = await self.desired(client, *objects, **keywords)
        plan = await self.plan(client, desired, adopt_from=adopt_from)
        return await apply(client, plan, options)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What a person does, in the world's namespace."""
        done = subprocess.run(
            [
                str(ensure("kubectl")["kubectl"]),
                f"--kubeconfig={self.cluster.kubeconfig}",
                f"--namespace={self.name}",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def ok(outcome: ApplyOutcome) -> ApplyOutcome:
    """The outcome, which must have no failures."""
    assert outcome.ok, [str(each.error) for each in outcome.failed]
    return outcome


def results(outcome: ApplyOutcome) -> dict[str, Result]:
    """Results by the objects' names."""
    return {each.id.name: each for each in outcome.results}


async def eventually(check: Callable[[], Any], *, seconds: float = 60.0) -> None:
    """Wait until ``check`` is true; assert that it gets so."""
    begun = time.monotonic()
    while not check():
        waited = time.monotonic() - begun
        assert waited < patience(seconds), f"did not happen within {waited:.0f} s: {check}"
        await asyncio.sleep(0.02)
