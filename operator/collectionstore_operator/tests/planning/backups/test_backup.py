"""Plans for one backup: one Job, and what becomes of the stored data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.model.backups.actions import (
    AdmitBackups,
    BackupPlan,
    HoldBackup,
    ReleaseBackup,
    RemoveRun,
    StartRun,
)
from collectionstore_operator.model.backups.assessment import Progress, assess_backup
from collectionstore_operator.model.backups.observed import BackupObserved, ClusterSeen
from collectionstore_operator.model.observed import ABSENT, Unknown
from collectionstore_operator.planning.backups.backup import plan_backup
from collectionstore_operator.planning.backups.pace import RETRY_S
from collectionstore_operator.resource.backups.desired import Backup
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.planning.backups.scenes import (
    ASLEEP,
    BACKUP_ID,
    START,
    a_backup,
    a_run,
    failed,
    of_backup,
    succeeded,
)

COMPLETE = Progress(state="Complete", reason="Verified", message="")
FAILED = Progress(state="Failed", reason="StoreFull", message="")


def plan(backup: Backup, observed: BackupObserved, settled: Progress | None = None, backup_id: str = "") -> BackupPlan:
    return plan_backup(backup, observed, assess_backup(backup, observed, settled), backup_id)


def kinds(planned: BackupPlan) -> list[str]:
    return [type(one).__name__ for one in planned.actions]


def test_new_backup_is_let_in_and_started() -> None:
    planned = plan(a_backup(), of_backup())
    admit, start = planned.actions
    assert isinstance(admit, AdmitBackups)
    assert isinstance(start, StartRun)
    assert (start.task, start.name) == ("create", "one-create-u1")
    assert not planned.done


def test_finalizer_is_added_before_anything_is_stored() -> None:
    planned = plan(a_backup(deletion_policy="Delete"), of_backup())
    assert kinds(planned) == ["HoldBackup", "AdmitBackups", "StartRun"]


@pytest.mark.parametrize(
    "observed",
    [
        of_backup(cluster=ABSENT),
        of_backup(cluster=Unknown("x")),
        of_backup(cluster=ClusterSeen(desired=Desired(name="demo"), cluster_id="", initialized=False)),
        of_backup(cluster=ASLEEP),
        of_backup(create=Unknown("x")),
        of_backup(create=a_run()),
        of_backup(create=a_run(waiting="ImagePullBackOff")),
        of_backup(namespace_terminating=True),
    ],
    ids=["no cluster", "cluster unknown", "not formed", "hibernated", "job unknown", "runs", "waits", "terminating"],
)
def test_nothing_is_started_when(observed: BackupObserved) -> None:
    assert plan(a_backup(), observed).actions == ()


def test_backup_of_a_hibernated_cluster_waits_and_says_why() -> None:
    progress = assess_backup(a_backup(), of_backup(cluster=ASLEEP), None)
    assert (progress.state, progress.reason) == ("Waiting", "ClusterNotReady")
    assert "spec.hibernate is true" in progress.message


@pytest.mark.parametrize("settled", [COMPLETE, FAILED])
def test_ended_backup_is_never_started_again(settled: Progress) -> None:
    """Its Job is deleted after a day."""
    planned = plan(a_backup(), of_backup(), settled, BACKUP_ID)
    assert planned.actions == ()
    assert planned.done


def test_lost_result_is_asked_again_by_the_same_run() -> None:
    planned = plan(a_backup(), of_backup(create=succeeded("")))
    (remove,) = planned.actions
    assert isinstance(remove, RemoveRun)
    assert remove.uid == "j-1"


def test_deletion_with_retain_releases_at_once() -> None:
    assert plan(a_backup(deleting=True), of_backup(), COMPLETE, BACKUP_ID).actions == ()
    assert kinds(plan(a_backup(deleting=True, held=True), of_backup(), COMPLETE, BACKUP_ID)) == ["ReleaseBackup"]


def test_policy_that_is_set_to_retain_releases_the_resource() -> None:
    assert kinds(plan(a_backup(held=True), of_backup(), COMPLETE, BACKUP_ID)) == ["ReleaseBackup"]


def deleting(**changes: Any) -> Backup:
    return a_backup(deleting=True, held=True, deletion_policy="Delete", **changes)


def test_stored_data_are_deleted_before_the_resource_goes() -> None:
    planned = plan(deleting(), of_backup(), COMPLETE, BACKUP_ID)
    start = planned.actions[-1]
    assert isinstance(start, StartRun)
    assert (start.task, start.subject) == ("delete", BACKUP_ID)
    assert not planned.done
    assert kinds(plan(deleting(), of_backup(delete=a_run()), COMPLETE, BACKUP_ID)) == []
    assert kinds(plan(deleting(), of_backup(delete=succeeded("{}")), COMPLETE, BACKUP_ID)) == ["ReleaseBackup"]
    assert kinds(plan(deleting(), of_backup(delete=Unknown("x")), COMPLETE, BACKUP_ID)) == []


def test_data_that_are_gone_already_release_the_resource() -> None:
    gone = of_backup(delete=failed("NotFound", code=5))
    assert kinds(plan(deleting(), gone, COMPLETE, BACKUP_ID)) == ["ReleaseBackup"]


def test_deletion_that_failed_is_tried_again_after_a_while() -> None:
    early = of_backup(delete=failed("StoreUnreachable"), now=START + 20)
    late = of_backup(delete=failed("StoreUnreachable"), now=START + 9 + RETRY_S)
    assert kinds(plan(deleting(), early, COMPLETE, BACKUP_ID)) == []
    assert kinds(plan(deleting(), late, COMPLETE, BACKUP_ID)) == ["RemoveRun"]


def test_deletion_of_a_running_backup_waits_for_its_end() -> None:
    """What it has stored is known only then."""
    assert kinds(plan(deleting(), of_backup(create=a_run()))) == []
    assert kinds(plan(deleting(), of_backup(create=Unknown("x")))) == []
    assert kinds(plan(deleting(), of_backup())) == ["ReleaseBackup"]


def test_deletion_of_a_failed_backup_deletes_nothing() -> None:
    assert kinds(plan(deleting(), of_backup(), FAILED)) == ["ReleaseBackup"]


def test_namespace_that_is_being_deleted_is_not_held_up() -> None:
    observed = of_backup(namespace_terminating=True)
    assert kinds(plan(deleting(), observed, COMPLETE, BACKUP_ID)) == ["ReleaseBackup"]


runs = st.sampled_from(
    [ABSENT, Unknown("x"), a_run(), succeeded(), succeeded(""), failed("StoreFull", code=1), failed("NotFound", code=5)]
)


@given(
    create=runs,
    delete=runs,
    policy=st.sampled_from(["Retain", "Delete"]),
    held=st.booleans(),
    going=st.booleans(),
    settled=st.sampled_from([None, COMPLETE, FAILED]),
    terminating=st.booleans(),
    cluster=st.sampled_from([ABSENT, Unknown("x"), of_backup().cluster]),
)
def test_whatever_is_observed(
    *, create: Any, delete: Any, policy: Any, held: bool, going: bool, settled: Any, terminating: bool, cluster: Any
) -> None:
    """No second Job, nothing on what is unknown, no data without a holder, and no holder for nothing."""
    backup = a_backup(deletion_policy=policy, held=held, deleting=going)
    observed = of_backup(create=create, delete=delete, namespace_terminating=terminating, cluster=cluster)
    stored = BACKUP_ID if settled is COMPLETE else ""
    planned = plan(backup, observed, settled, stored)
    started = [one for one in planned.actions if isinstance(one, StartRun)]
    for one in started:
        assert (create if one.task == "create" else delete) == ABSENT
    if any(one.task == "create" for one in started):
        assert settled is None
        assert not going
        assert policy == "Retain" or held or any(isinstance(one, HoldBackup) for one in planned.actions)
    if any(one.task == "delete" for one in started):
        assert (going, policy, stored) == (True, "Delete", BACKUP_ID)
    if any(isinstance(one, ReleaseBackup) for one in planned.actions) and policy == "Delete" and stored:
        assert terminating or getattr(delete, "state", "") == "Succeeded" or getattr(delete, "exit_code", 0) == 5
