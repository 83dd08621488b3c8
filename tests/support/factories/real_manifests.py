"""Small likenesses of what real projects' manifests hold: one object or more of each kind."""

from __future__ import annotations

from typing import Any, Final

from tests.support.factories.objects import obj

RBAC: Final = "rbac.authorization.k8s.io/v1"
_GROUP: Final = "rbac.authorization.k8s.io"
_REGISTRATION: Final = "admissionregistration.k8s.io/v1"
_FLOW: Final = "flowcontrol.apiserver.k8s.io/v1"
_SELECTOR: Final = {"matchLabels": {"app": "x"}}
_RULE: Final = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


def likenesses(prefix: str) -> list[dict[str, Any]]:
    """The objects; ``prefix`` makes the names of those unique that are in no namespace."""
    return [
        *_configuration(prefix),
        *_access(prefix),
        *_network(prefix),
        *_workloads(),
        *_storage(prefix),
        *_extension(prefix),
    ]


def _pod(**parts: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "example.com/c:1",
        "args": ["--a", "--b"],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "EMPTY", "value": ""},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "m"}}],
        "ports": [
            {"name": "dns", "containerPort": 53},
            {"name": "dns-udp", "containerPort": 53, "protocol": "UDP"},
        ],
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": "dns"}, "periodSeconds": 7},
        "readinessProbe": {"tcpSocket": {"port": 53}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e"}],
    }
    return {
        "serviceAccountName": "robot",
        "securityContext": {},
        "nodeSelector": {"never": "scheduled"},
        "tolerations": [],
        "containers": [container],
        "initContainers": [{"name": "i", "image": "example.com/i:1"}],
        "topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": way,
             "labelSelector": _SELECTOR}
            for way in ("ScheduleAnyway", "DoNotSchedule")
        ],
        "volumes": [{"name": "v", "configMap": {"name": "m"}}, {"name": "e", "emptyDir": {}}],
        **parts,
    }  # fmt: skip


def _template(**parts: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"}, "annotations": {}}, "spec": _pod(**parts)}


def _configuration(prefix: str) -> list[dict[str, Any]]:
    tls = {"tls.crt": "", "tls.key": ""}
    return [
        obj("Namespace", f"{prefix}-other", labels={"team": "x"}, spec={}),
        obj("ConfigMap", "m", labels={"app": "x"}, annotations={"note": "y"},
            data={"a": "1", "b": "", "c.yaml": "x: 1\n"}, binaryData={"d": "AAAA"}),
        obj("ConfigMap", "empty", data={}),
        obj("Secret", "opaque", type="Opaque", stringData={"a": "b"}, data={"c": "ZA=="}),
        obj("Secret", "pull", labels={"a": "b"}, type="kubernetes.io/dockerconfigjson",
            stringData={".dockerconfigjson": '{"auths": {}}'}),
        obj("Secret", "tls", type="kubernetes.io/tls", data=tls),
        obj("ServiceAccount", "robot", automountServiceAccountToken=False,
            imagePullSecrets=[{"name": "pull"}]),
        obj("ResourceQuota", "q", spec={"hard": {"pods": "100", "requests.cpu": "1000m"}}),
        obj("LimitRange", "l", spec={"limits": [
            {"type": "Container", "default": {"cpu": "100m"}, "defaultRequest": {"cpu": "50m"}}]}),
        obj("PriorityClass", f"{prefix}-p", "scheduling.k8s.io/v1", value=7, description="some",
            globalDefault=False),
        obj("RuntimeClass", f"{prefix}-r", "node.k8s.io/v1", handler="runc",
            scheduling={"nodeSelector": {"a": "b"}}),
        obj("Lease", "lease", "coordination.k8s.io/v1",
            spec={"holderIdentity": "me", "leaseDurationSeconds": 15}),
        obj("PodTemplate", "pt", template=_template()),
    ]  # fmt: skip


def _access(prefix: str) -> list[dict[str, Any]]:
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    into = {"aggregate-to": prefix}
    return [
        obj("Role", "r", RBAC, rules=[_RULE, {**_RULE, "resources": ["services"]}]),
        obj("Role", "none", RBAC, rules=[]),
        obj("RoleBinding", "rb", RBAC, subjects=[subject],
            roleRef={"apiGroup": _GROUP, "kind": "Role", "name": "r"}),
        obj("RoleBinding", "empty", RBAC, subjects=[],
            roleRef={"apiGroup": _GROUP, "kind": "Role", "name": "r"}),
        obj("ClusterRole", f"{prefix}-cr", RBAC, rules=[_RULE], labels=into),
        obj("ClusterRole", f"{prefix}-sum", RBAC, rules=[],
            aggregationRule={"clusterRoleSelectors": [{"matchLabels": into}]}),
        obj("ClusterRoleBinding", f"{prefix}-crb", RBAC, subjects=[subject],
            roleRef={"apiGroup": _GROUP, "kind": "ClusterRole", "name": f"{prefix}-cr"}),
    ]  # fmt: skip


def _network(prefix: str) -> list[dict[str, Any]]:
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return [
        obj("Service", "s", spec={"selector": {"app": "x"}, "ports": [
            {"name": "https", "port": 443, "targetPort": 8443},
            {"name": "quic", "port": 443, "targetPort": 8443, "protocol": "UDP"}]}),
        obj("Service", "headless", spec={"clusterIP": "None", "ports": [{"port": 80}],
                                         "publishNotReadyAddresses": True}),
        obj("Service", "node", spec={"type": "NodePort", "selector": {"app": "x"},
                                     "externalTrafficPolicy": "Local", "ports": [{"port": 80}]}),
        obj("Service", "ext", spec={"type": "ExternalName", "externalName": "a.example.com"}),
        obj("EndpointSlice", "es", "discovery.k8s.io/v1", addressType="IPv4",
            labels={"kubernetes.io/service-name": "headless"},
            endpoints=[{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
            ports=[{"name": "", "port": 80, "protocol": "TCP"}]),
        obj("Ingress", "i", "networking.k8s.io/v1", spec={
            "ingressClassName": f"{prefix}-ic", "tls": [{"hosts": ["a.example.com"]}],
            "rules": [{"host": "a.example.com", "http": {"paths": [path]}}]}),
        obj("IngressClass", f"{prefix}-ic", "networking.k8s.io/v1", labels={"a": "b"},
            spec={"controller": "example.com/ingress"}),
        obj("NetworkPolicy", "deny", "networking.k8s.io/v1", spec={
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}),
        obj("NetworkPolicy", "some", "networking.k8s.io/v1", spec={
            "podSelector": _SELECTOR, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}),
    ]  # fmt: skip


def _workloads() -> list[dict[str, Any]]:
    job = {"suspend": True, "backoffLimit": 2, "ttlSecondsAfterFinished": 600,
           "template": {"spec": _pod(restartPolicy="Never")}}  # fmt: skip
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    metric = {"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}  # fmt: skip
    return [
        obj("Deployment", "d", "apps/v1", labels={"app": "x"}, spec={
            "replicas": 0, "selector": _SELECTOR, "template": _template(), "minReadySeconds": 1,
            "strategy": {"rollingUpdate": {"maxSurge": "30%", "maxUnavailable": 0}}}),
        obj("ReplicaSet", "rs", "apps/v1", spec={
            "replicas": 0, "selector": _SELECTOR, "template": _template()}),
        obj("StatefulSet", "st", "apps/v1", spec={
            "replicas": 0, "selector": _SELECTOR, "serviceName": "headless",
            "podManagementPolicy": "Parallel", "template": _template(),
            "updateStrategy": {"rollingUpdate": {"partition": 1}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}),
        obj("DaemonSet", "ds", "apps/v1", spec={"selector": _SELECTOR, "template": _template()}),
        obj("ReplicationController", "rc", spec={
            "replicas": 0, "selector": {"app": "x"}, "template": _template()}),
        obj("Job", "j", "batch/v1", spec=job),
        obj("CronJob", "cj", "batch/v1", spec={
            "schedule": "0 0 * * *", "suspend": True, "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": job}}),
        obj("HorizontalPodAutoscaler", "h", "autoscaling/v2", spec={
            "scaleTargetRef": scaled, "minReplicas": 2, "maxReplicas": 3, "metrics": [metric]}),
        obj("PodDisruptionBudget", "b", "policy/v1", spec={
            "minAvailable": 1, "selector": _SELECTOR}),
    ]  # fmt: skip


def _storage(prefix: str) -> list[dict[str, Any]]:
    amount = {"storage": "1Gi"}
    return [
        obj("StorageClass", f"{prefix}-sc", "storage.k8s.io/v1", provisioner="example.com/none",
            volumeBindingMode="WaitForFirstConsumer", allowVolumeExpansion=True,
            labels={"a": "b"}),
        obj("CSIDriver", f"{prefix}.csi.ex.io", "storage.k8s.io/v1",
            spec={"attachRequired": False, "podInfoOnMount": True}),
        obj("PersistentVolume", f"{prefix}-pv", spec={
            "capacity": amount, "accessModes": ["ReadWriteOnce"], "storageClassName": "other",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/none"}}),
        obj("PersistentVolumeClaim", "claim", labels={"a": "b"}, spec={
            "storageClassName": f"{prefix}-sc", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": amount}, "volumeName": ""}),
    ]  # fmt: skip


def _extension(prefix: str) -> list[dict[str, Any]]:
    group = f"{prefix}.ex.io"
    text = {"type": "string"}
    item = {
        "type": "object",
        "required": ["port"],
        "properties": {
            "port": {"type": "integer"},
            "protocol": {**text, "default": "TCP"},
            "name": text,
        },
    }
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "opts": {"type": "object", "properties": {"a": text}},
                    "size": {"x-kubernetes-int-or-string": True},
                    "mode": {**text, "default": "a"},
                    "nothing": {**text, "nullable": True},
                    "names": {"type": "array", "items": text},
                    "tags": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
                    "ports": {
                        "type": "array",
                        "items": item,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                    },
                    "none": {"type": "array", "items": text},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        },
    }
    rules = [
        {
            "apiGroups": ["ex.io"],
            "apiVersions": ["v9"],
            "operations": ["CREATE"],
            "resources": ["x"],
        }
    ]
    webhook = {
        "name": "x.ex.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "rules": rules,
        "failurePolicy": "Ignore",
        "timeoutSeconds": 5,
        "clientConfig": {
            "caBundle": "",
            "service": {"name": "s", "namespace": "default", "path": "/x"},
        },
    }
    policy = {
        "failurePolicy": "Ignore",
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.spec.replicas <= 5", "message": "too many"}],
    }
    return [
        obj("CustomResourceDefinition", f"tanks.{group}", "apiextensions.k8s.io/v1", spec={
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Tank", "plural": "tanks", "singular": "tank", "shortNames": ["tk"]},
            "versions": [{"name": "v1", "served": True, "storage": True,
                          "schema": {"openAPIV3Schema": schema}}]}),
        obj("Tank", "t", f"{group}/v1", spec={
            "opts": None, "size": "1Gi", "nothing": None, "names": ["a", "b"], "tags": ["x", "y"],
            "ports": [{"port": 1, "name": "a"}, {"port": 1, "protocol": "UDP", "name": "b"}],
            "none": [], "free": {"x": {"y": [1, {"z": ""}], "v": "1"}, "w": {}}}),
        obj("ValidatingWebhookConfiguration", f"{prefix}-v", _REGISTRATION, webhooks=[webhook]),
        obj("MutatingWebhookConfiguration", f"{prefix}-m", _REGISTRATION, webhooks=[webhook]),
        obj("ValidatingAdmissionPolicy", f"{prefix}-vap", _REGISTRATION, spec=policy),
        obj("ValidatingAdmissionPolicyBinding", f"{prefix}-vapb", _REGISTRATION, spec={
            "policyName": f"{prefix}-vap", "validationActions": ["Audit"]}),
        obj("APIService", f"v9.{group}", "apiregistration.k8s.io/v1", spec={
            "group": group, "version": "v9", "groupPriorityMinimum": 100, "versionPriority": 10}),
        obj("FlowSchema", f"{prefix}-f", _FLOW, spec={
            "priorityLevelConfiguration": {"name": f"{prefix}-plc"}, "matchingPrecedence": 9000,
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "guest"}}],
                       "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/none"]}]}]}),
        obj("PriorityLevelConfiguration", f"{prefix}-plc", _FLOW, spec={
            "type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {
                "type": "Queue", "queuing": {"queues": 2, "handSize": 1}}}}),
    ]  # fmt: skip
