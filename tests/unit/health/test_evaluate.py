"""Health from objects as controllers leave them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ocistate.health.evaluate import (
    MISSING,
    Health,
    HealthStatus,
    health_of,
    needs_full_object,
    summarize,
)
from ocistate.objects import GroupKind, ObjectId

CASES = """
- {say: new Deployment, want: Progressing, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 3}}}
- {say: Deployment not seen, want: Progressing, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1},
   status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}}
- {say: Deployment rolling, want: Progressing, has: 1 of 3, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 3},
   status: {observedGeneration: 2, replicas: 3, updatedReplicas: 1, availableReplicas: 3}}}
- {say: Deployment with old pods, want: Progressing, has: old pods, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 3},
   status: {observedGeneration: 2, replicas: 4, updatedReplicas: 3, availableReplicas: 4}}}
- {say: Deployment available, want: Healthy, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 3},
   status: {observedGeneration: 2, replicas: 3, updatedReplicas: 3, availableReplicas: 3}}}
- {say: Deployment of none, want: Healthy, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 0}, status: {observedGeneration: 1}}}
- {say: Deployment past its deadline, want: Degraded, has: exceeded, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {},
   status: {observedGeneration: 1, conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, message: it exceeded its deadline}]}}}
- {say: Deployment without quota, want: Degraded, has: quota, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {},
   status: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: "True", message: exceeded quota}]}}}
- {say: paused Deployment, want: Suspended, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {paused: true}}}
- {say: StatefulSet ready, want: Healthy, obj: {apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2},
   status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, updatedReplicas: 2, currentRevision: a, updateRevision: a}}}
- {say: StatefulSet rolling, want: Progressing, obj: {apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2},
   status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, updatedReplicas: 1, currentRevision: a, updateRevision: b}}}
- {say: StatefulSet at its partition, want: Healthy, obj: {apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1},
   spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}},
   status: {observedGeneration: 1, replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}}}
- {say: StatefulSet on delete, want: Healthy, obj: {apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1},
   spec: {replicas: 1, updateStrategy: {type: OnDelete}}, status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, currentRevision: a, updateRevision: b}}}
- {say: DaemonSet partly there, want: Progressing, obj: {apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {},
   status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2}}}
- {say: DaemonSet without nodes, want: Healthy, obj: {apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, spec: {},
   status: {observedGeneration: 1, desiredNumberScheduled: 0}}}
- {say: ReplicaSet short, want: Progressing, obj: {apiVersion: apps/v1, kind: ReplicaSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, availableReplicas: 1}}}
- {say: Job running, want: Progressing, has: 0 of 1, obj: {apiVersion: batch/v1, kind: Job, metadata: {}, spec: {}, status: {active: 1}}}
- {say: Job complete, want: Healthy, obj: {apiVersion: batch/v1, kind: Job, metadata: {}, spec: {}, status: {conditions: [{type: Complete, status: "True"}]}}}
- {say: Job failed, want: Degraded, has: backoff, obj: {apiVersion: batch/v1, kind: Job, metadata: {}, spec: {}, status: {conditions: [{type: Failed, status: "True", message: backoff limit}]}}}
- {say: Job suspended, want: Suspended, obj: {apiVersion: batch/v1, kind: Job, metadata: {}, spec: {suspend: true}}}
- {say: CronJob, want: Healthy, obj: {apiVersion: batch/v1, kind: CronJob, metadata: {}, spec: {}}}
- {say: CronJob suspended, want: Suspended, obj: {apiVersion: batch/v1, kind: CronJob, metadata: {}, spec: {suspend: true}}}
- {say: Pod ready, want: Healthy, obj: {apiVersion: v1, kind: Pod, metadata: {}, status: {phase: Running, conditions: [{type: Ready, status: "True"}]}}}
- {say: Pod crashing, want: Degraded, has: CrashLoopBackOff, obj: {apiVersion: v1, kind: Pod, metadata: {}, status: {phase: Running,
   containerStatuses: [{name: web, state: {waiting: {reason: CrashLoopBackOff}}}]}}}
- {say: Pod without image, want: Degraded, has: "web: ErrImagePull: no such", obj: {apiVersion: v1, kind: Pod, metadata: {}, status: {phase: Pending,
   containerStatuses: [{name: web, state: {waiting: {reason: ErrImagePull, message: no such image}}}]}}}
- {say: Pod that fits nowhere, want: Progressing, has: nodes, obj: {apiVersion: v1, kind: Pod, metadata: {}, status: {phase: Pending,
   conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: 0/3 nodes are available}]}}}
- {say: Pod done, want: Healthy, obj: {apiVersion: v1, kind: Pod, metadata: {}, status: {phase: Succeeded}}}
- {say: Pod failed, want: Degraded, has: Evicted, obj: {apiVersion: v1, kind: Pod, metadata: {}, status: {phase: Failed, reason: Evicted}}}
- {say: claim pending, want: Progressing, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, status: {phase: Pending}}}
- {say: claim of a class before its first consumer, want: Suspended, has: by its class slow, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, spec: {storageClassName: slow}, status: {phase: Pending}}}
- {say: claim with a consumer, want: Progressing, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {annotations: {volume.kubernetes.io/selected-node: n}}, spec: {storageClassName: slow}, status: {phase: Pending}}}
- {say: claim being provisioned at once, want: Progressing, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {annotations: {volume.kubernetes.io/storage-provisioner: p}}, spec: {storageClassName: fast}, status: {phase: Pending}}}
- {say: claim of a volume by name, want: Progressing, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, spec: {storageClassName: slow, volumeName: v}, status: {phase: Pending}}}
- {say: claim without a class, want: Progressing, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, spec: {storageClassName: ""}, status: {phase: Pending}}}
- {say: claim bound, want: Healthy, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, status: {phase: Bound}}}
- {say: claim lost, want: Degraded, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, status: {phase: Lost}}}
- {say: plain Service, want: Healthy, obj: {apiVersion: v1, kind: Service, metadata: {}, spec: {type: ClusterIP}}}
- {say: balancer without address, want: Progressing, obj: {apiVersion: v1, kind: Service, metadata: {}, spec: {type: LoadBalancer}, status: {loadBalancer: {}}}}
- {say: balancer with address, want: Healthy, obj: {apiVersion: v1, kind: Service, metadata: {}, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}}
- {say: Ingress, want: Healthy, obj: {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {generation: 1}, spec: {}}}
- {say: CRD established, want: Healthy, obj: {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {}, status: {conditions: [{type: Established, status: "True"}]}}}
- {say: CRD with taken names, want: Degraded, obj: {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {}, status: {conditions: [{type: NamesAccepted, status: "False", message: taken}]}}}
- {say: APIService down, want: Progressing, obj: {apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {}, status: {conditions: [{type: Available, status: "False"}]}}}
- {say: HPA without metrics yet, want: Progressing, obj: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {}, status: {conditions: [{type: ScalingActive, status: "False", reason: FailedGetResourceMetric}]}}}
- {say: HPA without target, want: Degraded, obj: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {}, status: {conditions: [{type: AbleToScale, status: "False", reason: InvalidTarget}]}}}
- {say: PDB not met, want: Progressing, obj: {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {generation: 1}, status: {observedGeneration: 1, currentHealthy: 0, desiredHealthy: 1}}}
- {say: PDB of no pods, want: Healthy, obj: {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {generation: 1}, status: {observedGeneration: 1, currentHealthy: 0, desiredHealthy: 1, expectedPods: 0}}}
- {say: Namespace going, want: Progressing, obj: {apiVersion: v1, kind: Namespace, metadata: {}, status: {phase: Terminating}}}
- {say: ConfigMap, want: Healthy, obj: {apiVersion: v1, kind: ConfigMap, metadata: {}}}
- {say: anything being deleted, want: Progressing, has: held by a/b, obj: {apiVersion: v1, kind: ConfigMap, metadata: {deletionTimestamp: x, finalizers: [a/b]}}}
- {say: silent custom resource, want: Progressing, has: not reported, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {generation: 1}}}
- {say: custom resource without status, want: Healthy, plain: true, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {generation: 1}}}
- {say: Istio does not speak, want: Healthy, obj: {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {generation: 1}}}
- {say: ready, want: Healthy, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {generation: 1}, status: {conditions: [{type: Ready, status: "True"}]}}}
- {say: ready once, want: Progressing, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}}}
- {say: ready but behind, want: Progressing, has: generation 1 of 2, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {generation: 2}, status: {observedGeneration: 1, conditions: [{type: Ready, status: "True"}]}}}
- {say: not ready yet, want: Progressing, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {conditions: [{type: Ready, status: "False", reason: Pending}]}}}
- {say: failed, want: Degraded, has: no such bucket, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {conditions: [{type: Ready, status: "False", reason: BuildFailed, message: no such bucket}]}}}
- {say: stalled, want: Degraded, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {conditions: [{type: Stalled, status: "True"}, {type: Ready, status: "False"}]}}}
- {say: reconciling, want: Progressing, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {conditions: [{type: Reconciling, status: "True"}, {type: Ready, status: "True"}]}}}
- {say: unknown readiness, want: Progressing, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {conditions: [{type: Ready, status: Unknown}]}}}
- {say: degraded operator, want: Degraded, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {conditions: [{type: Available, status: "True"}, {type: Degraded, status: "True"}]}}}
- {say: no conditions, want: Healthy, obj: {apiVersion: ex.io/v1, kind: Thing, metadata: {}, status: {phase: whatever}}}
- {say: Rollout healthy, want: Healthy, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 3}, spec: {}, status: {observedGeneration: "3", phase: Healthy}}}
- {say: Rollout behind, want: Progressing, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 3}, spec: {}, status: {observedGeneration: "2", phase: Healthy}}}
- {say: Rollout paused at a step, want: Suspended, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 3}, spec: {}, status: {observedGeneration: "3", phase: Paused, message: CanaryPauseStep}}}
- {say: Rollout aborted, want: Degraded, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 3}, spec: {}, status: {observedGeneration: "3", phase: Degraded, abort: true}}}
- {say: Canary under way, want: Progressing, obj: {apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {}, status: {phase: Progressing}}}
- {say: Canary failed, want: Degraded, obj: {apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {}, status: {phase: Failed}}}
- {say: Certificate issuing, want: Progressing, obj: {apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {}, status: {conditions: [{type: Ready, status: "False", reason: DoesNotExist}, {type: Issuing, status: "True"}]}}}
- {say: Certificate refused, want: Degraded, has: denied, obj: {apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {}, status: {conditions: [{type: Ready, status: "False", reason: DoesNotExist}, {type: Issuing, status: "False", reason: Failed, message: order denied}]}}}
- {say: Certificate ready, want: Healthy, obj: {apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {}, status: {conditions: [{type: Ready, status: "True"}]}}}
- {say: Gateway programmed, want: Healthy, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {}, status: {conditions: [{type: Accepted, status: "True"}, {type: Programmed, status: "True"}]}}}
- {say: Gateway pending, want: Progressing, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {}, status: {conditions: [{type: Accepted, status: Unknown, reason: Pending}, {type: Programmed, status: Unknown}]}}}
- {say: route without backend, want: Degraded, has: "gateway gw: no service", obj: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {}, spec: {parentRefs: [{name: gw}]},
   status: {parents: [{parentRef: {name: gw}, conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "False", reason: BackendNotFound, message: no service}]}]}}}
- {say: route no one accepted, want: Progressing, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {}, spec: {parentRefs: [{name: gw}]}, status: {parents: []}}}
- {say: Crossplane creating, want: Progressing, obj: {apiVersion: s3.aws.upbound.io/v1, kind: Bucket, metadata: {}, status: {conditions: [{type: Synced, status: "True"}, {type: Ready, status: "False", reason: Creating}]}}}
- {say: Crossplane refused, want: Degraded, obj: {apiVersion: s3.aws.upbound.io/v1, kind: Bucket, metadata: {}, status: {conditions: [{type: Synced, status: "False", reason: ReconcileError}, {type: Ready, status: "True"}]}}}
- {say: Crossplane paused, want: Suspended, obj: {apiVersion: s3.aws.upbound.io/v1, kind: Bucket, metadata: {}, status: {conditions: [{type: Synced, status: "False", reason: ReconcilePaused}]}}}
- {say: Issuer in error, want: Degraded, has: no such secret, obj: {apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {}, status: {conditions: [{type: Ready, status: "False", reason: ErrInitIssuer, message: no such secret}]}}}
- {say: Issuer ready, want: Healthy, obj: {apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {generation: 1}, status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}}}
- {say: request denied, want: Degraded, obj: {apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {}, status: {conditions: [{type: Denied, status: "True", message: policy}, {type: Ready, status: "False"}]}}}
- {say: request approved, want: Progressing, obj: {apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {}, status: {conditions: [{type: Approved, status: "True"}, {type: Ready, status: "False", reason: Pending}]}}}
- {say: Certificate of an older spec, want: Progressing, obj: {apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {generation: 2}, status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}}}
- {say: Gateway without address yet, want: Progressing, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {}, status: {conditions: [{type: Accepted, status: "True"}, {type: Programmed, status: "False", reason: AddressNotAssigned}]}}}
- {say: Gateway of an older spec, want: Progressing, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {generation: 2}, status: {conditions: [{type: Accepted, status: "True", observedGeneration: 1}, {type: Programmed, status: "True", observedGeneration: 1}]}}}
- {say: Gateway refused, want: Degraded, has: no such class, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {}, status: {conditions: [{type: Accepted, status: "False", reason: Invalid, message: no such class}]}}}
- {say: GatewayClass, want: Healthy, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {}, status: {conditions: [{type: Accepted, status: "True"}]}}}
- {say: route of two gateways one late, want: Progressing, has: "gateway b", obj: {apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {}, spec: {parentRefs: [{name: a}, {name: b}]}, status: {parents: [
    {parentRef: {name: a}, conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "True"}]}, {parentRef: {name: b}, conditions: [{type: Accepted, status: Unknown, reason: Pending}]}]}}}
- {say: Crossplane ready, want: Healthy, obj: {apiVersion: db.example.org/v1, kind: XDatabase, metadata: {}, status: {conditions: [{type: Synced, status: "True"}, {type: Ready, status: "True"}]}}}
- {say: Crossplane provider unpacking, want: Progressing, obj: {apiVersion: pkg.crossplane.io/v1, kind: Provider, metadata: {}, status: {conditions: [{type: Installed, status: "False", reason: UnpackingPackage}]}}}
- {say: Crossplane provider broken, want: Degraded, obj: {apiVersion: pkg.crossplane.io/v1, kind: Provider, metadata: {}, status: {conditions: [{type: Installed, status: "True"}, {type: Healthy, status: "False", reason: UnhealthyPackageRevision, message: no image}]}}}
- {say: Canary waits for a person, want: Suspended, obj: {apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {}, status: {phase: WaitingPromotion}}}
- {say: Canary done, want: Healthy, obj: {apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {}, status: {phase: Succeeded, conditions: [{type: Promoted, status: "True", message: all well}]}}}
- {say: Canary new, want: Progressing, obj: {apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {}}}
- {say: Rollout new, want: Progressing, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 1}, spec: {}}}
- {say: Rollout progressing, want: Progressing, has: more replicas, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 3}, spec: {}, status: {observedGeneration: "3", phase: Progressing, message: more replicas need to be updated}}}
- {say: Rollout paused by a person, want: Suspended, obj: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {generation: 3}, spec: {paused: true}, status: {observedGeneration: "3", phase: Paused}}}
- {say: not ready by its own word, want: Progressing, has: brokers, obj: {apiVersion: kafka.strimzi.io/v1beta2, kind: Kafka, metadata: {generation: 1}, status: {observedGeneration: 1, conditions: [{type: NotReady, status: "True", message: waits for brokers}]}}}
- {say: nonsense, want: Unknown, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: [], status: [1]}}
"""  # noqa: E501


@pytest.mark.parametrize("case", yaml.safe_load(CASES), ids=lambda case: case["say"])
def test_health_is_told_from_the_object_alone(case: dict[str, Any]) -> None:
    health = health_of(case["obj"], has_status=not case.get("plain", False))
    assert health.status == case["want"], health
    assert case.get("has", "") in health.message


HOLDS = """
- {say: Deployment, holds: true, obj: {apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {}}}
- {say: Job, holds: true, obj: {apiVersion: batch/v1, kind: Job, metadata: {}, spec: {}}}
- {say: Certificate, holds: true, obj: {apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {}}}
- {say: claim, holds: false, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, status: {phase: Pending}}}
- {say: claim that lost its volume, holds: false, obj: {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, status: {phase: Lost}}}
- {say: balancer, holds: false, obj: {apiVersion: v1, kind: Service, metadata: {}, spec: {type: LoadBalancer}}}
- {say: HPA without its target, holds: false, obj: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {}, status: {conditions: [{type: AbleToScale, status: "False", reason: FailedGetScale}]}}}
- {say: budget without its pods, holds: false, obj: {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {generation: 1}, status: {observedGeneration: 1, currentHealthy: 0, desiredHealthy: 1, expectedPods: 1}}}
- {say: APIService without a Service, holds: false, obj: {apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {}, status: {conditions: [{type: Available, status: "False", reason: ServiceNotFound}]}}}
- {say: APIService that does not answer, holds: true, obj: {apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {}, status: {conditions: [{type: Available, status: "False", reason: FailedDiscoveryCheck}]}}}
- {say: route, holds: false, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {}, spec: {parentRefs: [{name: gw}]}}}
- {say: Gateway without address, holds: false, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {}, status: {conditions: [{type: Accepted, status: "True"}, {type: Programmed, status: "False", reason: AddressNotAssigned}]}}}
- {say: Gateway that is new, holds: true, obj: {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {}}}
- {say: Namespace going, holds: true, obj: {apiVersion: v1, kind: Namespace, metadata: {}, status: {phase: Terminating}}}
"""  # noqa: E501


@pytest.mark.parametrize("case", yaml.safe_load(HOLDS), ids=lambda case: case["say"])
def test_what_needs_later_objects_holds_no_wave_back(case: dict[str, Any]) -> None:
    health = health_of(case["obj"])
    assert not health.done
    assert health.holds is case["holds"]
    assert health.lets_on is not case["holds"]


def test_nothing_is_missing() -> None:
    assert health_of(None) == MISSING


def test_a_users_rule_goes_first_and_may_pass() -> None:
    thing = {"apiVersion": "ex.io/v1", "kind": "Thing", "metadata": {}, "status": {"ok": False}}
    key = GroupKind("ex.io", "Thing")
    bad = Health(HealthStatus.DEGRADED, "not ok")
    assert health_of(thing, checks={key: lambda obj: None if obj["status"]["ok"] else bad}) == bad
    thing["status"] = {"ok": True}
    assert health_of(thing, checks={key: lambda _: None}).status is HealthStatus.HEALTHY


def test_only_kinds_that_need_it_are_read_whole() -> None:
    assert needs_full_object("apps", "Deployment")
    assert needs_full_object("ex.io", "Thing")
    assert not needs_full_object("", "Secret")
    assert needs_full_object("", "Secret", {GroupKind("", "Secret"): lambda _: None})


def test_a_summary_counts_and_puts_the_cause_first() -> None:
    def id(kind: str, name: str, group: str = "") -> ObjectId:
        return ObjectId(group, kind, "n", name)

    summary = summarize(
        [
            (id("ConfigMap", "a"), Health(HealthStatus.HEALTHY)),
            (id("CronJob", "b", "batch"), Health(HealthStatus.SUSPENDED)),
            (id("Service", "c"), Health(HealthStatus.PROGRESSING, "no address")),
            (id("PersistentVolumeClaim", "d"), Health(HealthStatus.DEGRADED, "lost")),
            (id("Deployment", "e", "apps"), Health(HealthStatus.DEGRADED, "stuck")),
            (id("Secret", "f"), MISSING),
        ],
        keep=4,
    )
    assert summary.total == 6
    assert summary.counts[HealthStatus.DEGRADED] == 2
    assert [each.name for each, _ in summary.worst] == ["e", "d", "f", "c"]
    assert summary.status is HealthStatus.DEGRADED


def test_suspended_objects_leave_the_whole_healthy() -> None:
    summary = summarize([(ObjectId("batch", "CronJob", "n", "b"), Health(HealthStatus.SUSPENDED))])
    assert summary.status is HealthStatus.HEALTHY
