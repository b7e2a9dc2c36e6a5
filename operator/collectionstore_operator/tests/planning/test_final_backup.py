"""A deletion waits for its final backup, says for what, and is not undone once it has begun."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectionstore_operator.model.actions import (
    CreateFinalBackup,
    EnsureWorkload,
    RecordPlannedWork,
    RecordProtectedDeletion,
    RetireVolume,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.final_backup import FinalBackupSeen, name_of
from collectionstore_operator.model.observed import ABSENT, Observed, PublishedIdentity, Unknown, Workload
from collectionstore_operator.model.planned_work import FinalBackupEnd, PlannedWork, decode
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.deletion import Deletion, FinalBackup
from collectionstore_operator.resource.desired import Desired, Storage
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.final_backup import final_backup
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, draw, make_desired

HEALTHY = "0: leader\n1: voter\n2: voter"
NO_QUORUM = "0: voter\n1: voter down=900\n2: voter down=900"
UID = "4a1c2d3e-0000"
NAME = "demo-final-4a1c2d3e"
REPOSITORY = Repository(url="s3://backups/demo")


def deleted(*, skip: str = "", deletes: bool = False, **spec: Any) -> Desired:
    """Return a resource that is being deleted and asks for a final backup."""
    storage = Storage(retention="Delete" if deletes else "Retain")
    made = make_desired(3, storage=storage, deletion=Deletion(final_backup=FinalBackup(repository=REPOSITORY)), **spec)
    annotations = {labels.SKIP_FINAL_BACKUP: skip} if skip else {}
    return msgspec.structs.replace(made, uid=UID, deleting=True, annotations=annotations)


def seen(desired: Desired, picture: str = HEALTHY, **facts: Any) -> Observed:
    held = desired.spec.storage.retention == "Delete"
    return draw(picture, desired, **{"finalizer": True, "deletion_held": held, **facts})


def told(desired: Desired, observed: Observed) -> tuple[list[type], ConditionState, str]:
    """Return the kinds of the actions, the condition, and what the first blocked step waits for."""
    assessment = assess(desired, observed)
    made = plan(assessment)
    condition = final_backup(assessment, made)
    assert condition is not None
    blocked = next((step.blocked_by for step in made.steps if step.name == CreateFinalBackup.__name__), "")
    return [type(one) for one in made.actions], condition, blocked


def backup(state: Any, cluster_id: str = "", message: str = "") -> FinalBackupSeen:
    return FinalBackupSeen(name=NAME, state=state, cluster_id=cluster_id, message=message)


def test_deletion_begins_with_the_backup() -> None:
    """Nothing stops, and the members that it is read from are still looked after."""
    actions, condition, _ = told(deleted(), seen(deleted()))
    assert actions == [CreateFinalBackup]
    assert (condition.status, condition.reason) == ("False", "Running")
    assert name_of(deleted()) == NAME
    down = seen(deleted(), "0: leader\n1: voter\n2: voter down=900", final_backup=backup("Active"))
    made = plan(assess(deleted(), down))
    assert [step.name for step in made.steps if not step.blocked_by] == ["ReplaceMember"], "repair goes on"


def test_operator_that_knows_no_final_backups_keeps_the_volumes() -> None:
    """After a rollback it would tear the cluster down at once; of a protected deletion it deletes none."""
    desired = deleted(deletes=True)
    new = seen(desired, deletion_held=False)
    record, create = plan(assess(desired, new)).actions
    assert isinstance(record, RecordProtectedDeletion)
    assert (record.uid, record.awaits_backup) == (UID, True)
    assert isinstance(create, CreateFinalBackup)
    assert told(desired, seen(desired))[0] == [CreateFinalBackup]
    assert told(deleted(), seen(deleted()))[0] == [CreateFinalBackup], "its volumes are kept anyway"
    older = msgspec.structs.replace(desired, spec=msgspec.structs.replace(desired.spec, deletion=None))
    gone = {"workload": Workload(replicas=0, revision="r"), "deletion_held": False}
    stopped = seen(older, "0: free\n1: free\n2: free", deletion_was_protected=True, **gone)
    assert not [one for one in plan(assess(older, stopped)).actions if isinstance(one, RetireVolume)]


def test_volumes_go_after_the_backup_although_they_were_held() -> None:
    desired, ended = deleted(deletes=True), PlannedWork(final_backup=FinalBackupEnd(uid=UID, backup=NAME))
    gone = {"workload": Workload(replicas=0, revision="r"), "planned_work": ended}
    stopped = seen(desired, "0: free\n1: free\n2: free", **gone)
    assert RetireVolume in [type(one) for one in plan(assess(desired, stopped)).actions]
    # Protected while it waited: that is recorded as before, and keeps them.
    protected = deleted(deletes=True, deletion_protection=True)
    (action,) = [
        one for one in plan(assess(protected, seen(protected))).actions if isinstance(one, RecordProtectedDeletion)
    ]
    assert not action.awaits_backup
    kept = seen(desired, "0: free\n1: free\n2: free", **gone | {"deletion_held": False, "deletion_was_protected": True})
    assert RetireVolume not in [type(one) for one in plan(assess(desired, kept)).actions]


def test_name_of_the_backup_fits_whatever_the_cluster_is_called() -> None:
    long = msgspec.structs.replace(deleted(), name="a" * 40)
    assert len(name_of(long)) <= 46
    assert name_of(long) != name_of(msgspec.structs.replace(long, uid="5b1c2d3e-0000"))


def test_running_backup_is_waited_for() -> None:
    observed = seen(deleted(), final_backup=backup("Active", message="attempt 2; the one before: Unreachable: x"))
    actions, condition, blocked = told(deleted(), observed)
    assert actions == []
    assert condition.reason == "Running"
    assert "attempt 2" in blocked


def test_failed_backup_stops_the_deletion_and_says_how_to_go_on() -> None:
    observed = seen(deleted(deletes=True), final_backup=backup("Failed", message="DeadlineExceeded: too slow"))
    actions, condition, blocked = told(deleted(deletes=True), observed)
    assert actions == []
    assert condition.reason == "Failed"
    assert "DeadlineExceeded" in blocked
    assert "delete it to try again" in blocked
    assert f"{labels.SKIP_FINAL_BACKUP}=true" in blocked
    assert "the data is deleted with it" in blocked
    assert "the volumes are kept" in told(deleted(), seen(deleted(), final_backup=backup("Failed")))[2]


@pytest.mark.parametrize("state", [None, "Active"])
def test_cluster_without_quorum_says_that_it_cannot_be_backed_up(state: str | None) -> None:
    facts = {} if state is None else {"final_backup": backup(state)}
    actions, condition, blocked = told(deleted(), seen(deleted(), NO_QUORUM, initialized=True, **facts))
    assert CreateFinalBackup not in actions
    assert EnsureWorkload not in actions
    assert condition.reason in ("Blocked", "NoQuorum")
    assert "needs a quorum" in blocked
    assert "skip-final-backup=true" in blocked


def test_hibernated_cluster_must_wake_first() -> None:
    desired = deleted(hibernate=True)
    actions, _, blocked = told(desired, seen(desired))
    assert CreateFinalBackup not in actions
    assert "set spec.hibernate to false" in blocked


def test_backup_that_cannot_be_read_is_not_taken_for_a_missing_one() -> None:
    actions, _, blocked = told(deleted(), seen(deleted(), final_backup=Unknown("the API server said 500")))
    assert actions == []
    assert "500" in blocked


def test_backup_of_another_cluster_does_not_count() -> None:
    actions, _, blocked = told(deleted(), seen(deleted(), final_backup=backup("Complete", cluster_id="c-other")))
    assert actions == []
    assert "of another cluster" in blocked
    assert told(deleted(), seen(deleted(), final_backup=backup("Complete")))[0] == []


def test_end_is_recorded_before_the_first_pod_stops() -> None:
    """So the next operator tears it down, also if the resource of the backup is gone by then."""
    desired = deleted()
    complete = seen(desired, final_backup=backup("Complete", cluster_id=CLUSTER_ID))
    made = plan(assess(desired, complete))
    (action,) = made.actions
    assert isinstance(action, RecordPlannedWork)
    assert action.work.final_backup == FinalBackupEnd(uid=UID, backup=NAME)
    recorded = decode(action.work.encoded())
    assert recorded == action.work
    actions, condition, _ = told(desired, seen(desired, planned_work=recorded))
    assert actions == [EnsureWorkload]
    assert (condition.status, condition.reason) == ("True", "Complete")


def test_complete_backup_is_not_the_last_while_the_teardown_is_held() -> None:
    """What is written until the pause ends would be in no backup, and the record would tear the cluster down."""
    paused = deleted(paused=True, deletes=True)
    fresh = msgspec.structs.replace(backup("Complete", cluster_id=CLUSTER_ID), completed_at=NOW - 60)
    actions, condition, _ = told(paused, seen(paused, final_backup=fresh))
    assert actions == []
    assert (condition.status, condition.reason) == ("False", "Held")
    assert "spec.paused is true; it lacks what is written after it began" in condition.message
    assert told(deleted(), seen(deleted(), final_backup=fresh))[0] == [RecordPlannedWork]
    old = msgspec.structs.replace(fresh, completed_at=NOW - 3_600)
    for desired in (paused, deleted(deletes=True)):
        actions, condition, blocked = told(desired, seen(desired, final_backup=old))
        assert actions == []
        assert condition.status == "False"
        assert "delete it, and another is made" in blocked
    # What has begun goes on, however long it takes.
    ended = PlannedWork(final_backup=FinalBackupEnd(uid=UID, backup=NAME))
    assert told(deleted(), seen(deleted(), final_backup=old, planned_work=ended))[0] == [EnsureWorkload]
    unreadable = PlannedWork(unreadable="damaged")
    assert told(deleted(), seen(deleted(), final_backup=old, planned_work=unreadable))[0] == [EnsureWorkload]


@pytest.mark.parametrize("state", ["Failed", "Complete"])
def test_user_gives_it_up_while_the_teardown_is_held(state: str) -> None:
    paused = deleted(paused=True, skip="true")
    found = backup(state, cluster_id=CLUSTER_ID)
    (action,) = plan(assess(paused, seen(paused, final_backup=found))).actions
    assert isinstance(action, RecordPlannedWork)
    assert action.work.final_backup == FinalBackupEnd(uid=UID)


def test_record_of_an_earlier_resource_does_not_count() -> None:
    work = PlannedWork(final_backup=FinalBackupEnd(uid="another", backup="x"))
    assert told(deleted(), seen(deleted(), planned_work=work))[0] == [CreateFinalBackup]


@pytest.mark.parametrize("picture", [HEALTHY, NO_QUORUM])
def test_user_gives_it_up(picture: str) -> None:
    desired = deleted(skip="true")
    observed = seen(desired, picture, initialized=True, final_backup=backup("Failed"))
    (action,) = plan(assess(desired, observed)).actions
    assert isinstance(action, RecordPlannedWork)
    assert action.work.final_backup == FinalBackupEnd(uid=UID)
    # The annotation is taken back: what has begun is not undone.
    actions, condition, _ = told(deleted(), seen(deleted(), picture, initialized=True, planned_work=action.work))
    assert actions == [EnsureWorkload]
    assert condition.reason == "GivenUp"


def test_other_value_of_the_annotation_gives_nothing_up() -> None:
    assert told(deleted(skip="false"), seen(deleted()))[0] == [CreateFinalBackup]


def test_unreadable_record_does_not_keep_a_user_from_giving_up() -> None:
    desired = deleted(skip="true")
    work = PlannedWork(unreadable="damaged")
    made = plan(assess(desired, seen(desired, planned_work=work)))
    assert [type(one) for one in made.actions] == [EnsureWorkload]


def test_cluster_that_never_had_data_needs_none() -> None:
    observed = seen(deleted(), "0: fresh\n1: fresh\n2: fresh")
    assert [type(one) for one in plan(assess(deleted(), observed)).actions] == [EnsureWorkload]


def test_lost_record_does_not_hide_the_data() -> None:
    """The status remembers; with neither a record nor a volume the deletion was about to end."""
    published = PublishedIdentity(cluster_id=CLUSTER_ID, initialized=True)
    silent = "0: voter down=900\n1: voter down=900\n2: voter down=900"
    lost = seen(deleted(), silent, initialized=False, initialized_recorded=False, published=published)
    assert EnsureWorkload not in told(deleted(), lost)[0]
    ended = msgspec.structs.replace(lost, slots=(), workload=ABSENT)
    assert [step.name for step in plan(assess(deleted(), ended)).steps] == ["DeleteIdentity", "RemoveFinalizer"]


def test_protection_comes_first() -> None:
    desired = deleted(deletion_protection=True)
    made = plan(assess(desired, seen(desired)))
    assert CreateFinalBackup.__name__ not in [step.name for step in made.steps]


def test_namespace_is_not_held_back() -> None:
    """Nothing can be created in it any more, a backup neither."""
    made = plan(assess(deleted(), seen(deleted(), namespace_terminating=True)))
    assert [step.name for step in made.steps] == ["RemoveFinalizer"]


def test_cluster_that_is_not_deleted_has_no_such_condition() -> None:
    alive = msgspec.structs.replace(deleted(), deleting=False)
    assessment = assess(alive, seen(alive))
    assert final_backup(assessment, plan(assessment)) is None
    assert not plan(assessment).steps
