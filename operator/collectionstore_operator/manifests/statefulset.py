"""The StatefulSet: stable pod names and volumes. All decisions about pods are in the planner.

`OnDelete`, because the restart order depends on the leader and on the lag of the members; `Parallel`, because members
start in any order; volumes are always retained, because a mistake in `replicas` must not delete data.
Settings are in the pod template. In a ConfigMap they would change under running pods, and a restarted container would
run settings that do not match the revision of its pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from collectionstore_operator.manifests import restoring
from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.manifests.node_environment import (
    PREFIX,
    MemberPlacement,
    access_settings,
    node_settings,
    recovery_settings,
    revision,
    spec_settings,
)
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.bootstrap import Source
from collectionstore_operator.resource.desired import CLIENT_PORT, METRICS_PORT, PEER_PORT, Desired
from collectionstore_operator.resource.environment import EnvironmentVariable
from collectionstore_operator.resource.fields import Policy, rendered
from collectionstore_operator.resource.pod_security import merged

CONTAINER: Final = "node"
DATA_VOLUME: Final = "data"
ROOT: Final = "/var/lib/collectionstore"
TRUST_VOLUME: Final = "trust"
TRUST: Final = "/etc/collectionstore/trust"
PEER_CA: Final = "peer-ca.crt"
"""In the record, and so in the trust volume, where peers have an authority of their own."""
GIVEN_VOLUME: Final = "client-certificate"
KEYS_VOLUME: Final = "encryption-keys"
KEYS: Final = "/etc/collectionstore/encryption-keys"
GIVEN: Final = "/etc/collectionstore/client-certificate"
CREDENTIALS_VOLUME: Final = "api-access"
CREDENTIALS: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Default path of the in-cluster configuration of Kubernetes clients."""
TOKEN_S: Final = 3_600
USER: Final = 10_001
STOP_S: Final = 30
"""Time to transfer leadership and close the database."""
START_S: Final = 600
"""Time to open a large database and replay its log, before the startup probe fails."""

SNAPSHOT_GROUP: Final = "snapshot.storage.k8s.io"
SNAPSHOT_KIND: Final = "VolumeSnapshot"

SAFE_POD: Final[Body] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
SAFE_CONTAINER: Final[Body] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
IMMUTABLE: Final = ("volumeClaimTemplates", "serviceName", "podManagementPolicy", "selector")
"""Fields of a StatefulSet that the API server does not let change; new volume sizes need a new StatefulSet."""


def build(
    desired: Desired,
    *,
    cluster_id: str,
    replicas: int,
    recover: str = "",
    restore: Source | None = None,
    access: str = "",
) -> Manifest:
    """Return the StatefulSet with this number of replicas.

    `recover` tells the survivor of a lost quorum to recover (`model.recovery`), and is not in the revision: a pod that
    was started with it need not restart once it has. Nor is `access`, the mode of access control before the cluster has
    a configuration of it.
    """
    spec: Body = {
        "replicas": replicas,
        "serviceName": labels.peer_service(desired.workload),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Retain"},
        "selector": {"matchLabels": labels.selector(desired.workload)},
        "template": _template(desired, cluster_id, {**recovery_settings(recover), **access_settings(access)}, restore),
        "volumeClaimTemplates": [_claim(desired, cluster_id)],
    }
    return manifest(desired, api_version="apps/v1", kind="StatefulSet", name=desired.workload, spec=spec)


def starts_as_required(template: Mapping[str, Any], desired: Desired) -> bool:
    """Return whether a pod template starts the node with the image and the settings of the resource.

    Only what the revision covers: another operator may render the rest in another way.
    """
    containers = template.get("spec", {}).get("containers") or ()
    node = next((one for one in containers if one.get("name") == CONTAINER), None)
    if node is None or node.get("image") != desired.spec.effective_image:
        return False
    found = {one["name"]: one for one in node.get("env") or ()}
    settings = ({"name": name, "value": value} for name, value in spec_settings(desired).items())
    return all(_has(found.get(one["name"]), one) for one in (*settings, *_further(desired)))


def _has(live: Any, wanted: Any) -> bool:
    """Return whether a value is as wanted; the API server may have added defaults, and stores nothing that is empty."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(_has(live.get(key), value) for key, value in wanted.items())
    return bool(live == wanted) or (live is None and wanted == "")


def _template(desired: Desired, cluster_id: str, further: Mapping[str, str], restore: Source | None) -> Body:
    pod = desired.spec.pod
    pod_labels = {**pod.labels, **desired.object_labels, labels.VERSION_LABEL: desired.spec.version}
    return {
        "metadata": {
            "labels": pod_labels,
            "annotations": {**pod.annotations, labels.REVISION: revision(desired)},
        },
        "spec": {
            **_scheduling(desired),
            "serviceAccountName": labels.service_account(desired.name),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": pod.termination_grace_period_seconds or STOP_S,
            "securityContext": merged(SAFE_POD, pod.pod_security_context),
            "containers": [_container(desired, cluster_id, further)],
            **_initial(desired, cluster_id, restore),
            "volumes": [
                _trust(desired),
                _credentials(),
                *_given(desired),
                *_keys(desired),
                *(restoring.volumes(restore) if restore else ()),
            ],
        },
    }


def _initial(desired: Desired, cluster_id: str, restore: Source | None) -> Body:
    """Return the init container of a cluster that begins with a backup; no field without one."""
    if restore is None:
        return {}
    node = _container(desired, cluster_id, {})
    shared: Body = {key: node[key] for key in ("image", "imagePullPolicy", "resources", "securityContext")}
    # The name of the pod, which its arguments refer to.
    # And what it encrypts the directory with.
    keys = [one for one in node["env"] if one["name"].startswith(f"{PREFIX}ENCRYPTION_")]
    mounts = [*node["volumeMounts"][:1], *_keys_mount(desired)]
    shared |= {"env": [*node["env"][:1], *keys], "volumeMounts": mounts}
    placed = _placement(desired, cluster_id)
    target = restoring.Target(placed.name, cluster_id, placed.data_dir, placed.peer_advertise, placed.client_advertise)
    return {
        # Until it is recorded on which claim it may happen: another pod of this template must restore nothing.
        "schedulingGates": [{"name": labels.RESTORE_GATE}],
        "initContainers": [restoring.container(restore, target, base=shared)],
    }


def _container(desired: Desired, cluster_id: str, further: Mapping[str, str]) -> Body:
    return {
        "name": CONTAINER,
        "image": desired.spec.effective_image,
        "imagePullPolicy": desired.spec.pod.image_pull_policy,
        "env": _environment(desired, cluster_id, further),
        "ports": [
            {"name": "client", "containerPort": CLIENT_PORT, "protocol": "TCP"},
            {"name": "peer", "containerPort": PEER_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "startupProbe": _probe(desired, "/livez", every_s=2, failures=START_S // 2),
        "livenessProbe": _probe(desired, "/livez", every_s=10, failures=6),
        "readinessProbe": _probe(desired, "/readyz", every_s=2, failures=2),
        # The end of the log, where a node says why it ended: `kubectl describe pod` and status.members show it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": msgspec.to_builtins(desired.spec.resources),
        "securityContext": merged(SAFE_CONTAINER, desired.spec.pod.security_context),
        "volumeMounts": [
            {"name": DATA_VOLUME, "mountPath": ROOT},
            {"name": TRUST_VOLUME, "mountPath": TRUST, "readOnly": True},
            {"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS, "readOnly": True},
            *({"name": one["name"], "mountPath": GIVEN, "readOnly": True} for one in _given(desired)),
            *_keys_mount(desired),
        ],
    }


def _placement(desired: Desired, cluster_id: str) -> MemberPlacement:
    """Return the placement of a member. The name comes from the pod and is expanded in the addresses."""
    name = f"$({PREFIX}NAME)"
    host = f"{name}.{labels.peer_service(desired.workload)}.{desired.namespace}.svc"
    scheme = "https" if desired.spec.tls.client == "Required" else "http"
    return MemberPlacement(
        name=name,
        cluster_id=cluster_id,
        data_dir=f"{ROOT}/data",
        tls_dir=f"{ROOT}/tls",
        client_address=f"0.0.0.0:{CLIENT_PORT}",
        peer_address=f"0.0.0.0:{PEER_PORT}",
        metrics_address=f"0.0.0.0:{METRICS_PORT}",
        client_advertise=f"{scheme}://{host}:{CLIENT_PORT}",
        peer_advertise=f"{host}:{PEER_PORT}",
    )


def _environment(desired: Desired, cluster_id: str, further: Mapping[str, str]) -> list[Body]:
    """Return the node's variables."""
    settings = node_settings(desired, _placement(desired, cluster_id))
    del settings[f"{PREFIX}NAME"]
    from_pod = [_field("NAME", "metadata.name"), _field("NAMESPACE", "metadata.namespace")]
    settings[f"{PREFIX}ENROLMENT"] = "Kubernetes"
    if desired.spec.tls.separate:
        # The pair that a running member has stays that of its peer port: nothing changes there when it restarts.
        settings[f"{PREFIX}TRUST_FILE"] = f"{TRUST}/{PEER_CA}"
        settings[f"{PREFIX}CLIENT_TRUST_FILE"] = f"{TRUST}/ca.crt"
        settings[f"{PREFIX}CLIENT_TLS_DIR"] = f"{ROOT}/tls-clients"
    if desired.spec.tls.client_secret_name:
        settings[f"{PREFIX}CLIENT_CERTIFICATE_DIR"] = GIVEN
    if _keys(desired):
        settings[f"{PREFIX}ENCRYPTION_KEYS_DIR"] = KEYS
    settings |= further
    written = ({"name": variable, "value": value} for variable, value in settings.items())
    return [*from_pod, *written, *_further(desired)]


def _further(desired: Desired) -> list[Body]:
    """Return the variables of the resource that have no meaning on one machine."""
    metrics = [{"name": f"{PREFIX}METRICS_TLS", "value": "Required"}] if desired.spec.monitoring.secured else []
    return [*metrics, *(_variable(one) for one in desired.spec.pod.environment)]


def _variable(given: EnvironmentVariable) -> Body:
    if given.value_from is not None:
        return {"name": given.name, "valueFrom": rendered(given.value_from)}
    # Escaped, because the kubelet expands $(NAME) in values.
    return {"name": given.name, "value": given.value.replace("$(", "$$(")}


def _field(variable: str, path: str) -> Body:
    return {"name": f"{PREFIX}{variable}", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _probe(desired: Desired, path: str, *, every_s: int, failures: int) -> Body:
    # The kubelet verifies no certificate, and probes need no credential.
    scheme = "HTTPS" if desired.spec.monitoring.secured else "HTTP"
    request = {"path": path, "port": "metrics", "scheme": scheme}
    return {"httpGet": request, "periodSeconds": every_s, "timeoutSeconds": 2, "failureThreshold": failures}


def _trust(desired: Desired) -> Body:
    """Return the volume with the trusted CAs. A directory mount, because the kubelet does not update subPath mounts."""
    names = ("ca.crt", PEER_CA) if desired.spec.tls.separate else ("ca.crt",)
    items = [{"key": name, "path": name} for name in names]
    return {"name": TRUST_VOLUME, "configMap": {"name": labels.record(desired.name), "items": items}}


def _keys(desired: Desired) -> list[Body]:
    """Return the volume with the keys that data is encrypted with, if there is one. A pod without it does not start."""
    encryption = desired.spec.storage.encryption
    if encryption is None or not encryption.secret_name:
        return []
    return [{"name": KEYS_VOLUME, "secret": {"secretName": encryption.secret_name, "defaultMode": 0o440}}]


def _keys_mount(desired: Desired) -> list[Body]:
    return [{"name": one["name"], "mountPath": KEYS, "readOnly": True} for one in _keys(desired)]


def _given(desired: Desired) -> list[Body]:
    """Return the volume with the certificate that the user gives for clients, if there is one.

    Optional: a member that restarts while the Secret is missing serves with the cluster's own certificate.
    """
    name = desired.spec.tls.client_secret_name
    if not name:
        return []
    items = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
    return [{"name": GIVEN_VOLUME, "secret": {"secretName": name, "items": items, "optional": True}}]


def _credentials() -> Body:
    """Return the volume with the ServiceAccount token, which is bound to the pod, and the CA of the API server."""
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}}
    authority = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    return {"name": CREDENTIALS_VOLUME, "projected": {"sources": [token, authority]}}


def _scheduling(desired: Desired) -> Body:
    """Return the scheduling fields of the pod; fields that the resource does not set keep the API server's defaults."""
    pod, spread = desired.spec.pod, desired.spec.spread
    found: Body = {
        "topologySpreadConstraints": [
            *_spread(desired, "topology.kubernetes.io/zone", spread.zones),
            *_spread(desired, "kubernetes.io/hostname", spread.nodes),
            *(_constraint(desired, rendered(one)) for one in pod.topology_spread_constraints or ()),
        ],
        "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets],
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [rendered(one) for one in pod.tolerations],
        "affinity": rendered(pod.affinity),
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
        "schedulerName": pod.scheduler_name,
        "hostAliases": [rendered(one) for one in pod.host_aliases or ()],
    }
    return {key: value for key, value in found.items() if value}


def _spread(desired: Desired, key: str, policy: Policy) -> list[Body]:
    if policy == "Disabled":
        return []
    unsatisfiable = "DoNotSchedule" if policy == "Required" else "ScheduleAnyway"
    return [_constraint(desired, {"topologyKey": key, "whenUnsatisfiable": unsatisfiable})]


def _constraint(desired: Desired, given: Body) -> Body:
    """Return a constraint over the pods of the group."""
    return {
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        **given,
        "labelSelector": {"matchLabels": labels.selector(desired.workload)},
    }


def _claim(desired: Desired, cluster_id: str) -> Body:
    spec: Body = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": desired.spec.storage.size}},
    }
    if desired.spec.storage.class_ is not None:
        spec["storageClassName"] = desired.spec.storage.class_
    metadata = {
        "name": DATA_VOLUME,
        "labels": claim_labels(desired),
        "annotations": {**(desired.spec.storage.annotations or {}), labels.CLUSTER_ID: cluster_id},
    }
    return {"metadata": metadata, "spec": spec}


def first_claim(desired: Desired, cluster_id: str, snapshot: str) -> Body:
    """Return the claim of the first member, made of a VolumeSnapshot: by its name the workload takes it for its own."""
    claim = _claim(desired, cluster_id)
    metadata = {"name": f"{DATA_VOLUME}-{desired.member(0)}", "namespace": desired.namespace}
    source = {"apiGroup": SNAPSHOT_GROUP, "kind": SNAPSHOT_KIND, "name": snapshot}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {**claim["metadata"], **metadata},
        "spec": {**claim["spec"], "dataSource": source},
    }


def claim_labels(desired: Desired) -> dict[str, str]:
    """Return the labels of the members' claims; those of the operator win."""
    return {**(desired.spec.storage.labels or {}), **desired.object_labels}
