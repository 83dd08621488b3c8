"""Which of a Stack's kinds cannot be seen, and what its health says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ocistate.apply.unlisted import is_broken, is_custom
from ocistate.errors import OcistateError
from ocistate.install.manifests import VIEW_LABEL
from ocistate.kube.discovery import kind_text
from ocistate.kube.errors import StatusError
from ocistate.objects import GroupKind
from ocistate.watch.informer import LIST_SECONDS, WatchKey

Troubles = Mapping[WatchKey, OcistateError]


def forbidden_kinds(troubles: Troubles, kinds: Collection[GroupKind]) -> list[str]:
    """Those of these kinds that may not be listed, by name."""
    return sorted(
        kind_text(kind)
        for key, error in troubles.items()
        if (kind := GroupKind(*key[:2])) in kinds
        and isinstance(error, StatusError)
        and error.status == 403
    )


def broken_kinds(
    troubles: Troubles, kinds: Collection[GroupKind]
) -> dict[GroupKind, OcistateError]:
    """Those of these kinds that cannot be listed, and why."""
    return {
        kind: error
        for key, error in troubles.items()
        if (kind := GroupKind(*key[:2])) in kinds and is_custom(*kind) and is_broken(error)
    }


def visibility_messages(
    forbidden: Collection[str],
    broken: Mapping[GroupKind, OcistateError],
    listed: Iterable[GroupKind],
    *,
    total: int,
    impersonate: bool,
) -> list[str]:
    """What a Stack's health says of kinds that are not seen, or only now and then.

    ``listed`` are those of its ``total`` kinds that are not watched. With ``impersonate`` the agent
    lists them by rights of its own, else as the kubeconfig's user.
    """
    messages = []
    if forbidden:
        who, way = "the agent", f"a ClusterRole with the label {VIEW_LABEL} gives it the right"
        if not impersonate:
            who, way = "the kubeconfig's user", "it needs the rights to list and watch them"
        messages.append(
            f"{who} may not list {', '.join(forbidden)}: neither drift there nor what to prune is "
            f"seen ({way})"
        )
    messages += [
        f"{kind_text(kind)} cannot be listed, and nothing of it is pruned: {error.message}"
        for kind, error in broken.items()
    ]
    if names := sorted(map(kind_text, listed)):
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        messages.append(
            f"{len(names)} of its {total} kinds are too many to be watched, and "
            f"listed every {LIST_SECONDS:.0f} s: {shown}"
        )
    return messages
