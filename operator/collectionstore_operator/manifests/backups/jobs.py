"""The Jobs: one command each, within a deadline, repeated only where that can help.

A pod is replaced only when the one before has ended (`podReplacementPolicy`), so two never work at the same time unless
a machine is lost; `create` then finds what the other one has made, by the number of its run.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from collectionstore_operator.manifests.backups.pod import SCRATCH, pod_template
from collectionstore_operator.manifests.backups.work import Work, owned
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.model.backups.actions import StartRun
from collectionstore_operator.model.backups.outcomes import FINAL_CODES
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups.specs import Retention

SUBJECT: Final = f"{labels.GROUP}/subject"
"""Annotation on Jobs: what they were started for, see `StartRun`."""
RETRIES: Final = 3
KEPT_S: Final = 86_400
"""A Job is deleted so long after its end; what it said is in the status by then, or it is asked again."""
SKEW_S: Final = 3_600
"""The clocks of the machine of a run and of the API server may differ by so much."""


def build_job(work: Work, action: StartRun, retention: Retention | None = None) -> Manifest:
    """Return the Job of a task."""
    template = pod_template(
        work,
        command_of(work, action, retention),
        reads_cluster=action.task == "create",
        scratch=action.task == "drill",
    )
    spec = {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": work.deadline_s,
        "ttlSecondsAfterFinished": KEPT_S,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": list(FINAL_CODES)}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": template,
    }
    return owned(
        work,
        api_version="batch/v1",
        kind="Job",
        name=action.name,
        spec=spec,
        annotations={SUBJECT: action.subject},
    )


def run_name(uid: str, created: str) -> str:
    """Return the name of a run: a time that is not after its start, and a number that no other backup has."""
    since = rfc3339(max(0.0, seconds(created) - SKEW_S))
    return f"{since.replace('-', '').replace(':', '')}-{sha256(uid.encode()).hexdigest()[:8]}"


def command_of(work: Work, action: StartRun, retention: Retention | None, *, scratch: str = SCRATCH) -> Sequence[str]:
    """Return what `collectionstore-backup` is run with for a task; `scratch` is a directory for a drill."""
    common = ("--quiet", "--output=json", f"--deadline={work.deadline_s}s")
    source = f"--source-cluster={work.cluster_id}"
    match action.task:
        case "create":
            run = run_name(work.uid, work.created)
            return ("create", *common, f"--run={run}", f"--cluster-id={work.cluster_id}")
        case "delete":
            return ("delete", action.subject, "--last", *common)
        case "prune":
            kept = retention or Retention()
            rules = (f"--keep-last={kept.keep_last}", f"--keep-within={kept.keep_within}", "--unfinished-after=2d")
            return ("prune", *common, source, *rules)
        case "drill":
            return ("drill", "latest", *common, source, f"--scratch={scratch}")
