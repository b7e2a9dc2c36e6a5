"""The StatefulSet that keeps the pods: stable names and volumes, nothing decided by itself.

`OnDelete`, because which pod restarts next depends on who leads and who has caught up; `Parallel`, because members need
no order to start; volumes are always retained, because a number lowered by mistake must not delete data.
The settings stand in the template itself: in a ConfigMap they would change under running pods, and a container that
crashed would come back with settings its pod's revision does not name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_operator import labels
from collectionstore_operator.environment import PREFIX, Place, node_settings, revision
from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.resources import CLIENT_PORT, METRICS_PORT, PEER_PORT, Desired

DATA_VOLUME: Final = "data"
ROOT: Final = "/var/lib/collectionstore"
USER: Final = 10_001
STOP_S: Final = 30
"""Time to hand over leadership and close the database."""
START_S: Final = 600
"""Time to open a large database and replay its log, before a pod counts as stuck."""


def build(desired: Desired, *, cluster_id: str, replicas: int) -> Manifest:
    """Return the StatefulSet for that many pods."""
    spec: Body = {
        "replicas": replicas,
        "serviceName": labels.peer_service(desired.name),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Retain"},
        "selector": {"matchLabels": labels.selector(desired.name)},
        "template": _template(desired, cluster_id),
        "volumeClaimTemplates": [_claim(desired)],
    }
    return manifest(desired, api_version="apps/v1", kind="StatefulSet", name=desired.name, spec=spec)


def _template(desired: Desired, cluster_id: str) -> Body:
    pod_labels = {**labels.object_labels(desired.name), labels.VERSION_LABEL: desired.spec.version}
    return {
        "metadata": {"labels": pod_labels, "annotations": {labels.REVISION: revision(desired)}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": STOP_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": [
                _spread(desired, "topology.kubernetes.io/zone"),
                _spread(desired, "kubernetes.io/hostname"),
            ],
            "containers": [_container(desired, cluster_id)],
        },
    }


def _container(desired: Desired, cluster_id: str) -> Body:
    return {
        "name": "node",
        "image": desired.spec.effective_image,
        "env": _environment(desired, cluster_id),
        "ports": [
            {"name": "client", "containerPort": CLIENT_PORT, "protocol": "TCP"},
            {"name": "peer", "containerPort": PEER_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "startupProbe": _probe("/livez", every_s=2, failures=START_S // 2),
        "livenessProbe": _probe("/livez", every_s=10, failures=6),
        "readinessProbe": _probe("/readyz", every_s=2, failures=2),
        "resources": msgspec.to_builtins(desired.spec.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": DATA_VOLUME, "mountPath": ROOT}],
    }


def _environment(desired: Desired, cluster_id: str) -> list[Body]:
    """Return the node's variables; the name comes from the pod and is repeated in the addresses by expansion."""
    name = f"$({PREFIX}NAME)"
    host = f"{name}.{labels.peer_service(desired.name)}.{desired.namespace}.svc"
    scheme = "https" if desired.spec.tls.client == "Required" else "http"
    place = Place(
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
    settings = node_settings(desired, place)
    del settings[f"{PREFIX}NAME"]
    first = {"name": f"{PREFIX}NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [first, *({"name": variable, "value": value} for variable, value in settings.items())]


def _probe(path: str, *, every_s: int, failures: int) -> Body:
    request = {"path": path, "port": "metrics", "scheme": "HTTP"}
    return {"httpGet": request, "periodSeconds": every_s, "timeoutSeconds": 2, "failureThreshold": failures}


def _spread(desired: Desired, key: str) -> Body:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels.selector(desired.name)},
    }


def _claim(desired: Desired) -> Body:
    spec: Body = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": desired.spec.storage.size}},
    }
    if desired.spec.storage.class_ is not None:
        spec["storageClassName"] = desired.spec.storage.class_
    return {"metadata": {"name": DATA_VOLUME, "labels": labels.object_labels(desired.name)}, "spec": spec}
