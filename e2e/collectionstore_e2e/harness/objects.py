"""Objects that several scenarios need: pods that pass the strictest pod security, claims, services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from collectionstore_e2e.harness.kinds import Object

USER: Final = 10_001
POD_SECURITY: Final[Object] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
IDLE: Final = ("/bin/sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait")
"""Sleeps until SIGTERM, then exits immediately."""
START_S: Final = 60.0


def container(name: str, image: str, command: Sequence[str] = (), **more: Any) -> Object:
    """Return a container that passes pod security `restricted`."""
    given = {"command": list(command)} if command else {}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": CONTAINER_SECURITY,
        **given,
        **more,
    }


def pod_spec(*containers: Object, **more: Any) -> Object:
    """Return a pod spec, without a service account token unless `more` enables it."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": 10,
        "containers": list(containers),
        **more,
    }


def pod(name: str, spec: Object, *, labels: Mapping[str, str] | None = None) -> Object:
    """Return a pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels or {})}, "spec": spec}


def claim(name: str, size: str = "16Mi") -> Object:
    """Return a PersistentVolumeClaim of the default StorageClass."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def headless_service(name: str, labels: Mapping[str, str], ports: Mapping[str, int]) -> Object:
    """Return a headless Service whose name resolves to its pods, ready or not."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": dict(labels),
            "ports": [{"name": port, "port": number} for port, number in ports.items()],
        },
    }


def stateful_set(name: str, labels: Mapping[str, str], replicas: int, spec: Object, claims: Sequence[Object]) -> Object:
    """Return a StatefulSet whose pods start in parallel and are updated only when deleted (OnDelete)."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels)}, "spec": spec},
            "volumeClaimTemplates": list(claims),
        },
    }


def one_per_node(labels: Mapping[str, str]) -> Object:
    """Return an anti-affinity that allows at most one of these pods per node."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": dict(labels)}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
