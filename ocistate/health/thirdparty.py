"""Health of well-known kinds that come with CRDs and do not speak in standard conditions alone."""

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
    stale,
)
from ocistate.objects import GroupKind
from ocistate.text import whole_number


def _rollout(obj: Mapping[str, Any]) -> Health | None:
    """Argo Rollouts: the phase; paused in the middle of a rollout is Suspended, by a person or
    a step; aborted is Degraded."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    observed = status.get("observedGeneration")
    generation = (obj.get("metadata") or {}).get("generation")
    if observed is None:
        return Health(HealthStatus.PROGRESSING, "its controller has not seen it yet")
    # The controller writes it as text, and older ones wrote a hash there.
    seen = whole_number(str(observed)[:40])
    if seen is not None and isinstance(generation, int) and seen < generation:
        return Health(HealthStatus.PROGRESSING, "its controller has not seen the newest generation")
    message = str(status.get("message") or "")
    if status.get("abort"):
        return Health(HealthStatus.DEGRADED, message or "the rollout was aborted")
    if spec.get("paused"):
        return Health(HealthStatus.SUSPENDED, message or "paused")
    match status.get("phase"):
        case "Healthy":
            return Health(HealthStatus.HEALTHY, message)
        case "Paused":
            return Health(HealthStatus.SUSPENDED, message or "paused")
        case "Degraded":
            return Health(HealthStatus.DEGRADED, message or "degraded")
        case "Progressing":
            return Health(HealthStatus.PROGRESSING, message or "rolling out")
    return None


def _canary(obj: Mapping[str, Any]) -> Health:
    """Flagger: the phase of the canary analysis."""
    phase = (obj.get("status") or {}).get("phase", "")
    promoted = conditions_of(obj).get("Promoted", {})
    message = condition_text(promoted) if promoted else phase
    match phase:
        case "Initialized" | "Succeeded":
            return Health(HealthStatus.HEALTHY, message)
        case "Failed" | "Terminated":
            return Health(HealthStatus.DEGRADED, message)
        case "":
            return Health(HealthStatus.PROGRESSING, "its controller has not seen it yet")
        case "Waiting" | "WaitingPromotion":
            return Health(HealthStatus.SUSPENDED, message or "waits for approval")
    return Health(HealthStatus.PROGRESSING, message)


def _certificate(obj: Mapping[str, Any]) -> Health:
    """cert-manager: Ready, but while Issuing a missing certificate is no failure."""
    conditions = conditions_of(obj)
    if (behind := not_observed(obj)) is not None:
        return behind
    ready, issuing = conditions.get("Ready"), conditions.get("Issuing")
    if ready is not None and ready.get("status") == "True" and not stale(ready, obj):
        return Health(HealthStatus.HEALTHY, str(ready.get("message") or ""))
    if issuing is not None and issuing.get("status") == "True":
        return Health(HealthStatus.PROGRESSING, condition_text(issuing))
    if issuing is not None and issuing.get("reason") == "Failed":
        return Health(HealthStatus.DEGRADED, condition_text(issuing))
    if ready is not None and not stale(ready, obj):
        waiting = ready.get("reason") in ("DoesNotExist", "Pending", "InProgress")
        return Health(
            HealthStatus.PROGRESSING if waiting else HealthStatus.DEGRADED, condition_text(ready)
        )
    return Health(HealthStatus.PROGRESSING, "not issued yet")


def _request(obj: Mapping[str, Any]) -> Health:
    """cert-manager's CertificateRequest: Denied and InvalidRequest are final."""
    conditions = conditions_of(obj)
    for type_ in GroupKind("Denied", "InvalidRequest"):
        if conditions.get(type_, {}).get("status") == "True":
            return Health(HealthStatus.DEGRADED, condition_text(conditions[type_]))
    ready = conditions.get("Ready")
    if ready is None:
        return Health(HealthStatus.PROGRESSING, "not looked at yet")
    if ready.get("status") == "True":
        return HEALTHY
    failed = ready.get("reason") in GroupKind("Failed", "Denied")
    return Health(
        HealthStatus.DEGRADED if failed else HealthStatus.PROGRESSING, condition_text(ready)
    )


def _all_of(*types: str) -> HealthRule:
    """Every one of these conditions must be True; False is Degraded unless it says Pending."""

    def check(obj: Mapping[str, Any]) -> Health:
        if (behind := not_observed(obj)) is not None:
            return behind
        return _all_true(obj, conditions_of(obj), types)

    return check


def _all_true(
    obj: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]], types: tuple[str, ...]
) -> Health:
    late = ""
    for type_ in types:
        condition = conditions.get(type_)
        if condition is None or stale(condition, obj):
            late = late or f"{type_} is not known yet"
        elif condition.get("status") == "False" and condition.get("reason") not in _LATE:
            return Health(HealthStatus.DEGRADED, condition_text(condition))
        elif condition.get("status") != "True":
            late = late or condition_text(condition)
    return Health(HealthStatus.PROGRESSING, late) if late else HEALTHY


_LATE: Final = frozenset(
    {
        *("Pending", "Creating", "Progressing", "WaitingForController", "NotReconciled"),
        *("AddressNotAssigned", "UnpackingPackage", "UnknownPackageRevisionHealth"),
    }
)


def _gateway(obj: Mapping[str, Any]) -> Health:
    """Gateway API's Gateway: one that only lacks an address holds no one back, like a Service."""
    if (behind := not_observed(obj)) is not None:
        return behind
    conditions = conditions_of(obj)
    found = _all_true(obj, conditions, GroupKind("Accepted", "Programmed"))
    lacks = conditions.get("Programmed", {}).get("reason") == "AddressNotAssigned"
    return replace(found, holds=not lacks)


def _route(obj: Mapping[str, Any]) -> Health:
    """Gateway API routes: accepted by each parent, with references that resolve."""
    status = obj.get("status") or {}
    parents = status.get("parents") or ()
    if not parents:
        wanted = (obj.get("spec") or {}).get("parentRefs")
        return (
            Health(HealthStatus.PROGRESSING, "no gateway has accepted it yet")
            if wanted
            else HEALTHY
        )
    worst = HEALTHY
    for parent in parents:
        conditions = {each["type"]: each for each in parent.get("conditions") or ()}
        name = (parent.get("parentRef") or {}).get("name", "")
        found = _all_true(obj, conditions, GroupKind("Accepted", "ResolvedRefs"))
        if found.status is HealthStatus.DEGRADED:
            return Health(HealthStatus.DEGRADED, f"gateway {name}: {found.message}")
        if found.status is HealthStatus.PROGRESSING:
            worst = Health(HealthStatus.PROGRESSING, f"gateway {name}: {found.message}")
    return worst


def crossplane(obj: Mapping[str, Any]) -> Health | None:
    """Crossplane's managed and composite resources: Synced, then Ready; None for other kinds."""
    conditions = conditions_of(obj)
    synced = conditions.get("Synced")
    if synced is None:
        return None
    if synced.get("reason") == "ReconcilePaused":
        return Health(HealthStatus.SUSPENDED, condition_text(synced))
    if synced.get("status") == "False":
        return Health(HealthStatus.DEGRADED, condition_text(synced))
    ready = conditions.get("Ready")
    if ready is None:
        return Health(HealthStatus.PROGRESSING, "not ready yet")
    if ready.get("status") == "True":
        return HEALTHY
    failed = ready.get("reason") in GroupKind("Unavailable", "ReconcileError")
    return Health(
        HealthStatus.DEGRADED if failed else HealthStatus.PROGRESSING, condition_text(ready)
    )


_SILENT_KINDS: Final = (
    GroupKind(
        "networking.istio.io",
        "VirtualService DestinationRule Gateway ServiceEntry Sidecar WorkloadEntry WorkloadGroup "
        "EnvoyFilter ProxyConfig",
    ),
    GroupKind("security.istio.io", "AuthorizationPolicy PeerAuthentication RequestAuthentication"),
    GroupKind("telemetry.istio.io", "Telemetry"),
    GroupKind("extensions.istio.io", "WasmPlugin"),
    GroupKind(
        "monitoring.coreos.com",
        "ServiceMonitor PodMonitor PrometheusRule Probe ScrapeConfig AlertmanagerConfig",
    ),
    GroupKind(
        "argoproj.io", "AppProject AnalysisTemplate ClusterAnalysisTemplate WorkflowTemplate"
    ),
    GroupKind("traefik.io", "IngressRoute Middleware TLSOption ServersTransport"),
    GroupKind("kyverno.io", "PolicyException"),
)
SILENT: Final = frozenset(
    GroupKind(group, kind) for group, kinds in _SILENT_KINDS for kind in kinds.split()
)
"""Kinds that declare a status which their controllers do not, or need not, fill in."""

_GATEWAY: Final = "gateway.networking.k8s.io"
_ROUTES: Final = frozenset(
    GroupKind(_GATEWAY, kind)
    for kind in ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute")
)

OTHER_LATER: Final = _ROUTES | {
    GroupKind("keda.sh", "ScaledObject"),
    GroupKind("autoscaling.k8s.io", "VerticalPodAutoscaler"),
}
"""See `health_rules.LATER`."""

OTHER_RULES: Final[Mapping[GroupKind, HealthRule]] = {
    GroupKind("argoproj.io", "Rollout"): _rollout,
    GroupKind("flagger.app", "Canary"): _canary,
    GroupKind("cert-manager.io", "Certificate"): _certificate,
    GroupKind("cert-manager.io", "CertificateRequest"): _request,
    GroupKind(_GATEWAY, "GatewayClass"): _all_of("Accepted"),
    GroupKind(_GATEWAY, "Gateway"): _gateway,
    **dict.fromkeys(_ROUTES, _route),
    GroupKind("pkg.crossplane.io", "Provider"): _all_of("Installed", "Healthy"),
    GroupKind("pkg.crossplane.io", "Function"): _all_of("Installed", "Healthy"),
    GroupKind("pkg.crossplane.io", "Configuration"): _all_of("Installed", "Healthy"),
    GroupKind("apiextensions.crossplane.io", "CompositeResourceDefinition"): _all_of("Established"),
}
