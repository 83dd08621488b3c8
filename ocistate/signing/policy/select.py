"""Which TrustPolicy covers a repository: globs, and the most specific one wins.

No policy for a repository means no: what no one vouches for is not applied. Two globs that are
equally specific are an error and not a choice.
"""

from __future__ import annotations

from collections.abc import Iterable

from ocistate.errors import ConfigError, NoPolicy
from ocistate.signing.policy.globs import matches, rank
from ocistate.signing.policy.model import TrustPolicy


def select_policy(
    policies: Iterable[TrustPolicy], repository: str, name: str | None = None
) -> TrustPolicy:
    """The policy for a repository, named as ``Reference.name`` has it: the most specific one.

    ``name`` may choose between policies that are equally specific, and nothing else: who
    writes a Stack must not escape a strict policy by naming a wider one. A policy that can't be
    read refuses what it would have decided. Raises NoPolicy, ConfigError.
    """
    policies = tuple(policies)
    if name is not None and not any(policy.name == name for policy in policies):
        raise NoPolicy(f"there is no TrustPolicy {name!r}", hint="create it, or name another")
    for policy in policies:
        if policy.fault and not policy.repositories:
            raise _fault(policy)  # what it was meant for can't be known
    ranked = [(_best_rank(policy, repository), policy) for policy in policies]
    top = max((rank for rank, _ in ranked if rank), default=None)
    winners = [policy for rank, policy in ranked if rank and rank == top]
    if name is not None and winners and name not in {policy.name for policy in winners}:
        raise NoPolicy(
            f"the TrustPolicy {name!r} does not decide on {repository}: {_names(winners)} does",
            hint="name that one in spec.trust.policy, or none",
        )
    if not winners:
        raise NoPolicy(
            f"no TrustPolicy covers {repository}",
            hint="add the repository to a policy's spec.repositories",
        )
    if name is not None:
        winners = [policy for policy in winners if policy.name == name]
    if len(winners) > 1:
        raise ConfigError(
            f"the TrustPolicies {_names(winners)} cover {repository} equally specifically",
            hint="make one of their globs more specific, or name one in spec.trust.policy",
        )
    if winners[0].fault:
        raise _fault(winners[0])
    return winners[0]


def _best_rank(policy: TrustPolicy, repository: str) -> tuple[int, int] | None:
    ranks = (rank(glob) for glob in policy.repositories if matches(glob, repository))
    return max(ranks, default=None)


def _names(policies: Iterable[TrustPolicy]) -> str:
    return " and ".join(sorted(policy.name for policy in policies))


def _fault(policy: TrustPolicy) -> ConfigError:
    return ConfigError(
        f"the TrustPolicy {policy.name!r} can't be read: {policy.fault}",
        hint="fix it; until then it refuses what it would decide on",
    )
