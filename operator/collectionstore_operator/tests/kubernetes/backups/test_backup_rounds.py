"""Rounds of a backup against an API server: one Job whatever happens to the operator, and what its end becomes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator import faults
from collectionstore_operator.resource.backups.names import FINALIZER
from collectionstore_operator.tests.kubernetes.backups.world import JOBS, NAMESPACE, POLICIES, World, a_world
from collectionstore_operator.tests.planning.backups.scenes import BACKUP_ID, DIGEST, made

JOB = "one-create-uidone"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made_world:
        yield made_world


class Died(BaseException):
    """The operator was killed."""


async def test_backup_from_creation_to_completion(world: World) -> None:
    path = world.backup()
    await world.run_backup()
    assert world.jobs() == [JOB]
    assert [one.rsplit("/", 1)[1] for one in world.server.objects if one.startswith(POLICIES)] == ["one-pods-uidone"]
    assert world.condition(path, "Complete")["status"] == "False"
    await world.run_backup()
    assert world.condition(path, "Complete")["reason"] == "Running"
    world.end(JOB, 0, made())
    outcome = await world.run_backup()
    assert outcome.done
    status = world.body(path)["status"]
    assert (status["backupID"], status["revision"], status["term"], status["index"]) == (BACKUP_ID, 30, 2, 40)
    assert (status["digest"], status["sizeBytes"], status["member"]) == (DIGEST, 1_000, "demo-1")
    assert status["startedAt"] < status["completedAt"]
    assert (world.condition(path, "Complete")["status"], world.condition(path, "Failed")["status"]) == ("True", "False")
    assert world.events() == ["StartRun", "BackupComplete"]


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        (10, {"reason": "StoreUnreachable", "message": "m", "exit_code": 10}, "StoreUnreachable"),
        (9, {"reason": "CredentialsRefused", "message": "m", "exit_code": 9}, "CredentialsRefused"),
        (1, {"reason": "StoreFull", "message": "m", "exit_code": 1}, "StoreFull"),
        (8, {"reason": "Corrupt", "message": "m", "exit_code": 8}, "Corrupt"),
        (2, "Error: --option takes NAME=VALUE", "InvalidOption"),
        (137, "", "Killed"),
        (77, "", "Failed"),
    ],
)
async def test_failure_has_the_reason_of_the_program(world: World, code: int, message: Any, reason: str) -> None:
    path = world.backup()
    await world.run_backup()
    world.end(JOB, code, message if isinstance(message, str) else json.dumps(message))
    assert (await world.run_backup()).done
    failed = world.condition(path, "Failed")
    assert (failed["status"], failed["reason"]) == ("True", reason)
    assert world.condition(path, "Complete")["status"] == "False"
    assert world.body(path)["status"]["backupID"] == ""
    assert "BackupFailed" in world.events()
    await world.run_backup()
    assert world.jobs() == [JOB], "it is not started again"


@pytest.mark.parametrize("message", ["", "{}", "not json", made(state_digest="x"), made(id="../../etc"), made(term=-1)])
async def test_success_without_a_readable_result_is_no_success(world: World, message: str) -> None:
    """The Job is removed and started again: its command returns what it has made."""
    path = world.backup()
    await world.run_backup()
    world.end(JOB, 0, message)
    await world.run_backup()
    assert world.condition(path, "Complete") == world.condition(path, "Complete") | {"status": "False"}
    assert world.jobs() == []
    await world.run_backup()
    assert world.jobs() == [JOB]


async def test_job_that_was_collected_changes_nothing_of_an_end(world: World) -> None:
    path = world.backup()
    await world.run_backup()
    world.end(JOB, 0, made())
    await world.run_backup()
    del world.server.objects[f"{JOBS}/{JOB}"]
    before = world.body(path)
    assert (await world.run_backup()).done
    assert world.body(path) == before
    assert world.jobs() == []


async def test_deadline_that_passes_keeps_what_the_last_attempt_said(world: World) -> None:
    """The Job controller deletes the pods then."""
    path = world.backup()
    await world.run_backup()
    body = world.server.objects[f"{JOBS}/{JOB}"]
    world.server.put(f"{JOBS}/{JOB}", {**body, "status": {"startTime": "2027-01-15T08:00:00Z", "failed": 1}})
    told = json.dumps({"reason": "StoreUnreachable", "message": "no answer", "exit_code": 10})
    world.pod(JOB, {"terminated": {"exitCode": 10, "message": told}}, phase="Failed")
    await world.run_backup()
    assert world.condition(path, "Complete")["reason"] == "Retrying"
    world.end(JOB, 0, "")
    body = world.server.objects[f"{JOBS}/{JOB}"]
    condition = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    moment = {"lastTransitionTime": "2027-01-15T08:05:00Z"}
    world.server.put(f"{JOBS}/{JOB}", {**body, "status": {"failed": 1, "conditions": [condition | moment]}})
    for path_of_pod in [one for one in world.server.objects if "/pods/" in one]:
        del world.server.objects[path_of_pod]
    await world.run_backup()
    failed = world.condition(path, "Failed")
    assert (failed["status"], failed["reason"]) == ("True", "DeadlineExceeded")
    assert "StoreUnreachable: no answer" in failed["message"]


async def test_pod_that_cannot_start_is_explained(world: World) -> None:
    path = world.backup()
    await world.run_backup()
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}}
    world.pod(JOB, waiting, phase="Pending")
    await world.run_backup()
    assert world.condition(path, "Complete")["reason"] == "PodWaiting"
    assert 'secret "keys" not found' in world.condition(path, "Complete")["message"]
    world.end(JOB, 1, "", reason="DeadlineExceeded")
    for one in [one for one in world.server.objects if "/pods/" in one]:
        del world.server.objects[one]
    await world.run_backup()
    failed = world.condition(path, "Failed")
    assert failed["reason"] == "DeadlineExceeded"
    assert 'secret "keys" not found' in failed["message"], "its pods are gone by now"


async def test_cluster_that_is_missing_is_waited_for_until_the_deadline(world: World) -> None:
    path = world.backup(clusterName="other", deadlineSeconds=60)
    await world.run_backup()
    assert world.condition(path, "Complete")["reason"] == "ClusterNotFound"
    world.now += 61
    assert (await world.run_backup()).done
    assert world.condition(path, "Failed")["status"] == "True"
    assert world.jobs() == []


async def test_invalid_spec_fails_with_every_error(world: World) -> None:
    path = world.backup(repository={"url": "file:///etc", "claimName": "backups"}, deadlineSeconds=1)
    assert (await world.run_backup()).done
    assert world.condition(path, "Failed")["reason"] == "InvalidSpec"
    assert "deadlineSeconds" in world.condition(path, "Failed")["message"]
    assert world.jobs() == []


async def test_job_of_somebody_else_is_never_taken_for_ours(world: World) -> None:
    world.server.put(f"{JOBS}/{JOB}", {"kind": "Job", "metadata": {"name": JOB, "namespace": "shop"}})
    path = world.backup()
    await world.run_backup()
    assert world.condition(path, "Complete")["reason"] == "JobUnknown"
    assert "belongs to another owner" in world.condition(path, "Complete")["message"]


async def test_operator_that_does_not_lead_writes_nothing(world: World) -> None:
    world.leads = False
    path = world.backup()
    await world.run_backup()
    assert "status" not in world.body(path)
    assert world.jobs() == []


async def test_stored_data_are_deleted_before_the_resource_goes(world: World) -> None:
    path = world.backup(deletionPolicy="Delete")
    await world.run_backup()
    assert world.body(path)["metadata"]["finalizers"] == [FINALIZER]
    world.end(JOB, 0, made())
    await world.run_backup()
    metadata = {**world.body(path)["metadata"], "deletionTimestamp": "2027-01-15T09:00:00Z"}
    world.server.put(path, {**world.body(path), "metadata": metadata})
    await world.run_backup()
    assert world.jobs() == [JOB, "one-delete-uidone"]
    arguments = world.body(f"{JOBS}/one-delete-uidone")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[:3] == ["delete", BACKUP_ID, "--last"]
    world.end("one-delete-uidone", 10, "", reason="BackoffLimitExceeded")
    await world.run_backup()
    assert world.body(path)["metadata"]["finalizers"] == [FINALIZER]
    assert "could not be deleted" in world.body(path)["status"]["message"]
    world.end("one-delete-uidone", 0, "{}")
    assert (await world.run_backup()).done
    assert world.body(path)["metadata"]["finalizers"] == []


async def test_deletion_does_not_need_the_cluster(world: World) -> None:
    path = world.backup(deletionPolicy="Delete")
    await world.run_backup()
    world.end(JOB, 0, made())
    await world.run_backup()
    del world.server.objects["/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreclusters/demo"]
    metadata = {**world.body(path)["metadata"], "deletionTimestamp": "2027-01-15T09:00:00Z"}
    world.server.put(path, {**world.body(path), "metadata": metadata})
    await world.run_backup()
    container = world.body(f"{JOBS}/one-delete-uidone")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "collectionstore/node:0.1.0"


async def test_namespace_that_is_being_deleted_is_not_held_up(world: World) -> None:
    path = world.backup(deletionPolicy="Delete")
    await world.run_backup()
    world.end(JOB, 0, made())
    await world.run_backup()
    metadata = {**world.body(path)["metadata"], "deletionTimestamp": "2027-01-15T09:00:00Z"}
    world.server.put(path, {**world.body(path), "metadata": metadata})
    world.server.put(NAMESPACE, {"metadata": {"name": "shop", "deletionTimestamp": "2027-01-15T09:00:00Z"}})
    await world.run_backup()
    assert world.body(path)["metadata"]["finalizers"] == []


POINTS = (
    "BackupRound.observed",
    "BackupRound.published",
    "HoldBackup.before",
    "HoldBackup.after",
    "AdmitBackups.after",
    "StartRun.before",
    "StartRun.after",
)


@pytest.mark.parametrize("point", POINTS)
async def test_operator_that_is_killed_makes_exactly_one_job(world: World, point: str) -> None:
    path = world.backup(deletionPolicy="Delete")

    def die(reached: str) -> None:
        if reached == point:
            raise Died

    with faults.armed(die), pytest.raises(Died):
        await world.run_backup()
    await world.run_backup()
    await world.run_backup()
    assert world.jobs() == [JOB]
    world.end(JOB, 0, made())

    if point.startswith("BackupRound"):
        with faults.armed(die), pytest.raises(Died):
            await world.run_backup()
    await world.run_backup()
    assert world.condition(path, "Complete")["status"] == "True"
    assert world.jobs() == [JOB]


async def test_round_costs_a_bounded_number_of_requests(world: World) -> None:
    world.backup()
    await world.run_backup()
    world.server.requests.clear()
    await world.run_backup()
    reads = len([one for one in world.server.requests if one[0] == "GET"])
    assert reads <= 6
    world.end(JOB, 0, made())
    await world.run_backup()
    world.server.requests.clear()
    await world.run_backup()
    assert world.server.requests == [
        ("GET", "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstorebackups/one")
    ]
