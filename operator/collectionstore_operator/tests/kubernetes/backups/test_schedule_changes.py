"""Schedules whose cluster changes under them: another ID, a wake from hibernation, a NetworkPolicy that is switched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.tests.kubernetes.backups.world import DEPLOYMENTS, GROUP, POLICIES, World, a_world
from collectionstore_operator.tests.planning.backups.scenes import BACKUP_ID

HOUR = 3_600


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made_world:
        yield made_world


def backups(world: World) -> list[str]:
    """Return the names of the backups, the oldest first."""
    root = f"{GROUP}/collectionstorebackups/"
    found = [path.removeprefix(root) for path in world.server.objects if path.startswith(root)]
    return sorted(found, key=lambda name: int(name.rpartition("-")[2]))


def series(world: World) -> str:
    """Return what is exposed of the last round of the schedule."""
    decision = next(one for one in reversed(world.reported) if one.schedule is not None)
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry, version="1")
    metrics.backups.report(decision.schedule, decision.observed, decision.status)
    return generate_latest(registry).decode()


async def backed_up(world: World, **spec: Any) -> str:
    """Put a schedule that has made one backup of the cluster; return its path."""
    path = world.schedule(immediate=True, **spec)
    await world.run_schedule()
    await world.complete(backups(world)[0], cluster_id="demo-1")
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["status"] == "True"
    return path


# Another cluster ID


async def test_backup_of_a_former_cluster_does_not_count_and_one_is_made_at_once(world: World) -> None:
    """Init: a fresh backup. Step: the cluster is recovered and has another ID. Check: nothing of the former one is
    called fresh or verified, no archive begins, and a backup is made within a minute, once; then all is well."""
    path = await backed_up(world, archive=True)
    world.cluster(cluster_id="demo-2")

    await world.run_schedule()

    status = world.body(path)["status"]
    assert (status["clusterID"], status["lastSuccessName"], status["sizeBytes"]) == ("demo-2", "", 0)
    fresh = world.condition(path, "BackupFresh")
    assert (fresh["status"], fresh["reason"]) == ("Unknown", "NoBackupYet")
    assert not [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]
    since = seconds(status["clusterSince"])
    assert 0 <= since - world.now <= 60
    (told,) = [
        float(line.split()[-1])
        for line in series(world).splitlines()
        if line.startswith("collectionstore_backup_last_success_timestamp_seconds{")
    ]
    assert told == since, "BackupTooOld fires for the backup that cannot be there yet"
    world.now = since
    await world.run_schedule()
    await world.run_schedule()
    first, second = backups(world)
    await world.complete(second, cluster_id="demo-2")
    await world.run_schedule()
    assert world.body(path)["status"]["lastSuccessName"] == second
    assert world.condition(path, "BackupFresh")["status"] == "True"
    assert [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]
    await world.run_schedule()
    assert backups(world) == [first, second]


async def test_without_a_backup_of_the_new_cluster_it_is_told_after_two_intervals(world: World) -> None:
    path = await backed_up(world, suspend=False)
    world.cluster(cluster_id="demo-2", available="False")
    await world.run_schedule()
    world.now += 2 * HOUR + 120
    await world.run_schedule()
    condition = world.condition(path, "BackupFresh")
    assert (condition["status"], condition["reason"]) == ("False", "NoBackup")
    assert "since the cluster has the ID demo-2" in condition["message"]


async def test_backups_of_a_former_cluster_are_not_forgotten(world: World) -> None:
    """Retention counts those of the present cluster alone: what a recovery left may be in the former ones."""
    path = await backed_up(world, retention={"keepLast": 1})
    world.cluster(cluster_id="demo-2")
    await world.run_schedule()
    world.now = seconds(world.body(path)["status"]["clusterSince"])
    for _ in range(3):
        await world.run_schedule()
        newest = backups(world)[-1]
        await world.complete(newest, cluster_id="demo-2")
        await world.run_schedule()
        world.now += HOUR
    await world.run_schedule()
    await world.run_schedule()
    left = [world.body(f"{GROUP}/collectionstorebackups/{name}") for name in backups(world)]
    of = [one.get("status", {}).get("clusterID", "") for one in left]
    assert of[0] == "demo-1"
    assert of.count("demo-2") == 1


async def test_status_of_a_version_without_the_id_is_judged_by_its_backup(world: World) -> None:
    path = await backed_up(world)
    body = world.body(path)
    old = {name: value for name, value in body["status"].items() if name not in ("clusterID", "clusterSince")}
    world.server.put(path, {**body, "status": old})
    await world.run_schedule()
    assert world.body(path)["status"]["lastSuccessBackup"] == BACKUP_ID
    world.server.put(path, {**body, "status": old})
    world.cluster(cluster_id="demo-2")
    await world.run_schedule()
    assert world.body(path)["status"]["lastSuccessBackup"] == ""


async def test_a_cluster_that_cannot_be_read_changes_nothing(world: World) -> None:
    path = await backed_up(world)
    before = world.body(path)["status"]
    cluster = f"{GROUP}/collectionstoreclusters/demo"
    world.server.put(cluster, {**world.body(cluster), "spec": {"replicas": "many"}})
    await world.run_schedule()
    after = world.body(path)["status"]
    assert (after["clusterID"], after["lastSuccessName"]) == (before["clusterID"], before["lastSuccessName"])


# A wake


async def test_after_a_wake_the_backup_waits_for_the_members_and_nothing_is_too_old_meanwhile(world: World) -> None:
    """Init: two days asleep. Step: the cluster wakes; its members need ten minutes. Check: no Job is started before
    they serve, so no attempt is used up; BackupTooOld does not fire; then the backup is made."""
    path = await backed_up(world)
    world.cluster(hibernate=True, stopped=True, available="False")
    await world.run_schedule()
    world.now += 48 * HOUR
    await world.run_schedule()
    world.cluster(available="False")
    await world.run_schedule()
    name = backups(world)[-1]
    jobs = world.jobs()
    for _ in range(10):
        body = world.server.objects[f"{GROUP}/collectionstorebackups/{name}"]
        body["metadata"].setdefault("creationTimestamp", rfc3339(world.now))
        body["metadata"].setdefault("generation", 1)
        await world.run_backup(name)
        await world.run_schedule()
        world.now += 60
        fresh = world.condition(path, "BackupFresh")
        assert (fresh["status"], fresh["reason"]) == ("Unknown", "ClusterAwake")
        assert "backup_interval_seconds{" not in series(world), "BackupTooOld fires"
    assert world.jobs() == jobs
    waiting = world.condition(f"{GROUP}/collectionstorebackups/{name}", "Complete")
    assert (waiting["reason"], "Waking: the members start" in waiting["message"]) == ("ClusterNotReady", True)

    world.cluster(available="True")
    await world.complete(name, cluster_id="demo-1")
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["status"] == "True"
    assert "backup_interval_seconds{" in series(world)


async def test_a_backup_that_is_not_made_up_for_in_time_is_too_old(world: World) -> None:
    path = await backed_up(world, deadlineSeconds=600)
    world.cluster(hibernate=True, stopped=True)
    await world.run_schedule()
    world.now += 48 * HOUR
    world.cluster(available="False")
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["reason"] == "ClusterAwake"
    world.now += 601
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["reason"] == "BackupTooOld"
    assert "backup_interval_seconds{" in series(world)


async def test_a_hibernated_cluster_that_cannot_be_read_is_still_asleep(world: World) -> None:
    path = await backed_up(world)
    world.cluster(hibernate=True, stopped=True)
    await world.run_schedule()
    world.now += 48 * HOUR
    cluster = f"{GROUP}/collectionstoreclusters/demo"
    world.server.put(cluster, {**world.body(cluster), "spec": {"replicas": "many"}})
    await world.run_schedule()
    assert world.condition(path, "BackupFresh")["reason"] == "ClusterHibernated"
    assert world.body(path)["status"]["awakeSince"] == ""


# The NetworkPolicy


def policies(world: World) -> list[str]:
    return [one for one in world.server.objects if one.startswith(POLICIES)]


async def test_a_running_archive_is_admitted_as_soon_as_the_cluster_has_a_policy(world: World) -> None:
    """Init: an archive, and no policy. Step: Enabled; the policy is deleted by hand; Disabled. Check: it is there as
    long as it is to be, and the Deployment is not touched."""
    world.cluster(policy="Disabled")
    world.archiving()
    await world.run_schedule()
    (deployment,) = [one for one in world.server.objects if one.startswith(DEPLOYMENTS)]
    before = world.body(deployment)
    assert policies(world) == []

    world.cluster(policy="Enabled")
    await world.run_schedule()
    (policy,) = policies(world)
    del world.server.objects[policy]
    await world.run_schedule()
    assert policies(world) == [policy]
    world.server.requests.clear()
    await world.run_schedule()
    assert not [one for one in world.server.requests if one[0] != "GET" and "networkpolicies" in one[1]]

    world.server.objects[policy]["metadata"]["uid"] = "p-1"
    world.cluster(policy="Disabled")
    await world.run_schedule()
    assert policies(world) == []
    assert world.body(deployment) == before


async def test_a_running_backup_is_admitted_too(world: World) -> None:
    world.cluster(policy="Disabled")
    world.backup()
    await world.run_backup()
    assert policies(world) == []
    world.cluster(policy="Enabled")
    await world.run_backup()
    assert len(policies(world)) == 1


@pytest.mark.parametrize(
    ("spec", "phase", "observed", "prunes"),
    [
        (True, "Offered", 1, False),
        (True, "", 1, False),
        (True, "Finished", 0, False),  # of an earlier spec
        (True, "Finished", 1, True),
        (False, "Emptying", 1, False),
        (False, "Finished", 1, True),
    ],
)
async def test_nothing_is_pruned_while_the_cluster_is_to_be_made_of_a_backup(
    world: World,
    spec: bool,  # noqa: FBT001
    phase: str,
    observed: int,
    prunes: bool,  # noqa: FBT001
) -> None:
    world.schedule(immediate=True, retention={"keepLast": 1})
    await world.run_schedule()
    await world.complete(backups(world)[0])
    path = f"{GROUP}/collectionstoreclusters/demo"
    body = world.body(path)
    repository = {"repository": {"url": "file:///repository", "claimName": "backups"}}
    status = {**body["status"], "restore": {"phase": phase}, "observedGeneration": observed}
    world.server.put(path, {**body, "spec": {"restore": repository} if spec else {}, "status": status})
    await world.run_schedule()
    assert ("daily-prune-uiddaily" in world.jobs()) is prunes
