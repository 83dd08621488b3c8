"""Which artifacts of a repository are kept, and why: a decision on plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ocistate.oci.tags import select_tags

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRules:
    """What is kept: the ``keep`` newest, those younger than ``keep_for``, those with a tag.

    ``keep_tags`` are globs and ranges of versions. What does not say when it was created is kept,
    or is ``undated_oldest``: older than all that do. What has no tag is no matter of the rules, or
    with ``untagged`` of those of age.
    """

    keep: int = 1
    keep_for: timedelta | None = None
    keep_tags: tuple[str, ...] = ()
    undated_oldest: bool = False
    untagged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A manifest, with its tags. ``needs`` are the manifests it is nothing without."""

    digest: str
    tags: tuple[str, ...]
    created: datetime | None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionDecision:
    """What becomes of an artifact, and why."""

    artifact: Artifact
    keep: bool
    reason: str


def decide_retention(
    artifacts: Iterable[Artifact], rules: RetentionRules, pinned: Mapping[str, str], now: datetime
) -> list[RetentionDecision]:
    """Keep or remove each artifact, the newest first. ``pinned`` says of digests who names them.

    An artifact is removed only when nothing at all speaks for it. What a kept one needs is kept.
    One without a tag is none of the newest, however new.
    """
    ordered = sorted(artifacts, key=lambda a: (a.created or _NEVER, a.digest), reverse=True)
    newest = {artifact.digest for artifact in [a for a in ordered if a.tags][: rules.keep]}
    decisions = {
        artifact.digest: RetentionDecision(artifact=artifact, keep=bool(reason), reason=reason)
        for artifact in ordered
        for reason in (_reason(artifact, newest, rules, pinned, now),)
    }
    waiting = [item.artifact for item in decisions.values() if item.keep]
    while waiting:
        holder = waiting.pop()
        for digest in holder.needs:
            needed = decisions.get(digest)
            if needed is not None and not needed.keep:
                reason = f"{_name(holder)} needs it"
                decisions[digest] = RetentionDecision(
                    artifact=needed.artifact, keep=True, reason=reason
                )
                waiting.append(needed.artifact)
    return [
        item
        if item.keep
        else RetentionDecision(
            artifact=item.artifact, keep=False, reason=_against(item.artifact, rules)
        )
        for item in decisions.values()
    ]


def _reason(
    artifact: Artifact,
    newest: Collection[str],
    rules: RetentionRules,
    pinned: Mapping[str, str],
    now: datetime,
) -> str:
    """Why an artifact is kept; empty when nothing speaks for it."""
    if artifact.digest in pinned:
        return f"{pinned[artifact.digest]} names it"
    kept = select_tags(artifact.tags, rules.keep_tags)
    if kept:
        return f"the tag {kept[0]} is kept"
    if artifact.created is None and not rules.undated_oldest:
        return "it does not say when it was created"
    if artifact.digest in newest:
        return _newest(rules)
    if artifact.created is None or rules.keep_for is None:
        return ""
    young = now - artifact.created < rules.keep_for
    return f"younger than {show_age(rules.keep_for)}" if young else ""


def _against(artifact: Artifact, rules: RetentionRules) -> str:
    first = f"not {_newest(rules)}" if artifact.tags else "it has no tag"
    if artifact.created is None:
        return f"{first} and does not say when it was created"
    return first + ("" if rules.keep_for is None else f" and older than {show_age(rules.keep_for)}")


def _newest(rules: RetentionRules) -> str:
    return "the newest" if rules.keep == 1 else f"one of the {rules.keep} newest"


def show_age(age: timedelta) -> str:
    """``30d``, or ``36h`` where it is no whole number of days."""
    hours = age.total_seconds() / 3600
    return f"{hours:g}h" if hours % 24 else f"{hours / 24:g}d"


def _name(artifact: Artifact) -> str:
    return artifact.tags[0] if artifact.tags else artifact.digest
