"""Who may reconcile what: leases as they are seen, and what to do about them. Pure.

Stacks are dealt out to *shards* by their name, and each shard has a Lease. Whoever holds it is the
only one to reconcile its Stacks. One shard is plain leader election.

Clocks are never compared between machines: a Lease has run out when it was seen unchanged for its
duration, by the watcher's own clock. Its holder stops earlier, `VALID_SHARE` of the duration after
it last *began* to renew it, so that there is a gap in which no one writes.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ocistate.api.stack import GROUP
from ocistate.objects import StackKey
from ocistate.text import whole_number

ROLE_LABEL: Final = f"{GROUP}/lease"
SHARDS_ANNOTATION: Final = f"{GROUP}/shards"
VALID_SHARE: Final = 0.7
MOST_SHARDS: Final = 1024
_PREFIX: Final = {"shard": "ocistate-shard-", "member": "ocistate-agent-"}
_FORGOTTEN_AFTER: Final = 10.0


def shard_of(key: StackKey, shards: int) -> int:
    """The shard of a Stack, from its namespace and name: the same for everybody."""
    digest = hashlib.sha256("/".join(key).encode()).digest()
    return int.from_bytes(digest[:8]) % shards


def lease_name(role: str, which: int | str) -> str:
    """The name of a shard's Lease, or of a member's."""
    return f"{_PREFIX[role]}{which}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedLease:
    """A Lease as one watcher sees it. ``since``: when, by its own clock, it saw it change last."""

    name: str
    role: str
    holder: str
    seconds: float
    shards: int
    version: str
    since: float

    def live(self, now: float) -> bool:
        """Whether an agent holds it, as far as is known."""
        return bool(self.holder) and now - self.since < self.seconds

    @property
    def shard(self) -> int:
        """Its number; -1 if it is not a shard's."""
        number = self.name.removeprefix(_PREFIX["shard"])
        found = whole_number(number, most=MOST_SHARDS) if self.role == "shard" else None
        return -1 if found is None else found


def see(
    objects: Iterable[Mapping[str, Any]], before: Mapping[str, ObservedLease], now: float
) -> dict[str, ObservedLease]:
    """What a list of Leases says, by name; one that has not changed keeps its ``since``."""
    found = {}
    for obj in objects:
        metadata, spec = obj["metadata"], obj.get("spec") or {}
        name, version = metadata["name"], metadata["resourceVersion"]
        old = before.get(name)
        number = (metadata.get("annotations") or {}).get(SHARDS_ANNOTATION, "")
        found[name] = ObservedLease(
            name=name,
            role=(metadata.get("labels") or {}).get(ROLE_LABEL, ""),
            holder=spec.get("holderIdentity") or "",
            seconds=float(spec.get("leaseDurationSeconds") or 0),
            shards=whole_number(number, most=MOST_SHARDS) or 0,
            version=version,
            since=old.since if old is not None and old.version == version else now,
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDecision:
    """What one agent should do now, by shard."""

    take: tuple[int, ...] = ()
    give: tuple[int, ...] = ()
    work: frozenset[int] = frozenset()
    """Those it holds and may work on."""
    forget: tuple[str, ...] = ()
    """Leases of members that are long gone."""


def choose(
    seen: Mapping[str, ObservedLease], held: Iterable[int], *, me: str, shards: int, now: float
) -> LeaseDecision:
    """Decide from what is seen.

    Agents that were started with another number of shards deal the Stacks out in another way, and
    may never work beside us. The Lease of shard 0 has the number that counts. Every agent first
    takes a Lease, then looks, and only then works: of two that take at the same time with different
    numbers, at least one sees the other.
    """
    mine = set(held)
    by_shard = {each.shard: each for each in seen.values() if each.shard >= 0}
    first = by_shard.get(0)
    others = {n: each for n, each in by_shard.items() if each.live(now) and each.holder != me}
    if first is not None and first.shards != shards and (0 in others or mine - {0}):
        return LeaseDecision(give=tuple(sorted(mine)))
    strangers = any(each.shards != shards for each in others.values())
    agreed = first is not None and first.shards == shards
    members = {each.holder for each in seen.values() if each.role == "member" and each.live(now)}
    ranked = sorted(members | {me})
    share = shards // len(ranked) + (ranked.index(me) < shards % len(ranked))
    free = [n for n in range(shards) if n not in others and n not in mine]
    wanted = [n for n in free if n == 0 or agreed]
    gone = tuple(
        each.name
        for each in seen.values()
        if each.role == "member" and now - each.since > _FORGOTTEN_AFTER * max(each.seconds, 1.0)
    )
    # Those with the highest numbers go first, so that shard 0 does not wander.
    surplus = sorted(mine, reverse=True)[: max(0, len(mine) - share)]
    return LeaseDecision(
        take=tuple(wanted[: max(0, share - len(mine))]),
        give=tuple(surplus),
        work=frozenset(mine - set(surplus)) if agreed and not strangers else frozenset(),
        forget=gone,
    )
