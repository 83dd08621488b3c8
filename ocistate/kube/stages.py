"""In which order kinds are applied; deletion goes the other way round."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ApplyStage(IntEnum):
    """What must be there before what."""

    NAMESPACES = 0
    DEFINITIONS = 1
    CLASSES = 2
    SETTINGS = 3
    ACCESS = 4
    SERVICES = 5
    WORKLOADS = 6
    ROUTES = 7
    CUSTOM = 8
    WEBHOOKS = 9


_STAGES: Final = {
    ApplyStage.NAMESPACES: "Namespace",
    ApplyStage.DEFINITIONS: "CustomResourceDefinition",
    ApplyStage.CLASSES: (
        "PriorityClass StorageClass IngressClass RuntimeClass VolumeAttributesClass CSIDriver "
        "DeviceClass FlowSchema PriorityLevelConfiguration ResourceQuota LimitRange NetworkPolicy"
    ),
    ApplyStage.SETTINGS: "ServiceAccount Secret ConfigMap PersistentVolume PersistentVolumeClaim",
    ApplyStage.ACCESS: "ClusterRole Role ClusterRoleBinding RoleBinding",
    ApplyStage.SERVICES: "Service Endpoints EndpointSlice PodDisruptionBudget",
    ApplyStage.WORKLOADS: (
        "Deployment StatefulSet DaemonSet ReplicaSet ReplicationController Pod Job CronJob "
        "PodTemplate"
    ),
    ApplyStage.ROUTES: "Ingress HorizontalPodAutoscaler APIService",
    ApplyStage.WEBHOOKS: (
        "ValidatingWebhookConfiguration MutatingWebhookConfiguration ValidatingAdmissionPolicy "
        "ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"
    ),
}
_BY_KIND: Final = {kind: stage for stage, kinds in _STAGES.items() for kind in kinds.split()}

# A dot does not tell: gateway.networking.k8s.io and snapshot.storage.k8s.io come with CRDs.
_BUILT_IN: Final = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)


def stage_of(group: str, kind: str) -> ApplyStage:
    """The stage of a kind; kinds of other groups than Kubernetes' own are CUSTOM."""
    if group not in _BUILT_IN:
        return ApplyStage.CUSTOM
    return _BY_KIND.get(kind, ApplyStage.ROUTES)
