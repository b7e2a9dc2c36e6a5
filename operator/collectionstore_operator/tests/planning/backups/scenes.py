"""Backups and schedules for tests: what is desired, and what was observed. Times are seconds after `START`."""

from __future__ import annotations

import json
from typing import Any

from collectionstore_operator.model.backups.observed import (
    BackupObserved,
    BackupSummary,
    ClusterSeen,
    Run,
    ScheduleObserved,
    Times,
)
from collectionstore_operator.model.observed import ABSENT
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource.backups.desired import Backup, Schedule
from collectionstore_operator.resource.backups.specs import BackupSpec, ScheduleSpec
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.resource.spec import Spec

START = 1_800_000_000.0
REPOSITORY = Repository(url="s3://bucket/path")
DIGEST = "ab" * 32
BACKUP_ID = "20270115T080000Z-0123abcd"
CLUSTER = ClusterSeen(desired=Desired(name="demo", namespace="shop", uid="c1"), cluster_id="demo-1", initialized=True)
ASLEEP = ClusterSeen(
    desired=Desired(name="demo", namespace="shop", uid="c1", spec=Spec(hibernate=True)),
    cluster_id="demo-1",
    initialized=True,
)


def a_backup(**changes: Any) -> Backup:
    """Return a backup; fields of the spec may be among the changes."""
    spec: dict[str, Any] = {name: changes.pop(name) for name in list(changes) if name in BackupSpec.__struct_fields__}
    common: dict[str, Any] = {
        "name": "one",
        "namespace": "shop",
        "uid": "u-1",
        "generation": 1,
        "created": rfc3339(START),
        "deleting": False,
        "held": False,
        "schedule": "",
    }
    given: dict[str, Any] = {"cluster_name": "demo", "repository": REPOSITORY} | spec
    return Backup(**(common | changes), spec=BackupSpec(**given))


def a_schedule(**changes: Any) -> Schedule:
    """Return a schedule; fields of the spec may be among the changes."""
    spec: dict[str, Any] = {name: changes.pop(name) for name in list(changes) if name in ScheduleSpec.__struct_fields__}
    common: dict[str, Any] = {
        "name": "daily",
        "namespace": "shop",
        "uid": "s-1",
        "generation": 1,
        "created": rfc3339(START),
        "deleting": False,
    }
    given: dict[str, Any] = {"cluster_name": "demo", "schedule": "0 3 * * *", "repository": REPOSITORY} | spec
    return Schedule(**(common | changes), spec=ScheduleSpec(**given))


def of_backup(**changes: Any) -> BackupObserved:
    """Return what there is of a backup: a cluster, and no Job."""
    common: dict[str, Any] = {"now": START + 10, "cluster": CLUSTER, "create": ABSENT, "delete": ABSENT}
    return BackupObserved(**(common | changes))


def of_schedule(**changes: Any) -> ScheduleObserved:
    """Return what there is of a schedule: a cluster, and nothing made yet."""
    common: dict[str, Any] = {
        "now": START + 10,
        "cluster": CLUSTER,
        "backups": (),
        "times": Times(last=START - 3_600, next=START + 82_800),
        "prune": ABSENT,
        "drill": ABSENT,
        "archive": ABSENT,
    }
    return ScheduleObserved(**(common | changes))


def a_run(**changes: Any) -> Run:
    """Return a Job that runs."""
    common: dict[str, Any] = {
        "name": "one-create-u1",
        "uid": "j-1",
        "state": "Active",
        "started": START + 2,
        "image": "node:1",
    }
    return Run(**(common | changes))


def made(**changes: Any) -> str:
    """Return the result file of a backup that was made."""
    told = {
        "id": BACKUP_ID,
        "cluster_id": "demo-1",
        "member": "demo-1",
        "from_leader": False,
        "term": 2,
        "index": 40,
        "revision": 30,
        "state_digest": DIGEST,
        "stored_bytes": 1_000,
        "stream_bytes": 4_000,
        "started_at": "2027-01-15T08:00:00Z",
        "finished_at": "2027-01-15T08:00:05Z",
        "seconds": 5.0,
    }
    return json.dumps(told | changes)


def drilled(**changes: Any) -> str:
    """Return the result file of a drill."""
    told = {
        "id": BACKUP_ID,
        "cluster_id": "demo-1",
        "revision": 30,
        "records": 10,
        "state_digest": DIGEST,
        "seconds": 2.6,
    }
    return json.dumps(told | changes)


def succeeded(message: str | None = None, **changes: Any) -> Run:
    """Return a Job that has succeeded."""
    told = made() if message is None else message
    return a_run(state="Succeeded", ended=START + 8, exit_code=0, message=told, **changes)


def failed(reason: str, message: str = "it is so", code: int = 10, **changes: Any) -> Run:
    """Return a Job whose program has failed for a reason."""
    told = json.dumps({"reason": reason, "message": message, "exit_code": code})
    return a_run(**({"state": "Failed", "ended": START + 8, "exit_code": code, "message": told} | changes))


def a_summary(number: int, **changes: Any) -> BackupSummary:
    """Return a backup of a schedule, complete, made for the hour `number`."""
    due = START + 3_600 * number
    common: dict[str, Any] = {
        "backup": a_backup(name=f"daily-{number}", uid=f"b-{number}", schedule="daily"),
        "due": due,
        "state": "Complete",
        "backup_id": BACKUP_ID,
        "revision": 30,
        "size_bytes": 1_000,
        "duration_s": 5.0,
        "started": rfc3339(due),
        "ended": rfc3339(due + 5),
    }
    if changes.get("state") == "Active":
        common["ended"] = ""
    return BackupSummary(**(common | changes))
