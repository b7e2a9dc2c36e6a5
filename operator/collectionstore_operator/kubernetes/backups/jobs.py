"""Jobs as the planner sees them: the Job, and what its newest pod says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube
from collectionstore_operator.manifests.backups.jobs import SUBJECT
from collectionstore_operator.model.backups.observed import Run
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown

JOB_UID: Final = "batch.kubernetes.io/controller-uid"
"""Label of the Job controller on its pods; that of the name is on those of an earlier Job of the same name, too."""
WAITING_MAX: Final = 500
_STARTING: Final = ("ContainerCreating", "PodInitializing")


async def observe_run(kube: Kube, name: str, namespace: str, owner_uid: str) -> Run | Absent | Unknown:
    """Return the Job of a name: at most two requests. One that belongs to another owner is Unknown, never ours."""
    try:
        job = await kube.find(Kind.JOB, name, namespace)
        if job is None:
            return ABSENT
        owners = {one.get("uid") for one in job["metadata"].get("ownerReferences") or ()}
        if owner_uid not in owners:
            return Unknown(f"the Job {name} belongs to another owner: rename or delete it")
        pods = await kube.find_all(Kind.POD, namespace, {JOB_UID: job["metadata"]["uid"]})
    except ApiError as error:
        return Unknown(str(error))
    return read_run(job, pods)


def read_run(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Run:
    """Return a Job and what its pods say."""
    status, metadata = job.get("status") or {}, job["metadata"]
    ends = {one["type"]: one for one in status.get("conditions") or () if one.get("status") == "True"}
    failed = ends.get("Failed") or ends.get("FailureTarget")
    state: Literal["Active", "Succeeded", "Failed"] = "Active"
    if "Complete" in ends:
        state = "Succeeded"
    elif "Failed" in ends:
        state = "Failed"
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    code, message = _ended(newest)
    finished = status.get("completionTime") or (ends["Failed"].get("lastTransitionTime") if "Failed" in ends else None)
    return Run(
        name=metadata["name"],
        uid=metadata["uid"],
        state=state,
        started=_seconds(status.get("startTime")),
        ended=_seconds(finished) if state != "Active" else None,
        reason=failed.get("reason", "") if failed is not None else "",
        exit_code=code,
        message=message,
        failures=int(status.get("failed") or 0),
        waiting=_waiting(newest[-1]) if newest and state != "Succeeded" else "",
        subject=(metadata.get("annotations") or {}).get(SUBJECT, ""),
        image=_image(job),
    )


def _ended(pods: Sequence[Mapping[str, Any]]) -> tuple[int | None, str]:
    """Return exit code and message of the newest container that ended; that of a success before any other."""
    found: tuple[int | None, str] = (None, "")
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            for ended in (container.get("lastState") or {}, container.get("state") or {}):
                terminated = ended.get("terminated")
                if terminated is None or found[0] == 0:
                    continue
                found = (terminated.get("exitCode"), terminated.get("message", ""))
    return found


def _waiting(pod: Mapping[str, Any]) -> str:
    """Return why a pod does not run; empty while it does, has ended, or only starts."""
    status = pod.get("status") or {}
    if status.get("phase") != "Pending":
        return ""
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting is not None and waiting.get("reason") not in _STARTING:
            return _shortened(f"{waiting.get('reason', 'Waiting')}: {waiting.get('message', '')}")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _shortened(f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}")
    return ""


def pod_trouble(pods: Sequence[Mapping[str, Any]]) -> str:
    """Return why the pod of an archive does not run: what its container ended with, or why it waits."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            if (container.get("state") or {}).get("running") is not None:
                continue
            ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get(
                "terminated"
            )
            if ended is not None:
                return f"exit code {ended.get('exitCode')}: {ended.get('message', '')}".strip(": ")[:WAITING_MAX]
        waiting = _waiting(pod)
        if waiting:
            return waiting
    return ""


def _image(job: Mapping[str, Any]) -> str:
    containers: list[Any] = job.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _shortened(text: str) -> str:
    return " ".join(text.split()).strip(": ")[:WAITING_MAX]


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
