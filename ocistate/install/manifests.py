"""Everything a cluster needs to run the agent, as objects: what ``ocistate install`` prints.

The agent itself may read, and act as the appliers; it writes nothing but its Stacks' status and
Events. What a Stack may change is decided by the service account it names, ``ocistate-applier`` of
its own namespace unless it names another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ocistate.api.stack import DEFAULT_APPLIER, GROUP
from ocistate.channel.rings import Cluster
from ocistate.install.crds import crds
from ocistate.install.deployment import (
    AGENT,
    LABELS,
    agent_deployment,
    agent_disruption_budget,
    agent_service,
)

VIEW_LABEL: Final = f"{GROUP}/aggregate-to-agent-view"
"""A ClusterRole with this label, set to "true", adds to what the agent may read."""

TRUST_MAP: Final = "ocistate-trust"
_TRUST_FOLDER: Final = "/etc/ocistate/trust"


def install_objects(
    *,
    namespace: str,
    image: str,
    appliers: tuple[str, ...] = (),
    cluster_admin: bool = False,
    read_secrets: bool = False,
    policy_secrets: tuple[str, ...] = (),
    replicas: int = 1,
    shards: int = 1,
    webhooks: bool = False,
    cluster: Cluster | None = None,
    arguments: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The objects, in the order to apply them.

    ``appliers`` are names of service accounts, beside ``ocistate-applier``, that the agent may act
    as. With ``cluster_admin`` the applier of the agent's own namespace may do everything.
    ``read_secrets`` lets the agent see Secrets' metadata, which pruning them needs.
    ``policy_secrets`` are the Secrets of the agent's namespace that TrustPolicies refer to.
    ``replicas`` agents share the Stacks by the Leases of so many ``shards``; with 1 all but one
    stand by. ``webhooks`` makes a Service for them.
    """
    objects: list[dict[str, Any]] = [
        # Before the agent and its rights: one who deletes all of it in this order has the agent
        # remove the Stacks' objects while it can.
        *crds(),
        _namespace(namespace),
        *user_roles(),
        _account(namespace, AGENT),
        _cluster_role(AGENT, _agent_rules(appliers)),
        _binding(AGENT, AGENT, namespace, AGENT),
        *_lease_holder(namespace),
        *_view(namespace, read_secrets),
        *policy_reader(namespace, policy_secrets),
    ]
    if cluster_admin:
        objects += [
            _account(namespace, DEFAULT_APPLIER),
            _binding(f"{namespace}:{DEFAULT_APPLIER}", "cluster-admin", namespace, DEFAULT_APPLIER),
        ]
    if webhooks:
        objects.append(agent_service(namespace))
    if replicas > 1:
        objects.append(agent_disruption_budget(namespace))
    deployment = agent_deployment(
        namespace, image, replicas=replicas, shards=shards, cluster=cluster, arguments=arguments
    )
    return [*objects, deployment]


def _namespace(name: str) -> dict[str, Any]:
    labels = {**LABELS, "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _lease_holder(namespace: str) -> list[dict[str, Any]]:
    """The right to keep Leases, in the agent's own namespace."""
    name = f"{AGENT}-leases"
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "list", "create", "patch", "delete"],
    }
    return [
        _role(namespace, name, [rule]),
        _role_binding(namespace, name, "Role", name, AGENT),
    ]


def namespaced_objects(
    *,
    namespace: str,
    image: str,
    appliers: tuple[str, ...] = (),
    read_secrets: bool = False,
    replicas: int = 1,
    shards: int = 1,
    webhooks: bool = False,
    cluster: Cluster | None = None,
    arguments: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """An agent that looks after one namespace and has no right outside of it.

    Namespace and CRDs must be there; the TrustPolicies are files from the ConfigMap
    ``ocistate-trust``. What the agent may see in the namespace is what ``view`` shows there.
    """
    rules = [
        *_agent_rules(appliers, trust=False),
        # Whether the namespace goes away as a whole.
        {
            "apiGroups": [""],
            "resources": ["namespaces"],
            "resourceNames": [namespace],
            "verbs": ["get"],
        },
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "rolebindings"],
            "verbs": ["get", "list", "watch"],
        },
    ]
    if read_secrets:
        rules.append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]})
    view = f"{AGENT}-view"
    deployment = agent_deployment(
        namespace, image, replicas=replicas, shards=shards, cluster=cluster, arguments=arguments
    )
    pod = deployment["spec"]["template"]["spec"]
    pod["containers"][0]["args"] += ["--namespace", namespace, "--policies", _TRUST_FOLDER]
    pod["containers"][0]["volumeMounts"].append({"name": "trust", "mountPath": _TRUST_FOLDER})
    pod["volumes"].append({"name": "trust", "configMap": {"name": TRUST_MAP, "optional": True}})
    return [
        _account(namespace, AGENT),
        _role(namespace, AGENT, rules),
        _role_binding(namespace, AGENT, "Role", AGENT, AGENT),
        _role_binding(namespace, view, "ClusterRole", "view", AGENT),
        *_lease_holder(namespace),
        *([agent_service(namespace)] if webhooks else []),
        *([agent_disruption_budget(namespace)] if replicas > 1 else []),
        deployment,
    ]


def user_roles() -> list[dict[str, Any]]:
    """Who may edit or view a namespace may edit or view its Stacks, too."""
    edit = ["create", "delete", "deletecollection", "patch", "update"]
    view = ["get", "list", "watch"]
    roles = []
    for name, verbs, into in (
        ("ocistate-edit-stacks", [*view, *edit], ("edit", "admin")),
        ("ocistate-view-stacks", view, ("view",)),
    ):
        rule = {"apiGroups": [GROUP], "resources": ["stacks"], "verbs": verbs}
        role = _cluster_role(name, [rule])
        aggregated = {f"rbac.authorization.k8s.io/aggregate-to-{each}": "true" for each in into}
        role["metadata"]["labels"] = {**LABELS, **aggregated}
        roles.append(role)
    return roles


def applier_objects(namespace: str, role: str) -> list[dict[str, Any]]:
    """An applier that may do in its namespace what a ClusterRole allows."""
    return [
        _account(namespace, DEFAULT_APPLIER),
        _role_binding(namespace, DEFAULT_APPLIER, "ClusterRole", role, DEFAULT_APPLIER),
    ]


def _agent_rules(appliers: tuple[str, ...], *, trust: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "apiGroups": [GROUP],
            "resources": ["stacks", *(["trustpolicies"] if trust else [])],
            "verbs": ["get", "list", "watch"],
        },
        # For the finalizer: a Stack must not go before its objects are dealt with.
        {"apiGroups": [GROUP], "resources": ["stacks"], "verbs": ["patch"]},
        {"apiGroups": [GROUP], "resources": ["stacks/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts"],
            "resourceNames": sorted({DEFAULT_APPLIER, *appliers}),
            "verbs": ["impersonate"],
        },
    ]


def _view(namespace: str, read_secrets: bool) -> list[dict[str, Any]]:
    """What the agent may see: Kubernetes' own ``view`` (no Secrets), and what shapes a cluster."""
    name = f"{AGENT}-view"
    read = ["get", "list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "persistentvolumes"], "verbs": read},
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "verbs": read,
        },
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles", "clusterrolebindings", "roles", "rolebindings"],
            "verbs": read,
        },
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": [
                "mutatingwebhookconfigurations",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "validatingwebhookconfigurations",
            ],
            "verbs": read,
        },
        {"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": read},
        {
            "apiGroups": [
                "scheduling.k8s.io",
                "storage.k8s.io",
                "networking.k8s.io",
                "node.k8s.io",
            ],
            "resources": ["priorityclasses", "storageclasses", "ingressclasses", "runtimeclasses"],
            "verbs": read,
        },
    ]
    if read_secrets:
        rules.append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]})
    shape = _cluster_role(f"{name}-cluster", rules)
    shape["metadata"]["labels"] = {**LABELS, VIEW_LABEL: "true"}
    aggregated = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": LABELS},
        "aggregationRule": {
            "clusterRoleSelectors": [
                {"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
                {"matchLabels": {VIEW_LABEL: "true"}},
            ]
        },
    }
    return [shape, aggregated, _binding(name, name, namespace, AGENT)]


def policy_reader(namespace: str, secrets: tuple[str, ...]) -> list[dict[str, Any]]:
    """The right to read some Secrets by name, and no others; ConfigMaps may be read anyway."""
    if not secrets:
        return []
    name = f"{AGENT}-policies"
    rules = [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": sorted(set(secrets)),
            "verbs": ["get"],
        }
    ]
    return [
        _role(namespace, name, rules),
        _role_binding(namespace, name, "Role", name, AGENT),
    ]


def _role(namespace: str, name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "rules": rules,
    }


def _role_binding(namespace: str, name: str, kind: str, role: str, account: str) -> dict[str, Any]:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "roleRef": {"apiGroup": api, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def _account(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "automountServiceAccountToken": False,
    }


def _cluster_role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": LABELS},
        "rules": rules,
    }


def _binding(name: str, role: str, namespace: str, account: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": LABELS},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": role,
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
