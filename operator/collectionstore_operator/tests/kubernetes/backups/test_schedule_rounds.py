"""Rounds of a schedule against an API server."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from collectionstore_operator import faults
from collectionstore_operator.kubernetes.backups.executor import Executor
from collectionstore_operator.manifests.backups.work import work_of_schedule
from collectionstore_operator.model.backups.actions import CreateBackup
from collectionstore_operator.model.backups.observed import Lag
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.resource.backups.desired import parse_backup, parse_schedule
from collectionstore_operator.tests.kubernetes.backups.world import (
    DEPLOYMENTS,
    GROUP,
    JOBS,
    PODS,
    World,
    a_world,
)
from collectionstore_operator.tests.planning.backups.scenes import BACKUP_ID, drilled, failed

HOUR = 3_600


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made_world:
        yield made_world


class Died(BaseException):
    """The operator was killed."""


def backups(world: World) -> list[str]:
    """Return the names of the backups, the oldest first."""
    root = f"{GROUP}/collectionstorebackups/"
    return [path.removeprefix(root) for path in sorted(world.server.objects) if path.startswith(root)]


async def test_schedule_makes_a_backup_at_each_time(world: World) -> None:
    path = world.schedule()
    await world.run_schedule()
    assert backups(world) == []
    world.now += HOUR
    await world.run_schedule()
    await world.run_schedule()
    (name,) = backups(world)
    await world.complete(name)
    await world.run_schedule()
    status = world.body(path)["status"]
    assert (status["lastSuccessName"], status["lastSuccessBackup"], status["sizeBytes"]) == (name, BACKUP_ID, 1_000)
    assert status["intervalSeconds"] == HOUR
    assert world.condition(path, "BackupFresh")["status"] == "True"
    assert world.condition(path, "Ready")["status"] == "True"
    world.now += HOUR
    await world.run_schedule()
    assert len(backups(world)) == 2


async def test_backup_of_a_schedule_is_valid_and_survives_it(world: World) -> None:
    world.schedule(immediate=True, deadlineSeconds=600, maxBytesPerSecond=20_000_000, serviceAccountName="reader")
    await world.run_schedule()
    (name,) = backups(world)
    body = world.body(f"{GROUP}/collectionstorebackups/{name}")
    parsed = parse_backup(body)
    assert (parsed.spec.deadline_seconds, parsed.spec.service_account_name) == (600, "reader")
    assert parsed.spec.max_bytes_per_second == 20_000_000
    assert parsed.schedule == "daily"
    assert "ownerReferences" not in body["metadata"]


@pytest.mark.parametrize(
    ("schedule", "cluster"), [(None, "demo"), ("nightly", "demo"), ("daily", "other")], ids=["user", "other", "cluster"]
)
async def test_foreign_backup_of_the_name_is_not_taken_for_the_run(
    world: World, schedule: str | None, cluster: str
) -> None:
    """It is named in an Event, stays as it is, and the run is made once it is gone."""
    world.schedule(immediate=True)
    await world.run_schedule()
    (name,) = backups(world)
    path = f"{GROUP}/collectionstorebackups/{name}"
    del world.server.objects[path]
    world.backup(name, clusterName=cluster)
    if schedule is not None:
        world.body(path)["metadata"]["labels"] = {"collectionstore.io/schedule": schedule}
    foreign = copy.deepcopy(world.body(path))
    await world.run_schedule()
    (event,) = [body for body in world.server.objects.values() if body.get("reason") == "CreateBackupFailed"]
    assert f"the CollectionStoreBackup {name} exists and is not of the schedule daily" in str(event)
    assert world.body(path) == foreign
    del world.server.objects[path]
    await world.run_schedule()
    assert world.body(path)["metadata"]["labels"]["collectionstore.io/schedule"] == "daily"


async def test_own_backup_that_exists_already_is_the_run(world: World) -> None:
    """The answer to its creation was lost."""
    world.schedule(immediate=True)
    await world.run_schedule()
    (name,) = backups(world)
    path = f"{GROUP}/collectionstorebackups/{name}"
    schedule = parse_schedule(world.body(f"{GROUP}/collectionstorebackupschedules/daily"))
    action = CreateBackup(reason="due", name=name, due=0.0)
    before = copy.deepcopy(world.body(path))
    await Executor(world.kube, lambda: True).execute(action, work_of_schedule(schedule, None, ""), schedule)
    assert world.body(path) == before


async def test_schedule_that_makes_no_backup_in_time_is_not_fresh(world: World) -> None:
    path = world.schedule(suspend=True)
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["status"] == "Unknown"
    world.now += 2 * HOUR + 10
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["reason"] == "NoBackup"
    assert world.condition(path, "Ready")["status"] == "False"


async def test_old_backup_is_not_fresh_and_the_last_failure_says_why(world: World) -> None:
    path = world.schedule(immediate=True)
    await world.run_schedule()
    await world.complete(backups(world)[0])
    await world.run_schedule()
    world.now += HOUR
    await world.run_schedule()
    second = backups(world)[-1]
    world.server.objects[f"{GROUP}/collectionstorebackups/{second}"]["metadata"]["creationTimestamp"] = (
        "2027-01-15T08:00:00Z"
    )
    before = set(world.jobs())
    await world.run_backup(second)
    (job,) = set(world.jobs()) - before
    trouble = failed("StoreUnreachable")
    world.end(job, 10, trouble.message)
    await world.run_backup(second)
    await world.run_schedule()
    assert world.condition(path, "Ready")["reason"] == "LastBackupFailed"
    assert world.body(path)["status"]["lastFailureReason"] == "StoreUnreachable"
    world.now += 2 * HOUR
    await world.run_schedule()
    fresh = world.condition(path, "BackupFresh")
    assert (fresh["status"], fresh["reason"]) == ("False", "BackupTooOld")
    assert "StoreUnreachable" in fresh["message"]


async def test_repository_is_pruned_for_this_cluster_alone(world: World) -> None:
    path = world.schedule(immediate=True, retention={"keepLast": 2, "keepWithin": "3d"})
    await world.run_schedule()
    await world.complete(backups(world)[0])
    await world.run_schedule()
    arguments = world.body(f"{JOBS}/daily-prune-uiddaily")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--source-cluster=demo-1", "--keep-last=2", "--keep-within=3d"} <= set(arguments)
    world.end("daily-prune-uiddaily", 0, "{}")
    await world.run_schedule()
    assert world.condition(path, "Pruned")["status"] == "True"
    await world.run_schedule()
    assert "daily-prune-uiddaily" not in world.jobs()


async def test_drill_publishes_what_it_has_verified(world: World) -> None:
    path = world.schedule(immediate=True, drill="30 * * * *")
    await world.run_schedule()
    await world.complete(backups(world)[0])
    world.now += HOUR
    await world.run_schedule()
    job = "daily-drill-uiddaily"
    template = world.body(f"{JOBS}/{job}")["spec"]["template"]["spec"]
    assert {"name": "scratch", "emptyDir": {}} in template["volumes"]
    assert "certificate" not in {one["name"] for one in template["volumes"]}, "a drill reads no cluster"
    world.end(job, 0, drilled())
    await world.run_schedule()
    status = world.body(path)["status"]
    assert (status["lastVerifiedBackup"], status["timeToRestoreSeconds"]) == (BACKUP_ID, 3)
    assert world.condition(path, "Verified")["status"] == "True"
    await world.run_schedule()
    assert job not in world.jobs()


async def test_drill_that_fails_is_told_and_keeps_what_was_verified_before(world: World) -> None:
    path = world.schedule(immediate=True, drill="30 * * * *")
    await world.run_schedule()
    await world.complete(backups(world)[0])
    world.now += HOUR
    job = "daily-drill-uiddaily"
    await world.run_schedule()
    world.end(job, 0, drilled())
    await world.run_schedule()
    verified = world.body(path)["status"]["lastVerified"]
    world.now += HOUR
    await world.run_schedule()
    await world.run_schedule()
    world.end(job, 8, failed("Corrupt", code=8).message)
    await world.run_schedule()
    condition = world.condition(path, "Verified")
    assert (condition["status"], condition["reason"]) == ("False", "DrillFailed")
    assert "Corrupt" in condition["message"]
    assert world.body(path)["status"]["lastVerified"] == verified


@pytest.mark.parametrize("point", ["BackupRound.published", "RemoveRun.before", "RemoveRun.after"])
async def test_drill_is_remembered_whenever_the_operator_is_killed(world: World, point: str) -> None:
    path = world.schedule(immediate=True, drill="30 * * * *")
    await world.run_schedule()
    await world.complete(backups(world)[0])
    world.now += HOUR
    await world.run_schedule()
    job = "daily-drill-uiddaily"
    world.end(job, 0, drilled())

    def die(reached: str) -> None:
        if reached == point:
            raise Died

    with faults.armed(die), pytest.raises(Died):
        await world.run_schedule()
    await world.run_schedule()
    await world.run_schedule()
    assert world.body(path)["status"]["lastVerifiedBackup"] == BACKUP_ID
    assert job not in world.jobs()
    assert world.server.requests.count(("POST", JOBS)) == 2, "the backup and one drill"


@pytest.mark.parametrize("point", ["BackupRound.published", "CreateBackup.before", "CreateBackup.after"])
async def test_one_time_has_one_backup_whenever_the_operator_is_killed(world: World, point: str) -> None:
    world.schedule(immediate=True)

    def die(reached: str) -> None:
        if reached == point:
            raise Died

    with faults.armed(die), pytest.raises(Died):
        await world.run_schedule()
    await world.run_schedule()
    await world.run_schedule()
    assert len(backups(world)) == 1


async def test_archive_runs_tells_its_lag_and_ends(world: World) -> None:
    path = world.archiving()
    await world.run_schedule()
    (deployment,) = [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]
    assert world.body(deployment)["spec"]["strategy"] == {"type": "Recreate"}
    assert world.condition(path, "Archiving")["reason"] == "NotStarted"
    world.server.objects[deployment]["metadata"]["uid"] = "d-1"
    labels = world.body(deployment)["spec"]["template"]["metadata"]["labels"]
    pod = {"metadata": {"name": "a-x", "labels": labels}, "status": {"containerStatuses": [{"state": {"running": {}}}]}}
    world.server.put(f"{PODS}/a-x", pod)
    world.lag = Lag(archived_index=4_000, applied_index=9_000, lag_entries=5_000, age_s=1.0)
    await world.run_schedule()
    assert world.condition(path, "Archiving")["status"] == "True"
    assert world.body(path)["status"]["archiveLagEntries"] == 5_000
    assert world.body(path)["status"]["archiveLagSeconds"] == 0, "the version does not tell"
    world.lag = msgspec.structs.replace(world.lag, lag_s=47.0, lag_revisions=7_000, lag_bytes=2_345_678)
    await world.run_schedule()
    status = world.body(path)["status"]
    assert (status["archiveLagSeconds"], status["archiveLagBytes"]) == (40, 2_000_000)
    world.lag = Lag(archived_index=4_000, applied_index=9_000, lag_entries=5_000, age_s=100.0)
    await world.run_schedule()
    assert world.condition(path, "Archiving")["reason"] == "ArchiveStalled"
    body = world.body(path)
    world.server.put(path, {**body, "spec": {**body["spec"], "archive": False}})
    await world.run_schedule()
    assert deployment not in world.server.objects


async def test_archive_begins_behind_the_first_backup(world: World) -> None:
    path = world.schedule(archive=True, immediate=True)
    await world.run_schedule()
    assert not [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]
    assert world.condition(path, "Archiving")["reason"] == "NotStarted"
    await world.complete(backups(world)[0])
    await world.run_schedule()
    assert [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]


async def test_archive_that_fails_says_why(world: World) -> None:
    path = world.archiving()
    await world.run_schedule()
    (deployment,) = [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]
    labels = world.body(deployment)["spec"]["template"]["metadata"]["labels"]
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 9, "message": "no credentials"}}
    statuses = [{"state": state, "lastState": last}]
    pod = {"metadata": {"name": "a-x", "labels": labels}, "status": {"phase": "Running", "containerStatuses": statuses}}
    world.server.put(f"{PODS}/a-x", pod)
    await world.run_schedule()
    condition = world.condition(path, "Archiving")
    assert (condition["reason"], condition["message"]) == ("ArchiveFailing", "exit code 9: no credentials")


async def test_archive_stays_while_the_cluster_cannot_be_read(world: World) -> None:
    world.archiving()
    await world.run_schedule()
    cluster = f"{GROUP}/collectionstoreclusters/demo"
    body = world.server.objects[cluster]
    world.server.put(cluster, {**body, "spec": {"replicas": "many"}})
    await world.run_schedule()
    assert [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]


async def test_hibernated_cluster_has_no_runs_no_archive_and_nothing_to_complain_of(world: World) -> None:
    """Init: a schedule with an archive. Step: hibernate; two days pass; the cluster runs again.

    Check: the archive stays until the members have stopped; no backup is created and no condition is False; then the
    last time that was missed is made up for, and the archive goes on.
    """
    path = world.archiving()
    await world.run_schedule()
    for stopped in (False, True):
        world.cluster(hibernate=True, stopped=stopped)
        await world.run_schedule()
        assert any(one.startswith(DEPLOYMENTS) for one in world.server.objects) is not stopped
    made_before = backups(world)
    world.now += 48 * HOUR
    await world.run_schedule()
    assert backups(world) == made_before
    for kind, status in (("BackupFresh", "Unknown"), ("Archiving", "Unknown"), ("Ready", "True")):
        condition = world.condition(path, kind)
        assert (condition["status"], condition["reason"]) == (status, "ClusterHibernated")
    assert "spec.hibernate of the cluster is true" in world.condition(path, "BackupFresh")["message"]
    decision = next(one for one in reversed(world.reported) if one.schedule is not None)
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry, version="1")
    assert decision.observed is not None
    metrics.backups.report(decision.schedule, decision.observed, decision.status)
    assert "collectionstore_backup_interval_seconds{" not in generate_latest(registry).decode(), "BackupTooOld fires"

    world.cluster(available="False")
    await world.run_schedule()
    assert len(backups(world)) == len(made_before) + 1
    assert any(one.startswith(DEPLOYMENTS) for one in world.server.objects)
    assert world.condition(path, "BackupFresh")["reason"] == "ClusterAwake"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"schedule": "61 * * * *"}, "61 * * * *"),
        ({"timeZone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"drill": "0 0 * * 9"}, "0 0 * * 9"),
    ],
)
async def test_expression_that_cannot_be_read_is_refused(world: World, spec: dict[str, str], text: str) -> None:
    path = world.schedule(**spec)
    await world.run_schedule()
    accepted = world.condition(path, "Accepted")
    assert (accepted["status"], text in accepted["message"], "allowed" in accepted["message"]) == ("False", True, True)
    assert backups(world) == []


async def test_status_of_a_schedule_at_rest_is_written_once(world: World) -> None:
    world.schedule()
    for _ in range(5):
        await world.run_schedule()
    assert len([one for one in world.server.requests if one[0] == "PATCH" and one[1].endswith("/status")]) == 1
    world.server.requests.clear()
    await world.run_schedule()
    assert len(world.server.requests) <= 8


async def test_series_of_a_schedule_are_exposed(world: World) -> None:
    world.schedule(immediate=True, archive=True)
    await world.run_schedule()
    await world.complete(backups(world)[0])
    await world.run_schedule()
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry, version="1")
    decision = next(one for one in reversed(world.reported) if one.schedule is not None)
    assert decision.observed is not None
    metrics.backups.report(decision.schedule, decision.observed, decision.status)
    text = generate_latest(registry).decode()
    labels = 'cluster="demo",namespace="shop",schedule="daily"'
    assert f"collectionstore_backup_size_bytes{{{labels}}} 1000.0" in text
    assert f"collectionstore_backup_last_success_timestamp_seconds{{{labels}}}" in text
    assert 'condition="Archiving"' in text
    metrics.backups.forget(("shop", "daily"))
    assert labels not in generate_latest(registry).decode()
