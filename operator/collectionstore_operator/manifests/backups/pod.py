"""The pod of `collectionstore-backup`: the image of the nodes, as restricted as they are.

It gets the client certificate of the operator and the certificates to trust, never a key of the authority; credentials
of the repository as environment variables from their Secret; the encryption key as a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from collectionstore_operator.manifests.backups.work import OWNER, Work
from collectionstore_operator.manifests.manifest import Body
from collectionstore_operator.manifests.statefulset import USER
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.desired import CLIENT_PORT, Desired
from collectionstore_operator.resource.fields import rendered
from collectionstore_operator.resource.repository import MOUNT

CONTAINER: Final = "backup"
PREFIX: Final = "COLLECTIONSTORE_BACKUP_"
TRUST: Final = "/etc/collectionstore/trust"
CERTIFICATE: Final = "/etc/collectionstore/certificate"
KEY: Final = "/etc/collectionstore/key"
SCRATCH: Final = "/scratch"
RESULT: Final = "/dev/termination-log"


def pod_template(
    work: Work,
    command: Sequence[str],
    *,
    reads_cluster: bool,
    scratch: bool = False,
    status_port: int | None = None,
) -> Body:
    """Return the template of a pod that runs one command; `status_port` is of one that runs for ever."""
    metadata = {"labels": {**names.pod_labels(work.cluster_name), OWNER: work.uid}}
    return {
        "metadata": metadata,
        "spec": {
            **_placement(work.cluster),
            "serviceAccountName": work.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never" if status_port is None else "Always",
            "terminationGracePeriodSeconds": 10,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                _container(work, command, reads_cluster=reads_cluster, scratch=scratch, status_port=status_port)
            ],
            "volumes": _volumes(work, reads_cluster=reads_cluster, scratch=scratch),
        },
    }


def _placement(cluster: Desired | None) -> Body:
    """Return what the cluster's own pods have as well: where they may run, and how their image is pulled."""
    if cluster is None:
        return {}
    pod = cluster.spec.pod
    found: Body = {
        "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets],
        "nodeSelector": dict(pod.node_selector),
        "tolerations": [rendered(one) for one in pod.tolerations],
    }
    return {key: value for key, value in found.items() if value}


def _container(
    work: Work, command: Sequence[str], *, reads_cluster: bool, scratch: bool, status_port: int | None
) -> Body:
    options = [f"--option={name}={value}" for name, value in sorted(work.repository.options.items())]
    container: Body = {
        "name": CONTAINER,
        "image": work.image,
        "imagePullPolicy": work.cluster.spec.pod.image_pull_policy if work.cluster else "IfNotPresent",
        "command": ["collectionstore-backup"],
        "args": [_escaped(one) for one in (*command, *options)],
        "env": _environment(work, command[0], reads_cluster=reads_cluster),
        "terminationMessagePath": RESULT,
        # The result file says why; without one, such as after an invalid option, the end of the output does.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": msgspec.to_builtins(work.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(work, reads_cluster=reads_cluster, scratch=scratch),
    }
    if work.repository.credentials_secret_name is not None:
        container["envFrom"] = [{"secretRef": {"name": work.repository.credentials_secret_name}}]
    if status_port is not None:
        container["ports"] = [{"name": "status", "containerPort": status_port, "protocol": "TCP"}]
    return container


def _environment(work: Work, verb: str, *, reads_cluster: bool) -> list[Body]:
    found = {"REPOSITORY": work.repository.url, "RESULT_FILE": RESULT}
    if reads_cluster and work.cluster is not None:
        found |= {
            "ENDPOINTS": " ".join(_endpoints(work.cluster)),
            "CA_FILE": f"{TRUST}/ca.crt",
            "CERT_FILE": f"{CERTIFICATE}/tls.crt",
            "CERT_KEY_FILE": f"{CERTIFICATE}/tls.key",
            # By the other names of a member it may show a certificate that the user gives for clients.
            "MEMBER_NAMES": "true",
            # Not as an argument: a program of an older image would not start.
            "CLUSTER_ID": work.cluster_id,
        }
    if verb == "create" and work.max_bytes_per_second is not None:
        found["MAX_BYTES_PER_SECOND"] = str(work.max_bytes_per_second)
    if work.repository.encryption_key is not None:
        found["KEY_FILE"] = f"{KEY}/key"
    return [{"name": f"{PREFIX}{name}", "value": _escaped(value)} for name, value in found.items()]


def _escaped(text: str) -> str:
    """Return a text in which the kubelet expands no $(NAME)."""
    return text.replace("$(", "$$(")


def _endpoints(cluster: Desired) -> list[str]:
    """Return the client URLs of the members; any of them names the others."""
    peers = f"{labels.peer_service(cluster.name)}.{cluster.namespace}.svc"
    return [f"https://{cluster.member(number)}.{peers}:{CLIENT_PORT}" for number in range(cluster.spec.replicas)]


def _volumes(work: Work, *, reads_cluster: bool, scratch: bool) -> list[Body]:
    found: list[Body] = [{"name": "tmp", "emptyDir": {}}]
    if reads_cluster:
        trusted = [{"key": "ca.crt", "path": "ca.crt"}]
        pair = [{"key": name, "path": name} for name in ("tls.crt", "tls.key")]
        secret = {"secretName": labels.operator_secret(work.cluster_name), "items": pair, "defaultMode": 0o440}
        found += [
            {"name": "trust", "configMap": {"name": labels.record(work.cluster_name), "items": trusted}},
            {"name": "certificate", "secret": secret},
        ]
    key = work.repository.encryption_key
    if key is not None:
        items = [{"key": key.key, "path": "key"}]
        found.append({"name": "key", "secret": {"secretName": key.secret_name, "items": items, "defaultMode": 0o440}})
    if work.repository.claim_name is not None:
        found.append({"name": "repository", "persistentVolumeClaim": {"claimName": work.repository.claim_name}})
    if scratch:
        found.append({"name": "scratch", "emptyDir": {}})
    return found


def _mounts(work: Work, *, reads_cluster: bool, scratch: bool) -> list[Body]:
    found: list[Body] = [{"name": "tmp", "mountPath": "/tmp"}]
    if reads_cluster:
        found += [
            {"name": "trust", "mountPath": TRUST, "readOnly": True},
            {"name": "certificate", "mountPath": CERTIFICATE, "readOnly": True},
        ]
    if work.repository.encryption_key is not None:
        found.append({"name": "key", "mountPath": KEY, "readOnly": True})
    if work.repository.claim_name is not None:
        found.append({"name": "repository", "mountPath": MOUNT})
    if scratch:
        found.append({"name": "scratch", "mountPath": SCRATCH})
    return found
