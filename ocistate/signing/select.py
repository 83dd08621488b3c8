"""Which TrustPolicy speaks of a repository: globs, and the most specific one wins.

No policy for a repository means no: what nobody vouches for is not applied. Two globs that are
equally specific are an error and not a choice.
"""

from __future__ import annotations

from collections.abc import Iterable

from ocistate.errors import ConfigError, NoPolicy
from ocistate.signing.globs import matches, rank
from ocistate.signing.policy import TrustPolicy


def select_policy(
    policies: Iterable[TrustPolicy], repository: str, name: str | None = None
) -> TrustPolicy:
    """The policy for a repository, named as ``Reference.name`` has it: the most specific one.

    With ``name``, that one, and it must speak of the repository. Raises NoPolicy, ConfigError.
    """
    policies = tuple(policies)
    if name is not None and not any(policy.name == name for policy in policies):
        raise NoPolicy(f"there is no TrustPolicy {name!r}", hint="create it, or name another")
    best: list[tuple[tuple[int, int], TrustPolicy]] = []
    for policy in policies:
        if name is not None and policy.name != name:
            continue
        ranks = [rank(glob) for glob in policy.repositories if matches(glob, repository)]
        if ranks:
            best.append((max(ranks), policy))
    if not best:
        which = f"the TrustPolicy {name!r} does not speak" if name else "no TrustPolicy speaks"
        raise NoPolicy(
            f"{which} of {repository}", hint="add the repository to a policy's spec.repositories"
        )
    top = max(rank for rank, _ in best)
    winners = [policy for rank, policy in best if rank == top]
    if len(winners) > 1:
        names = " and ".join(sorted(policy.name for policy in winners))
        raise ConfigError(
            f"the TrustPolicies {names} speak of {repository} equally specifically",
            hint="make one of their globs more specific, or name one in spec.trust.policy",
        )
    return winners[0]
