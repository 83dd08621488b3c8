"""Health of Kubernetes' own kinds, one rule each; of others' kinds, see `thirdparty`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ocistate.health.model import (
    HEALTHY,
    Health,
    HealthRule,
    HealthStatus,
    condition_text,
    conditions_of,
    not_observed,
)
from ocistate.health.thirdparty import OTHER_LATER, OTHER_RULES
from ocistate.objects import KINDS_WITHOUT_STATUS, GroupKind

# Reasons of waiting containers that do not go away by waiting.
_STUCK: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)


def _progress(message: str) -> Health:
    return Health(HealthStatus.PROGRESSING, message)


def _parts(obj: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return obj.get("spec") or {}, obj.get("status") or {}


def _deployment(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    conditions = conditions_of(obj)
    if spec.get("paused"):
        return Health(HealthStatus.SUSPENDED, "its rollout is paused")
    if (behind := _seen(obj)) is not None:
        return behind
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Health(HealthStatus.DEGRADED, condition_text(progressing))
    failing = conditions.get("ReplicaFailure", {})
    if failing.get("status") == "True":
        return Health(HealthStatus.DEGRADED, condition_text(failing))
    want = _number(spec, "replicas", 1)
    updated = _number(status, "updatedReplicas")
    total = _number(status, "replicas")
    available = _number(status, "availableReplicas")
    if updated < want:
        return _progress(f"{updated} of {want} pods updated")
    if total > updated:
        return _progress(f"{total - updated} old pods are still there")
    if available < want:
        return _progress(f"{available} of {want} pods available")
    return HEALTHY


def _stateful_set(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    if (behind := _seen(obj)) is not None:
        return behind
    want = _number(spec, "replicas", 1)
    ready = _number(status, "readyReplicas")
    strategy = spec.get("updateStrategy") or {}
    if ready < want:
        return _progress(f"{ready} of {want} pods ready")
    if strategy.get("type") == "OnDelete":
        return HEALTHY
    partition = _number(strategy.get("rollingUpdate") or {}, "partition")
    updated = _number(status, "updatedReplicas")
    if partition:
        if updated < want - partition:
            return _progress(f"{updated} of {want - partition} pods updated, up to the partition")
        return HEALTHY
    if status.get("currentRevision") != status.get("updateRevision"):
        return _progress(f"{updated} of {want} pods updated")
    if _number(status, "replicas") > want:
        return _progress(f"{_number(status, 'replicas') - want} pods too many")
    return HEALTHY


def _daemon_set(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    if (behind := _seen(obj)) is not None:
        return behind
    if "desiredNumberScheduled" not in status:
        return _progress("its controller has not counted the nodes yet")
    want = _number(status, "desiredNumberScheduled")
    updated = _number(status, "updatedNumberScheduled")
    available = _number(status, "numberAvailable")
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < want:
        return _progress(f"{updated} of {want} pods updated")
    if available < want:
        return _progress(f"{available} of {want} pods available")
    return HEALTHY


def _replica_set(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    if (behind := _seen(obj)) is not None:
        return behind
    failing = conditions_of(obj).get("ReplicaFailure", {})
    if failing.get("status") == "True":
        return Health(HealthStatus.DEGRADED, condition_text(failing))
    want = _number(spec, "replicas", 1)
    available = _number(status, "availableReplicas")
    return HEALTHY if available >= want else _progress(f"{available} of {want} pods available")


def _job(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    conditions = conditions_of(obj)
    for type_ in GroupKind("Failed", "FailureTarget"):
        if conditions.get(type_, {}).get("status") == "True":
            return Health(HealthStatus.DEGRADED, condition_text(conditions[type_]))
    if conditions.get("Complete", {}).get("status") == "True":
        return Health(HealthStatus.HEALTHY, "complete")
    if spec.get("suspend") or conditions.get("Suspended", {}).get("status") == "True":
        return Health(HealthStatus.SUSPENDED, "suspended")
    done, failed = _number(status, "succeeded"), _number(status, "failed")
    want = _number(spec, "completions", 1)
    return _progress(f"{done} of {want} pods done" + (f", {failed} failed" if failed else ""))


def _cron_job(obj: Mapping[str, Any]) -> Health:
    spec, _ = _parts(obj)
    return Health(HealthStatus.SUSPENDED, "suspended") if spec.get("suspend") else HEALTHY


def _pod(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    phase = status.get("phase")
    if phase == "Succeeded":
        return Health(HealthStatus.HEALTHY, "ended well")
    if phase == "Failed":
        return Health(
            HealthStatus.DEGRADED, str(status.get("message") or status.get("reason") or "failed")
        )
    for each in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            detail = f": {waiting['message']}" if waiting.get("message") else ""
            return Health(
                HealthStatus.DEGRADED, f"container {each.get('name')}: {waiting['reason']}{detail}"
            )
    conditions = conditions_of(obj)
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return _progress(f"cannot be scheduled: {condition_text(scheduled)}")
    if conditions.get("Ready", {}).get("status") == "True":
        return HEALTHY
    if phase == "Running" and spec.get("restartPolicy") in GroupKind("Never", "OnFailure"):
        return HEALTHY  # a task under way: it never says it is ready
    return _progress(
        condition_text(conditions["Ready"]) if "Ready" in conditions else "not started yet"
    )


# Both are set when a volume is being made: the second one only when a consumer has a node.
_CLAIM_BEGUN: Final = frozenset(
    {
        "volume.kubernetes.io/selected-node",
        "volume.kubernetes.io/storage-provisioner",
        "volume.beta.kubernetes.io/storage-provisioner",
    }
)


def _claim(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    phase = status.get("phase")
    if phase == "Bound":
        return HEALTHY
    if phase == "Lost":
        return Health(HealthStatus.DEGRADED, "its volume is lost")
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    name = spec.get("storageClassName")
    if name and not spec.get("volumeName") and _CLAIM_BEGUN.isdisjoint(annotations):
        # A class that binds at once begins within moments. If there is no such class, the
        # consumer says so.
        return Health(HealthStatus.SUSPENDED, f"waits for its first consumer, by its class {name}")
    return _progress("not bound to a volume yet")


def _volume(obj: Mapping[str, Any]) -> Health:
    _, status = _parts(obj)
    if status.get("phase") == "Failed":
        return Health(HealthStatus.DEGRADED, str(status.get("message") or "failed"))
    if status.get("phase") in ("Available", "Bound", "Released"):
        return HEALTHY
    return _progress("not available yet")


def _service(obj: Mapping[str, Any]) -> Health:
    spec, status = _parts(obj)
    if spec.get("type") != "LoadBalancer":
        return HEALTHY
    if (status.get("loadBalancer") or {}).get("ingress"):
        return HEALTHY
    return _progress("its load balancer has no address yet")


def _definition(obj: Mapping[str, Any]) -> Health:
    conditions = conditions_of(obj)
    names = conditions.get("NamesAccepted", {})
    if names.get("status") == "False":
        return Health(HealthStatus.DEGRADED, condition_text(names))
    established = conditions.get("Established", {})
    if established.get("status") == "True":
        return HEALTHY
    return _progress(condition_text(established) if established else "not established yet")


def _api_service(obj: Mapping[str, Any]) -> Health:
    available = conditions_of(obj).get("Available")
    if available is None:
        return _progress("its availability is not known yet")
    if available.get("status") == "True":
        return HEALTHY
    # What serves it may come in a later wave.
    backed = available.get("reason") not in _NO_BACKEND
    return replace(_progress(condition_text(available)), holds=backed)


_NO_BACKEND: Final = frozenset(
    {"ServiceNotFound", "ServicePortError", "EndpointsNotFound", "MissingEndpoints"}
)


def _autoscaler(obj: Mapping[str, Any]) -> Health:
    conditions = conditions_of(obj)
    if not conditions:
        return _progress("its controller has not looked at it yet")
    for type_ in GroupKind("AbleToScale", "ScalingActive"):
        condition = conditions.get(type_, {})
        if condition.get("status") != "False":
            continue
        if condition.get("reason") == "ScalingDisabled":
            return Health(HealthStatus.SUSPENDED, condition_text(condition))
        # Metrics come some time after the pods; until then this is no failure.
        late = str(condition.get("reason", "")).startswith("FailedGet")
        return Health(
            HealthStatus.PROGRESSING if late else HealthStatus.DEGRADED, condition_text(condition)
        )
    return HEALTHY


def _budget(obj: Mapping[str, Any]) -> Health:
    if (behind := _seen(obj)) is not None:
        return behind
    allowed = conditions_of(obj).get("DisruptionAllowed", {})
    if allowed.get("reason") == "SyncFailed":
        return Health(HealthStatus.DEGRADED, condition_text(allowed))
    _, status = _parts(obj)
    if status.get("expectedPods") == 0:
        return Health(HealthStatus.HEALTHY, "there are no pods for it")
    have, want = _number(status, "currentHealthy"), _number(status, "desiredHealthy")
    return HEALTHY if have >= want else _progress(f"{have} of {want} pods healthy")


def _namespace(obj: Mapping[str, Any]) -> Health:
    phase = _parts(obj)[1].get("phase")
    return _progress("being deleted") if phase == "Terminating" else HEALTHY


def _seen(obj: Mapping[str, Any]) -> Health | None:
    """As `not_observed`, of kinds whose controller always reports what it has seen."""
    if not isinstance(_parts(obj)[1].get("observedGeneration"), int):
        return _progress("its controller has not seen it yet")
    return not_observed(obj)


def _number(values: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else default


def well(obj: Mapping[str, Any]) -> Health:
    """The rule of kinds that are well when they are there."""
    return HEALTHY


RULES: Final[Mapping[GroupKind, HealthRule]] = {
    **dict.fromkeys(KINDS_WITHOUT_STATUS, well),
    GroupKind("apps", "Deployment"): _deployment,
    GroupKind("apps", "StatefulSet"): _stateful_set,
    GroupKind("apps", "DaemonSet"): _daemon_set,
    GroupKind("apps", "ReplicaSet"): _replica_set,
    GroupKind("", "ReplicationController"): _replica_set,
    GroupKind("batch", "Job"): _job,
    GroupKind("batch", "CronJob"): _cron_job,
    GroupKind("", "Pod"): _pod,
    GroupKind("", "PersistentVolumeClaim"): _claim,
    GroupKind("", "PersistentVolume"): _volume,
    GroupKind("", "Service"): _service,
    GroupKind("", "Namespace"): _namespace,
    GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    GroupKind("apiregistration.k8s.io", "APIService"): _api_service,
    GroupKind("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    GroupKind("policy", "PodDisruptionBudget"): _budget,
    **OTHER_RULES,
}

LATER: Final[frozenset[GroupKind]] = OTHER_LATER | {
    GroupKind("", "PersistentVolumeClaim"),
    GroupKind("", "Service"),
    GroupKind("autoscaling", "HorizontalPodAutoscaler"),
    GroupKind("policy", "PodDisruptionBudget"),
}
"""Kinds whose health may need objects of later waves, or a controller that a cluster need not have.
While they are not healthy they are shown, and hold no wave back."""
