"""What is observed of a Job: its own pods, and not those of an earlier Job of the same name."""

from __future__ import annotations

from typing import Any

from collectionstore_operator.kubernetes.backups.jobs import observe_run
from collectionstore_operator.model.backups.observed import Run
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.tests.kubernetes.backups.world import JOBS, PODS, World, a_world

JOB = "daily-prune-uiddaily"
OWNER = "uid-daily"
CREATED = "2026-01-02T03:04:05Z"


def put_job(world: World, *, uid: str = "j-2", owner: str = OWNER) -> None:
    metadata = {"name": JOB, "namespace": "shop", "uid": uid, "ownerReferences": [{"uid": owner}]}
    world.server.put(f"{JOBS}/{JOB}", {"kind": "Job", "metadata": metadata})


def leave_pod(world: World, state: dict[str, Any], *, uid: str = "j-1") -> None:
    """Put the pod of a Job that is gone."""
    labels = {"batch.kubernetes.io/job-name": JOB, "batch.kubernetes.io/controller-uid": uid}
    metadata = {
        "name": f"{JOB}-old",
        "namespace": "shop",
        "labels": labels,
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    status = {"phase": "Succeeded", "containerStatuses": [{"state": state}]}
    world.server.put(f"{PODS}/{JOB}-old", {"kind": "Pod", "metadata": metadata, "status": status})


async def test_success_of_an_earlier_job_is_not_that_of_this_one() -> None:
    async with a_world() as world:
        put_job(world)
        leave_pod(world, {"terminated": {"exitCode": 0, "message": "old"}})
        found = await observe_run(world.kube, JOB, "shop", OWNER)
        assert isinstance(found, Run)
        assert (found.exit_code, found.message) == (None, "")
        world.pod(JOB, {"terminated": {"exitCode": 9, "message": "new"}})
        found = await observe_run(world.kube, JOB, "shop", OWNER)
        assert isinstance(found, Run)
        assert (found.exit_code, found.message) == (9, "new")


async def test_job_of_another_owner_is_unknown() -> None:
    async with a_world() as world:
        put_job(world, owner="uid-other")
        assert isinstance(await observe_run(world.kube, JOB, "shop", OWNER), Unknown)
