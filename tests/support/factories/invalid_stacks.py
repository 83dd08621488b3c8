"""Stacks that one tenant may write and that must hurt no one: refused by the schema and the parser.

Each is (the path of the wrong field, the object).
"""

from __future__ import annotations

import copy
from typing import Any, Final

GOOD: Final[dict[str, Any]] = {
    "apiVersion": "ocistate.dev/v1alpha1",
    "kind": "Stack",
    "metadata": {"name": "shop"},
    "spec": {"source": {"repository": "oci://h.io/shop", "tag": "v1"}},
}

_NINES: Final = "9" * 400

_FIELDS: Final[dict[str, list[Any]]] = {
    "source.interval": [
        f"{_NINES}h", f"{_NINES}s", f"0.{_NINES}s", "999999h", "1e9s", "-1s", "0s", "inf", "nan",
        "٣s", "1h\n", 60,
    ],
    "wait.timeout": [f"{_NINES}m", f"{_NINES}ms", "876001h", "0s", "inf"],
    "maxPrunePercent": [10**30, 101, -1, 1.5],
    "serviceAccountName": ["größe", "a/b", "..", "a\nb", "A", "a" * 254, "-a"],
    "namespace": ["größe", "a.b", "..", "a\nb", "a" * 64],
    "trust.policy": ["größe", "../x", "a\nb"],
    "source.repository": ["oci://h.io/größe", "oci://h.io/a\nb", f"oci://h.io/{'a' * 600}"],
    "source.tag": ["größe", "a\nb", "../x", "v" * 129],
    "source.path": ["../x", "a/../b", "a\nb", "a" * 1025, ".."],
    "source.channelRepository": ["oci://h.io/größe"],
    "source.pullSecretRef.name": ["..", "größe", "a\nb", "a/b"],
    "source.caSecretRef.name": [".."],
    "source.certSecretRef.name": [".."],
    "report.pushSecretRef.name": [".."],
    "target.kubeconfigSecretRef.name": ["..", "größe"],
    "target.context": ["a\nb", "a" * 1025],
    "dependsOn": [[{"name": ".."}], [{"name": "a", "namespace": "a/b"}], [{"name": "a"}] * 201],
    "adoptFrom": [[{"name": "größe"}]],
    "handOverTo": [[{"name": "a\nb"}]],
    "ignore": [
        [{"kind": kind, "name": name, "jsonPointers": [pointer]}]
        for kind, name, pointer in (
            ("größe", "a", "/spec"),
            ("ConfigMap", "a\nb", "/spec"),
            ("ConfigMap", "a", "spec"),
            ("ConfigMap", "a", "/"),
            ("ConfigMap", "a", "/spec/a\nb"),
            ("ConfigMap", "a", "/spec/~2"),
            ("ConfigMap", "a", "/" + "a" * 1024),
            ("ConfigMap", "a", "/kind"),
            ("ConfigMap", "a", "/apiVersion"),
            ("ConfigMap", "a", "/metadata"),
            ("ConfigMap", "a", "/metadata/name"),
            ("ConfigMap", "a", "/metadata/namespace"),
            ("ConfigMap", "a", "/metadata/labels"),
            ("ConfigMap", "a", "/metadata/annotations"),
            ("ConfigMap", "a", "/metadata/labels/ocistate.dev~1stack"),
            ("ConfigMap", "a", "/metadata/annotations/ocistate.dev~1digest"),
            ("ConfigMap", "a", "/metadata/labels/a/b"),
            ("ConfigMap", "a", "/metadata/ownerReferences/0"),
        )
    ],
    "wait.checks": [
        [{"apiVersion": "größe/v1", "kind": "A", "healthy": "true"}],
        [{"apiVersion": "x.io/v1", "kind": "A B", "healthy": "true"}],
        [{"apiVersion": "x.io/v1", "kind": "A", "healthy": "true || " * 200 + "true"}],
    ],
}  # fmt: skip


def _with(path: str, value: Any) -> dict[str, Any]:
    obj = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    node = obj["spec"]
    for part in way:
        node = node.setdefault(part, {})
    node[last] = value
    if path == "source.channelRepository":
        obj["spec"]["source"] |= {"channel": "prod"}
        del obj["spec"]["source"]["tag"]
    return obj


WRONG: Final = [(path, _with(path, value)) for path, values in _FIELDS.items() for value in values]
WRONG_POINTERS: Final = [
    {**GOOD, "spec": {"source": {"repository": "oci://h.io/shop", key: value}}}
    for key, values in {
        "channel": ["größe", "a\nb", "..", ""],
        "semver": ["größe", "^1\n2", "^1" * 200, ""],
        "digest": ["sha256:0", ""],
    }.items()
    for value in values
]


SANE: list[dict[str, Any]] = [
    {},
    {"serviceAccountName": "", "namespace": "", "trust": {"policy": ""}},
    {"wait": {"timeout": "1h30m", "checks": [
        {"apiVersion": "example.com/v1", "kind": "Thing", "healthy": "a == 1 &&\nb == 2"}]}},
    {"ignore": [{"kind": "Deployment", "name": "web", "jsonPointers": [
        "/spec/replicas", "/spec/a~1b/0", "/metadata/labels/team", "/metadata/annotations/x~1y"]}]},
    {"target": {"kubeconfigSecretRef": {"name": "edge", "key": "kube.config"},
                "context": "arn:aws:eks:eu:1:cluster/Größe und mehr"}},
    {"dependsOn": [{"name": "infra"}, {"name": "x", "namespace": "y"}]},
    {"report": {"repository": "h.io/reports", "pushSecretRef": {"name": "push"}}},
]  # fmt: skip
SOURCES: list[dict[str, Any]] = [
    {"channel": "prod", "channelRepository": "h.io:5000/channels"},
    {"semver": ">=1.2.0-0 <2 || ^3"},
    {"digest": "sha256:" + "0a" * 32},
    {"tag": "v1.2_x", "path": "./overlays/größe/", "interval": "500ms"},
    {"tag": "v1", "path": "", "mirrors": [{"repository": "oci://[::1]:5000/a/b"}]},
]


def sane() -> list[dict[str, Any]]:
    """Stacks that may look odd, and are none of that."""
    found = [{**GOOD, "spec": {**GOOD["spec"], **spec}} for spec in SANE]
    return found + [
        {**GOOD, "spec": {"source": {"repository": "oci://h.io/shop", **source}}}
        for source in SOURCES
    ]
