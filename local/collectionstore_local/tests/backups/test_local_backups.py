"""Backups and schedules of a local cluster, over a stub of the program: each run once, whatever dies in between."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import pytest

from collectionstore_local.backups.runs import Runs
from collectionstore_local.state import secret_files
from collectionstore_local.tests.backups.conftest import World
from collectionstore_operator import faults
from collectionstore_operator.resource.backups.names import BACKUP_KIND, SCHEDULE_KIND

DAY_S = 86_400.0
YEARLY = "0 3 1 1 *"
"""Due once: what follows a backup is not beside the next one."""


class Killed(BaseException):
    """The supervisor dies here."""


def killed_at(point: str) -> AbstractContextManager[None]:
    def die(reached: str) -> None:
        if reached == point:
            raise Killed(point)

    return faults.armed(die)


async def test_backup_is_made_once_and_its_result_is_in_the_status(world: World) -> None:
    world.backup()
    await world.round()
    await world.until_end()
    found = world.objects.find(BACKUP_KIND, "one")
    assert found is not None
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"
    assert found["status"]["revision"] == 5
    await world.round()
    assert [one[0] for one in world.starts()] == ["create"]
    assert [one.reason for one in world.events].count("BackupComplete") == 1


POINTS = ("BackupRound.observed", "BackupRound.published", "CreateBackup.after", "StartRun.before", "StartRun.after")


@pytest.mark.parametrize("point", POINTS)
async def test_supervisor_that_is_killed_at_any_point_makes_one_backup(world: World, point: str) -> None:
    world.schedule()
    with killed_at(point), pytest.raises(Killed):
        await world.round()
    world.runs.release()
    world.supervisor()
    world.runs.recover(world.now)
    await world.round()
    await world.started(1)
    await world.until(lambda: world.events[-1].reason == "BackupComplete")
    await world.round()
    assert len(world.objects.all(BACKUP_KIND)) == 1
    assert [one[0] for one in world.starts()] == ["create"]


async def test_process_outlives_the_supervisor_and_is_adopted(world: World) -> None:
    world.hold.touch()
    world.backup()
    await world.round()
    await world.started(1)
    world.runs.release()
    world.supervisor()
    world.runs.recover(world.now)
    await world.round()
    assert world.condition(BACKUP_KIND, "one", "Complete")["reason"] == "Running"
    world.hold.unlink()
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"
    assert len(world.starts()) == 1


async def test_process_that_was_never_recorded_is_found_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hold.touch()
    world.backup()
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "_hold", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            await world.round()
    await world.started(1)
    world.supervisor()
    world.runs.recover(world.now)
    await world.round()
    world.hold.unlink()
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"
    assert len(world.starts()) == 1


async def test_run_that_ended_while_no_supervisor_ran_is_read_from_its_result(world: World) -> None:
    world.backup()
    await world.round()
    (record,) = (world.runs.find(path.stem) for path in (world.directory.backups / "runs").glob("*.json"))
    assert record is not None
    _, ended = world.runs._held[record.name]
    await ended.wait()
    world.runs.release()
    world.supervisor()
    world.runs.recover(world.now)
    await world.round()
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"
    assert len(world.starts()) == 1


async def test_time_that_was_missed_while_down_is_made_up_for_once(world: World) -> None:
    world.schedule()
    await world.round()
    await world.until_end()
    await world.runs.suspend(world.now)
    world.now += 5 * DAY_S
    world.supervisor()
    world.runs.recover(world.now)
    await world.round()
    await world.until_end()
    for _ in range(3):
        await world.round()
    assert len(world.objects.all(BACKUP_KIND)) == 2
    assert [one[0] for one in world.starts()] == ["create", "create"]


async def test_run_stops_with_the_cluster_and_goes_on_with_it(world: World) -> None:
    world.hold.touch()
    world.backup(deadlineSeconds=600)
    await world.round()
    await world.started(1)
    await world.runs.suspend(world.now)
    world.hold.unlink()
    world.now += 10 * DAY_S  # longer than the deadline: the time in which it was down does not count
    world.supervisor()
    world.runs.recover(world.now)
    await world.round()
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"
    runs = [next(word for word in one if word.startswith("--run=")) for one in world.starts()]
    assert len(runs) == 2, "started once more"
    assert len(set(runs)) == 1, "as the same run, which returns what it has made"


async def test_failure_is_retried_with_a_growing_pause_and_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_EXIT", "10")
    world.backup()
    await world.round()
    for pause_s in (10, 20, 40):
        await world.until_end()
        told = world.condition(BACKUP_KIND, "one", "Complete")
        assert told["reason"] == "Retrying"
        assert "StoreUnreachable: no answer" in told["message"]
        world.now += pause_s - 1
        await world.round()
        before = len(world.starts())
        world.now += 1
        await world.round()
        await world.started(before + 1)
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Failed") | {"reason": "StoreUnreachable"} == world.condition(
        BACKUP_KIND, "one", "Failed"
    )
    assert len(world.starts()) == 4


async def test_failure_that_a_repetition_cannot_change_is_not_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_EXIT", "9")
    world.backup()
    await world.round()
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Failed")["status"] == "True"
    world.now += DAY_S
    await world.round()
    assert len(world.starts()) == 1


async def test_deadline_ends_a_run_that_does_not_end_itself(world: World) -> None:
    world.hold.touch()
    world.backup(deadlineSeconds=60)
    await world.round()
    await world.started(1)
    world.now += 60
    await world.round()
    assert world.condition(BACKUP_KIND, "one", "Failed")["reason"] == "DeadlineExceeded"
    await world.until_end()
    assert len(world.starts()) == 1


async def test_missing_secret_is_said_and_waited_for_and_never_shown(world: World) -> None:
    repository = {"url": "s3://backups", "credentialsSecretName": "store"}
    world.backup(repository=repository)
    await world.round()
    await world.round()
    told = world.condition(BACKUP_KIND, "one", "Complete")
    assert told["reason"] == "PodWaiting"
    assert "the Secret store is not there" in told["message"]
    assert world.starts() == []
    secret_files.write(world.directory, "store", {"AWS_SECRET_ACCESS_KEY": b"hunter2"})
    world.now += 5
    await world.round()
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"
    runs = (world.directory.backups / "runs").iterdir()
    assert not any(b"hunter2" in path.read_bytes() for path in runs if path.is_file())


async def test_archive_follows_the_first_backup_and_goes_with_its_schedule(world: World) -> None:
    world.schedule(schedule=YEARLY, archive=True)
    await world.round()
    await world.until_end()
    world.hold.touch()
    await world.round()
    await world.started(2)
    assert world.starts()[1][0] == "archive"
    assert any(word.startswith("--status-address=127.0.0.1:") for word in world.starts()[1])
    assert world.condition(SCHEDULE_KIND, "nightly", "Archiving")["status"] != "True"
    world.objects.delete(SCHEDULE_KIND, "nightly")
    await world.round()
    assert [path.name for path in (world.directory.backups / "runs").glob("*archive*")] == []


async def test_retention_and_drill_run_behind_a_backup(world: World) -> None:
    world.schedule(schedule=YEARLY, retention={"keepLast": 2}, drill="0 4 * * *")
    await world.round()
    await world.until_end()
    await world.round()
    await world.started(3)
    assert sorted(one[0] for one in world.starts()) == ["create", "drill", "prune"]
    wanted = ("Verified", "Pruned")
    await world.until(lambda: all(world.condition(SCHEDULE_KIND, "nightly", one)["status"] == "True" for one in wanted))
    assert list((world.directory.backups / "runs").glob("*.scratch")) == []


async def test_backup_with_delete_goes_with_its_data(world: World) -> None:
    world.backup(deletionPolicy="Delete")
    await world.round()
    await world.until_end()
    world.objects.delete(BACKUP_KIND, "one")
    assert world.objects.find(BACKUP_KIND, "one") is not None
    await world.round()
    await world.until_end()
    await world.round()
    assert world.objects.find(BACKUP_KIND, "one") is None
    assert [one[0] for one in world.starts()] == ["create", "delete"]
    assert world.starts()[1][1].startswith("20260102T030405Z-")


async def test_backup_that_is_deleted_while_it_runs_is_stopped(world: World) -> None:
    world.hold.touch()
    world.backup()
    await world.round()
    await world.started(1)
    assert world.objects.delete(BACKUP_KIND, "one")
    await world.round()
    assert list((world.directory.backups / "runs").glob("*")) == []


async def test_status_of_an_earlier_backup_is_none_of_a_later_one(world: World) -> None:
    world.backup()
    await world.round()
    await world.until_end()
    world.objects.delete(BACKUP_KIND, "one")
    world.backup()
    found = world.objects.find(BACKUP_KIND, "one")
    assert found is not None
    assert "status" not in found


async def test_cluster_that_is_not_available_is_waited_for_without_an_attempt(world: World) -> None:
    world.now = time.time()  # the deadline runs from the creation, which is now
    world.tell(unavailable="Waking")
    world.backup()
    await world.round()
    told = world.condition(BACKUP_KIND, "one", "Complete")
    assert told["reason"] == "ClusterNotReady"
    assert "Waking: told by a test" in told["message"]
    assert world.starts() == []
    world.tell()
    await world.round()
    await world.until_end()
    assert world.condition(BACKUP_KIND, "one", "Complete")["status"] == "True"


async def test_cluster_of_another_id_gets_a_backup_and_an_archive_of_its_own(world: World) -> None:
    """After a recovery: what is stored of the former one makes nothing fresh, and is not continued."""
    world.schedule(schedule=YEARLY, archive=True, retention={"keepLast": 1})
    await world.round()
    await world.until_end()
    await world.round()
    assert world.condition(SCHEDULE_KIND, "nightly", "BackupFresh")["status"] == "True"
    (first,) = (one["metadata"]["name"] for one in world.objects.all(BACKUP_KIND))
    world.hold.touch()
    world.now += 120
    world.tell(cluster_id="fedcba9876543210")
    await world.round()
    assert world.condition(SCHEDULE_KIND, "nightly", "BackupFresh")["reason"] == "NoBackupYet"
    assert list((world.directory.backups / "runs").glob("*archive*")) == []
    world.now += 60
    await world.round()
    world.hold.unlink()
    (second,) = (one["metadata"]["name"] for one in world.objects.all(BACKUP_KIND) if one["metadata"]["name"] != first)
    await world.until(lambda: world.condition(BACKUP_KIND, second, "Complete")["status"] == "True")
    await world.round()
    assert world.condition(SCHEDULE_KIND, "nightly", "BackupFresh")["status"] == "True"
    assert world.objects.find(BACKUP_KIND, first) is not None
    archives = (world.runs.find(path.stem) for path in (world.directory.backups / "runs").glob("*archive*.json"))
    told = [one.job.variables["COLLECTIONSTORE_BACKUP_CLUSTER_ID"] for one in archives if one is not None]
    assert told == ["fedcba9876543210"]


async def test_backup_of_a_schedule_is_read_as_slowly_as_it_says(world: World) -> None:
    world.schedule(immediate=True, maxBytesPerSecond=4 << 20)
    world.hold.touch()
    await world.round()
    await world.started(1)
    records = (world.runs.find(path.stem) for path in (world.directory.backups / "runs").glob("*.json"))
    rates = [one.job.variables["COLLECTIONSTORE_BACKUP_MAX_BYTES_PER_SECOND"] for one in records if one is not None]
    assert rates == [str(4 << 20)]


async def test_backup_of_another_cluster_waits_for_it(world: World) -> None:
    world.backup(clusterName="other")
    await world.round()
    assert world.condition(BACKUP_KIND, "one", "Complete")["reason"] == "ClusterNotFound"
    assert world.starts() == []
