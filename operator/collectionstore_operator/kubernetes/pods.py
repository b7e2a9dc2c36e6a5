"""A pod of the API as the planner sees it, and its failure in the planner's terms. Pure.

Reasons are those of the kubelet and the scheduler; one that is not listed here is shown and classified as no failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from collectionstore_operator.model.exit_reason import exit_reason, is_too_new
from collectionstore_operator.model.observed import Failure, Pod, Preparation
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import CLIENT_PORT, PEER_PORT, Desired

CRASHES: Final = 3
"""A container in CrashLoopBackOff counts as crashing from this restart count on."""
NODE_LOST: Final = "NodeLost"
ZONE: Final = "topology.kubernetes.io/zone"
DETAIL_LENGTH_MAX: Final = 300
"""An error of the image pull repeats its URL many times, and the detail is shown in several places."""

_WAITING: Final = {
    "CrashLoopBackOff": Failure.CRASH,
    "CreateContainerConfigError": Failure.CONFIGURATION,
    "CreateContainerError": Failure.IMAGE,
    "ErrImageNeverPull": Failure.IMAGE,
    "ErrImagePull": Failure.IMAGE,
    "ImageInspectError": Failure.IMAGE,
    "ImagePullBackOff": Failure.IMAGE,
    "InvalidImageName": Failure.IMAGE,
    "RunContainerError": Failure.IMAGE,
}
_EXITS: Final = {
    64: Failure.CONFIGURATION,
    65: Failure.DAMAGED,
    69: Failure.CONFIGURATION,
    74: Failure.DISK,
}
"""Exit codes of a storage node, from sysexits.h; listed in the README of the node."""


POD_SPEC: Final = ("nodeName", "serviceAccountName", "schedulingGates")
POD_STATUS: Final = (
    "phase",
    "reason",
    "message",
    "podIP",
    "conditions",
    "containerStatuses",
    "initContainerStatuses",
)
"""What a cache keeps of a pod, besides its volumes: all that is read here, and the account of a signing request."""


def read_pod(
    body: Mapping[str, Any],
    desired: Desired,
    *,
    unready_s: float,
    lost_machines: frozenset[str],
    restart_reason: str = "",
    claim_deleting: bool = False,
    labelled: bool = True,
) -> Pod:
    """Return a pod as observed; `lost_machines` are the machines that are gone or do not report.

    `unready_s` is for how long it has been as `unready_since` says, whatever its own times say (`first_seen`).
    `claim_deleting`: its claim is being deleted, so the next pod of its name cannot get the same volume.
    """
    metadata, status = body["metadata"], body.get("status", {})
    annotations = metadata.get("annotations") or {}
    name, machine = metadata["name"], body["spec"].get("nodeName") or ""
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    lost = machine in lost_machines
    running = "running" in (container.get("state") or {}) and not lost
    ready = not unready_since(body, lost_machines)
    failure, detail = (Failure.NONE, "") if ready else _diagnose(status, container, conditions, machine, lost=lost)
    gates = {one.get("name") for one in body["spec"].get("schedulingGates") or ()}
    host = host_of(name, desired)
    scheme = "https" if desired.spec.tls.client == "Required" else "http"
    return Pod(
        uid=metadata["uid"],
        running=running,
        ready=ready,
        terminating="deletionTimestamp" in metadata,
        stuck_terminating="deletionTimestamp" in metadata and lost and claim_deleting,
        revision=annotations.get(labels.REVISION, ""),
        restarts=int(container.get("restartCount") or 0),
        unready_s=0.0 if ready else unready_s,
        failure=failure,
        detail=detail,
        gated=bool({labels.GATE, labels.RESTORE_GATE} & gates),
        awaits_restore=labels.RESTORE_GATE in gates,
        replace_requested=labels.REPLACE in annotations,
        replace_in_place=annotations.get(labels.REPLACE) == labels.IN_PLACE,
        labelled=labelled,
        restart_reason=restart_reason,
        peer_address=f"{host}:{PEER_PORT}",
        http_address=f"{scheme}://{host}:{CLIENT_PORT}",
        image=container.get("image") or "",
        machine=machine,
        # Kubernetes copies the topology labels of the machine to its pods from 1.35 on (KEP-4742).
        preparation=_preparation(status),
        zone=(metadata.get("labels") or {}).get(ZONE, ""),
    )


def unready_since(body: Mapping[str, Any], lost_machines: frozenset[str]) -> str:
    """Return a word for the time since when a pod is not ready: its uid, and when that began. Empty if it is ready.

    One that waits for a gate is in another state than behind it: until then it could not become ready.
    """
    status = body.get("status", {})
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    runs = "running" in (container.get("state") or {}) and body["spec"].get("nodeName") not in lost_machines
    if runs and _ready_condition(body).get("status") == "True":
        return ""
    waits = " gated" if body["spec"].get("schedulingGates") else ""
    return f"{body['metadata']['uid']} {_began(body)}{waits}"


def address_of(body: Mapping[str, Any], desired: Desired) -> dict[str, str]:
    """Return the IP address of a pod by the host name in its certificate; empty before it has an address."""
    address = body.get("status", {}).get("podIP")
    return {host_of(body["metadata"]["name"], desired): address} if address else {}


def host_of(pod: str, desired: Desired) -> str:
    """Return the stable DNS name of a pod, which other members and clients use."""
    return f"{pod}.{labels.peer_service(desired.workload)}.{desired.namespace}.svc"


def lost_machines(nodes: Mapping[str, Mapping[str, Any]], used: frozenset[str]) -> frozenset[str]:
    """Return which of the used machines are gone, tainted as out of service, or do not report."""
    return frozenset(name for name in used if name not in nodes or _is_lost(nodes[name]))


def _is_lost(node: Mapping[str, Any]) -> bool:
    taints = {taint["key"] for taint in node.get("spec", {}).get("taints") or ()}
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions") or ()}
    return "node.kubernetes.io/out-of-service" in taints or conditions.get("Ready") == "Unknown"


def _diagnose(
    status: Mapping[str, Any],
    container: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    machine: str,
    *,
    lost: bool,
) -> tuple[Failure, str]:
    """Return the kind of failure of a pod, and its description."""
    if lost:
        return Failure.MACHINE, f"{NODE_LOST}: the machine {machine} is gone or does not report"
    scheduled = conditions.get("PodScheduled", {})
    if not machine and scheduled.get("status") == "False":
        return Failure.SCHEDULING, _describe(scheduled)
    if status.get("phase") == "Failed":
        return Failure.MACHINE, _describe(status)  # evicted, or rejected by the kubelet: never caused by the container
    ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
    waiting = (container.get("state") or {}).get("waiting") or {}
    if ended and is_too_new(int(ended.get("exitCode") or 0), exit_reason(ended.get("message") or "")):
        return Failure.DOWNGRADED, _describe_exit(ended)
    if ended and ended.get("exitCode") in _EXITS:
        return _EXITS[ended["exitCode"]], _describe_exit(ended)
    failure = _WAITING.get(waiting.get("reason", ""), Failure.NONE)
    if failure is Failure.CRASH and int(container.get("restartCount") or 0) < CRASHES:
        failure = Failure.NONE
    if failure is not Failure.NONE and ended and failure is Failure.CRASH:
        return failure, f"{waiting.get('reason')}; {_describe_exit(ended)}"
    return failure, _describe(waiting) if waiting.get("reason") != "ContainerCreating" else ""


def _preparation(status: Mapping[str, Any]) -> Preparation | None:
    """Return the last failure of the init container; None if there is none, or it has succeeded."""
    for one in status.get("initContainerStatuses") or ():
        state = one.get("state") or {}
        ended = state.get("terminated") or (one.get("lastState") or {}).get("terminated") or {}
        waiting = state.get("waiting") or {}
        if (state.get("terminated") or {}).get("exitCode") == 0:
            continue
        if ended.get("exitCode"):
            lines = [line for line in (ended.get("message") or "").splitlines() if line.strip()]
            said = {"message": lines[-1] if lines else ended.get("reason", "")}
            return Preparation(exit_code=int(ended["exitCode"]), message=_describe(said))
        if waiting.get("reason") in _WAITING:
            return Preparation(exit_code=None, message=_describe(waiting))
    return None


def _describe_exit(ended: Mapping[str, Any]) -> str:
    reason = exit_reason(ended.get("message") or "") or _describe(ended)
    return f"exit code {ended.get('exitCode')}: {reason}"


def _describe(said: Mapping[str, Any]) -> str:
    reason, message = said.get("reason") or "", " ".join((said.get("message") or "").split())
    text = f"{reason}: {message}" if reason and message else reason or message
    # The end, not the beginning: the last line of a log, and the innermost cause of an error, say most.
    return text if len(text) <= DETAIL_LENGTH_MAX else f"{text[:40]} ... {text[40 - DETAIL_LENGTH_MAX :]}"


def _ready_condition(body: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = body.get("status", {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == "Ready"), {})


def _began(body: Mapping[str, Any]) -> str:
    changed: str = _ready_condition(body).get("lastTransitionTime") or body["metadata"]["creationTimestamp"]
    return changed
