"""Apply verified content to a cluster once: plan, staged apply, prune, wait for health.

What earlier digests left behind is found by the label on the objects themselves, so that nothing
has to be remembered between two runs, and a run that was cut short is completed by the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ocistate.apply.desired.prepare import ApplyMode, Desired, DesiredObject, prepare
from ocistate.apply.executor import apply
from ocistate.apply.observe import observe
from ocistate.apply.options import Options
from ocistate.apply.plan import Plan, make_plan
from ocistate.apply.result import ApplyOutcome, Result
from ocistate.apply.unlisted import blind
from ocistate.errors import ClusterError
from ocistate.kube.client import KubeClient
from ocistate.objects import GroupKind, ObjectId
from ocistate.ops.artifact.fetch import Content
from ocistate.watch.wait import Waited, lets_on, wait_healthy


def owner_of(repository: str, namespace: str, name: str) -> str:
    """The owner's label of a one-shot apply: the same for the same release, for ever.

    ``name`` tells two releases from one repository apart; empty: the repository itself does.
    """
    text = "\n".join((name or repository, namespace))
    return "cli-" + hashlib.sha256(text.encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan ready to be carried out: what is wanted, and what that means for the live objects.

    ``unlisted`` are the kinds that are broken: nothing is seen and nothing pruned of them."""

    desired: Desired
    plan: Plan
    unlisted: Mapping[GroupKind, ClusterError]


async def plan_apply(
    client: KubeClient,
    content: Content,
    *,
    owner: str,
    namespace: str,
    prune: bool = True,
    adopt_from: Sequence[str] = (),
) -> Planned:
    """Compare content with a cluster. Raises ClusterError, ArtifactError."""
    kinds = await client.kinds()
    desired = prepare(
        content.resources().values(),
        owner=owner,
        artifact=content.digest,
        namespaced=kinds.namespaced,
        namespace=namespace,
    )
    unlisted: dict[GroupKind, ClusterError] = {}
    mine, others = await observe(client, desired, on_unlisted=unlisted.__setitem__)
    desired = blind(desired, unlisted)
    plan = make_plan(desired, mine, others, prune=prune, adopt_from=adopt_from)
    return Planned(desired=desired, plan=plan, unlisted=unlisted)


async def carry_out(
    client: KubeClient,
    planned: Planned,
    *,
    dry_run: bool,
    on_result: Callable[[Result], None],
    wave_timeout: float | None = None,
) -> ApplyOutcome:
    """Apply and prune. With ``dry_run`` the API server checks everything and stores nothing.

    With ``wave_timeout``, in seconds, each wave waits until the one before is healthy.
    """

    async def gate(ids: Sequence[ObjectId]) -> None:
        owner = planned.desired.owner
        ids = [id for id in ids if _is_judged(planned.desired.by_id[id])]
        waited = await wait_healthy(
            client,
            ids,
            owner=owner,
            timeout=wave_timeout or 0.0,
            desired=planned.desired,
            enough=lets_on,
        )
        if error := waited.error():
            raise error

    options = Options(
        dry_run=dry_run, on_result=on_result, gate=gate if wave_timeout is not None else None
    )
    return await apply(client, planned.plan, options)


async def wait_applied(client: KubeClient, planned: Planned, timeout: float) -> Waited:
    """Wait until everything applied is healthy, for ``timeout`` seconds at most."""
    ids = [wanted.id for wanted in planned.desired.wanted if _is_judged(wanted)]
    desired = planned.desired
    return await wait_healthy(client, ids, owner=desired.owner, timeout=timeout, desired=desired)


def _is_judged(wanted: DesiredObject) -> bool:
    """Whether its health is ours to wait for: what ifnotpresent found there is somebody else's."""
    return wanted.mode not in (ApplyMode.IGNORE, ApplyMode.IF_NOT_PRESENT)
