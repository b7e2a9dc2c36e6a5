"""A cluster that is stopped on purpose and started again: each phase by a table, and all of them under kills."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import RecordPlannedWork, ScaleWorkload, disruptive
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import NodeStatus, Observed, Unknown, Workload
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.model.planned_work import Hibernation, PlannedWork, decode
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, make_desired, planned

HEALTHY = "0: leader\n1: voter lag=3\n2: voter"
STOPPED = "0: free\n1: free\n2: free"
ASLEEP = make_desired(3, hibernate=True)
AWAKE = make_desired(3)
INDEX, TERM = 20_000, 7
VOTERS = ("old-0", "old-1", "old-2")
PREPARING = Hibernation(term=TERM, commit_index=INDEX - 10, voters=VOTERS, replicas=3)
STOPPING = msgspec.structs.replace(PREPARING, stopping=True)


def work(hibernation: Hibernation | None) -> PlannedWork:
    return PlannedWork(hibernation=hibernation)


def recorded(made: Plan) -> Hibernation | None:
    (found,) = [one.work.hibernation for one in made.actions if isinstance(one, RecordPlannedWork)]
    return found


def stopped(desired: Desired, picture: str = STOPPED, **facts: object) -> Observed:
    given = {"workload": Workload(replicas=0, revision=revision(AWAKE)), "initialized": True, **facts}
    return draw(picture, desired, planned_work=work(STOPPING), **given)


# Stopping


def test_what_there_is_is_recorded_before_anything_stops() -> None:
    made = planned(ASLEEP, draw(HEALTHY, ASLEEP))
    assert actions_of(made) == ["RecordPlannedWork"]
    assert recorded(made) == Hibernation(term=TERM, commit_index=INDEX, voters=VOTERS, replicas=3)


def test_members_stop_when_every_one_has_what_was_recorded() -> None:
    """The record first, in the same proposal: an operator that is killed in between goes on."""
    made = planned(ASLEEP, draw(HEALTHY, ASLEEP, planned_work=work(PREPARING)))
    assert actions_of(made) == ["RecordPlannedWork", "ScaleWorkload 0"]
    assert recorded(made) == STOPPING


def test_member_that_lacks_what_was_recorded_holds_the_stop() -> None:
    """Under load no member ever has the newest index; each must have that of the record."""
    made = planned(ASLEEP, draw(HEALTHY.replace("lag=3", "lag=11"), ASLEEP, planned_work=work(PREPARING)))
    assert not made.actions
    assert blocked_steps(made) == ["ScaleWorkload demo: demo-1 must store index 19,990 first"]


@pytest.mark.parametrize(
    ("picture", "blocker"),
    [
        ("0: leader\n1: voter down=5\n2: voter", "demo-1 is not running"),
        ("0: leader\n1: voter unready=5\n2: voter", "demo-1 is not ready"),
        ("0: leader\n1: voter lag=9000\n2: voter", "demo-1 must be in sync first"),
        ("0: leader\n1: voter old\n2: voter", "demo-1 must be restarted first"),
        ("0: leader\n1: voter doomed\n2: voter", "the claim data-demo-1 is being deleted"),
        ("0: leader\n1: learner\n2: voter", "the voters must be the desired members first"),
        ("0: leader\n1: voter\n2: voter\n3: voter", "the workload must have the desired number of pods first"),
        ("0: leader\n1: incoming\n2: outgoing", "a joint configuration is active"),
        ("0: voter\n1: voter\n2: voter", "no leader is known"),
    ],
)
@pytest.mark.parametrize("done", [None, PREPARING])
def test_cluster_that_is_not_well_is_not_stopped(picture: str, blocker: str, done: Hibernation | None) -> None:
    """Repair and rollout go on, and the step says what it waits for."""
    made = planned(ASLEEP, draw(picture, ASLEEP, planned_work=work(done)))
    assert not [one for one in made.actions if isinstance(one, ScaleWorkload)]
    assert not [one for one in made.actions if isinstance(one, RecordPlannedWork) and one.work.hibernation != done]
    assert blocker in next(step.blocked_by for step in made.steps if step.name == "ScaleWorkload")


def test_change_of_voters_after_the_record_begins_again() -> None:
    """What is recorded is what is stopped."""
    earlier = msgspec.structs.replace(PREPARING, voters=("old-0", "old-1", "lost"))
    made = planned(ASLEEP, draw(HEALTHY, ASLEEP, planned_work=work(earlier)))
    assert recorded(made) == Hibernation(term=TERM, commit_index=INDEX, voters=VOTERS, replicas=3)


def test_request_is_taken_back_before_the_stop() -> None:
    made = planned(AWAKE, draw(HEALTHY, AWAKE, planned_work=work(PREPARING)))
    assert (actions_of(made), recorded(made)) == (["RecordPlannedWork"], None)


def test_stop_that_was_recorded_is_carried_out() -> None:
    """Killed between the two: nothing else is done, whatever else is due."""
    picture = "0: leader\n1: voter down=900 failure=Disk\n2: voter old"
    made = planned(ASLEEP, draw(picture, ASLEEP, planned_work=work(STOPPING)))
    assert actions_of(made) == ["ScaleWorkload 0"]


# Hibernated


def test_hibernated_cluster_is_settled() -> None:
    assert planned(ASLEEP, stopped(ASLEEP)).converged


def test_process_that_an_interrupted_stop_has_left_is_stopped() -> None:
    """On one machine no controller does it; on Kubernetes the StatefulSet's does."""
    left = "0: free\n1: voter\n2: free"
    assert actions_of(planned(ASLEEP, stopped(ASLEEP, left))) == ["ScaleWorkload 0"]
    assert "ScaleWorkload 0" not in actions_of(planned(ASLEEP, stopped(ASLEEP, left, objects=())))


def test_changes_of_the_spec_wait_and_are_told() -> None:
    desired = make_desired(5, hibernate=True, version="0.9.0")
    made = planned(desired, stopped(desired))
    assert not made.actions
    assert [step.name for step in made.steps] == ["EnsureWorkload", "RestartPod"]
    assert all("the cluster is hibernated" in step.blocked_by for step in made.steps)


def test_pods_started_by_hand_are_stopped_again() -> None:
    observed = stopped(ASLEEP, HEALTHY, workload=Workload(replicas=3, revision=revision(ASLEEP)))
    assert actions_of(planned(ASLEEP, observed)) == ["ScaleWorkload 0"]


@pytest.mark.parametrize("desired", [ASLEEP, AWAKE])
def test_nothing_is_scaled_while_the_workload_cannot_be_observed(desired: Desired) -> None:
    made = planned(desired, stopped(desired, workload=Unknown("unseen")))
    assert not made.actions
    assert "the workload cannot be observed: unseen" in " ".join(blocked_steps(made))


def test_unreadable_record_stops_nothing() -> None:
    made = planned(ASLEEP, draw(HEALTHY, ASLEEP, planned_work=decode("{")))
    assert not made.actions
    assert "planned-work in the record" in blocked_steps(made)[0]


def test_paused_resource_is_neither_stopped_nor_started() -> None:
    for spec in ({"hibernate": True}, {}):
        desired = make_desired(3, paused=True, **spec)
        observed = draw(HEALTHY, desired, planned_work=work(PREPARING)) if spec else stopped(desired)
        assert not planned(desired, observed).actions


def test_deleted_resource_is_torn_down_while_hibernated() -> None:
    desired = msgspec.structs.replace(ASLEEP, deleting=True)
    assert actions_of(planned(desired, stopped(desired, finalizer=True))) == ["RemoveFinalizer"]


# Starting


def test_all_members_start_at_once_at_the_revision_that_they_had() -> None:
    desired = make_desired(3, version="0.9.0")
    assert actions_of(planned(desired, stopped(desired))) == ["ScaleWorkload 3"]


def test_nothing_else_is_done_before_every_pod_exists() -> None:
    """Pods that the controller creates later must have the revision at which they were stopped."""
    desired = make_desired(5, version="0.9.0")
    picture = "0: voter unready=3 old\n1: voter unready=3 old\n2: free"
    observed = stopped(desired, picture, workload=Workload(replicas=3, revision="earlier"))
    made = planned(desired, observed)
    assert not made.actions
    assert blocked_steps(made) == ["ScaleWorkload demo-2: demo-2 must be started first"]


def test_rollout_goes_on_when_every_pod_exists() -> None:
    """An image that is gone by now can be replaced, though no leader has been elected."""
    desired = make_desired(3, version="0.9.0")
    picture = "\n".join(f"{ordinal}: voter down=90 old failure=Image" for ordinal in range(3))
    observed = stopped(desired, picture, workload=Workload(replicas=3, revision="earlier"))
    assert "EnsureWorkload 3" in actions_of(planned(desired, observed))


def test_record_goes_when_what_was_committed_is_committed_again() -> None:
    observed = draw(HEALTHY, AWAKE, planned_work=work(STOPPING))
    made = planned(AWAKE, observed)
    assert (actions_of(made), recorded(made)) == (["RecordPlannedWork"], None)


def test_leader_that_has_not_committed_again_yet_is_awaited() -> None:
    """After an election it has the entries, and knows what is committed a round trip later."""
    observed = _leading(draw(HEALTHY, AWAKE, planned_work=work(STOPPING)), commit_index=100)
    assert planned(AWAKE, observed).converged


def test_volumes_with_less_than_was_stopped_hold_everything() -> None:
    """They are not those that were stopped: no repair, no rollout, until a user decides."""
    desired = make_desired(3, version="0.9.0")
    observed = _leading(draw(HEALTHY, desired, planned_work=work(STOPPING)), last_index=500, commit_index=500)
    made = planned(desired, observed)
    assert not made.actions
    assert "19,990 was committed when the cluster was stopped" in blocked_steps(made)[0]
    accepted = msgspec.structs.replace(AWAKE, annotations={labels.ACCEPT_LOSS: "19990"})
    made = planned(accepted, observed)
    assert "RecordPlannedWork" in actions_of(made)


def test_acceptance_of_another_loss_does_not_count() -> None:
    desired = msgspec.structs.replace(AWAKE, annotations={labels.ACCEPT_LOSS: "19991"})
    observed = _leading(draw(HEALTHY, desired, planned_work=work(STOPPING)), last_index=500, commit_index=500)
    assert not planned(desired, observed).actions


@pytest.mark.parametrize(
    ("picture", "starts"),
    [
        (STOPPED, True),
        ("0: gone\n1: free\n2: free", True),
        ("0: gone\n1: gone\n2: free", False),
        ("0: free empty\n1: free empty\n2: free", False),
    ],
)
def test_members_do_not_start_on_new_volumes_instead_of_most_of_theirs(picture: str, starts: bool) -> None:  # noqa: FBT001
    """Empty volumes would take the names of those that may be restored."""
    made = planned(AWAKE, stopped(AWAKE, picture))
    assert [one for one in made.actions if isinstance(one, ScaleWorkload)] == (
        [ScaleWorkload(replicas=3, was=0, reason="spec.hibernate is not true: the cluster is to run")] if starts else []
    )
    assert starts or "restore the claims" in " ".join(blocked_steps(made))


@pytest.mark.parametrize(("objects", "way"), [((), "by spec.restore"), (None, "as another cluster")])
def test_what_is_left_without_the_volumes_is_said(objects: tuple[()] | None, way: str) -> None:
    """A restore in place is for Kubernetes alone."""
    made = planned(AWAKE, stopped(AWAKE, "0: gone\n1: gone\n2: free", objects=objects))
    assert way in " ".join(blocked_steps(made))


def test_volume_that_cannot_be_seen_is_not_gone() -> None:
    observed = stopped(AWAKE, "0: free\n1: free\n2: free")
    slots = [msgspec.structs.replace(slot, volume=Unknown("unseen")) for slot in observed.slots]
    observed = msgspec.structs.replace(observed, slots=tuple(slots))
    assert "ScaleWorkload 3" in actions_of(planned(AWAKE, observed))


def test_workload_that_was_deleted_meanwhile_is_created_again() -> None:
    observed = msgspec.structs.replace(stopped(AWAKE), workload=draw("0: gone", AWAKE).slot(9).pod)
    assert actions_of(planned(AWAKE, observed)) == ["EnsureWorkload 3"]


def test_stop_is_disruptive() -> None:
    assert disruptive(ScaleWorkload(replicas=0, was=3, reason="x"))


# What is told


def told(desired: Desired, observed: Observed, before: Status | None = None) -> Status:
    assessment = assess(desired, observed)
    return report(assessment, planned(desired, observed), before)


def states(status: Status) -> dict[str, str]:
    return {one.type: f"{one.status} {one.reason}" for one in status.conditions}


def test_other_clusters_have_no_such_condition() -> None:
    assert "Hibernated" not in states(told(AWAKE, draw(HEALTHY, AWAKE)))


def test_conditions_of_a_hibernated_cluster() -> None:
    """Not available, and nothing is wrong."""
    status = told(ASLEEP, stopped(ASLEEP))
    found = states(status)
    assert found["Hibernated"] == "True Hibernated"
    assert found["Available"] == "False Hibernated"
    assert found["Ready"] == "False Hibernated"
    assert found["Degraded"] == "False Hibernated"
    assert found["QuorumSafe"] == "Unknown Hibernated"
    assert found["Progressing"] == "False Settled"
    assert not [member.unhealthy_since for member in status.members if member.unhealthy_since]


def test_conditions_on_the_way() -> None:
    assert states(told(ASLEEP, draw(HEALTHY, ASLEEP)))["Hibernated"] == "False Preparing"
    assert states(told(ASLEEP, stopped(ASLEEP, HEALTHY)))["Hibernated"] == "False Stopping"
    waking = states(told(AWAKE, draw(HEALTHY, AWAKE, planned_work=work(STOPPING))))
    assert (waking["Hibernated"], waking["Available"]) == ("False Waking", "False Waking")


def test_members_that_start_again_are_not_down_since_they_were_stopped() -> None:
    """Degraded would call for action at once, after days of sleep."""
    before = told(ASLEEP, stopped(ASLEEP))
    later = msgspec.structs.replace(stopped(AWAKE, "0: voter unready=3\n1: voter unready=3\n2: free"), now=2e9)
    assert states(told(AWAKE, later, before))["Degraded"] == "False MembersRestarting"


def test_killed_operator_stops_and_starts_a_cluster_all_the_same() -> None:
    """The operator is killed after every single action, and everything is done once."""
    record, replicas, seen = PlannedWork(), 3, []
    for desired in (ASLEEP, AWAKE):
        for _ in range(10):
            picture = HEALTHY.replace(" lag=3", "") if replicas else STOPPED
            workload = Workload(replicas=replicas, revision=revision(AWAKE))
            observed = draw(picture, desired, planned_work=record, workload=workload, initialized=True)
            for action in planned(desired, observed).actions[:1]:
                seen.append(type(action).__name__)
                if isinstance(action, RecordPlannedWork):
                    record = action.work
                elif isinstance(action, ScaleWorkload):
                    assert action.was == replicas
                    replicas = action.replicas
    assert (record, replicas) == (PlannedWork(), 3)
    assert seen == [*["RecordPlannedWork"] * 2, "ScaleWorkload", "ScaleWorkload", "RecordPlannedWork"]


def _leading(observed: Observed, **fields: int) -> Observed:
    """Return the look with these fields in the leader's answer."""
    slots = [
        msgspec.structs.replace(slot, node=msgspec.structs.replace(slot.node, **fields))
        if isinstance(slot.node, NodeStatus) and slot.node.role == "Leader"
        else slot
        for slot in observed.slots
    ]
    return msgspec.structs.replace(observed, slots=tuple(slots))
