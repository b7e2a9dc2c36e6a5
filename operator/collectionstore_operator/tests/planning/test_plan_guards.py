"""Guards of the plan that no scenario of a whole cluster covers."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import ChangeVoters, EnsureWorkload, MarkVolume, RemoveLearners, RestartPod
from collectionstore_operator.model.assessment import assess, change_blocked_by
from collectionstore_operator.model.observed import Absent, NodeStatus, Observed, Unknown
from collectionstore_operator.planning.membership import joint_change
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, make_desired, planned

DESIRED = make_desired(3)


def with_leader(observed: Observed, **fields: object) -> Observed:
    """Return the observed state with another report of member 0, the leader."""
    first = observed.slots[0]
    assert isinstance(first.node, NodeStatus)
    first = msgspec.structs.replace(first, node=msgspec.structs.replace(first.node, **fields))
    return msgspec.structs.replace(observed, slots=(first, *observed.slots[1:]))


def test_no_change_starts_during_a_leadership_transfer() -> None:
    """The next leader would have to execute it."""
    observed = with_leader(draw("0: leader\n1: voter\n2: voter old", DESIRED), transferring_to="old-1")
    assert change_blocked_by(assess(DESIRED, observed)) == "a leadership transfer is in progress"
    assert not planned(DESIRED, observed).actions


def test_joint_change_without_a_quorum_on_the_way_is_blocked() -> None:
    """Of the two voters that would be left one is in sync: nothing could be committed, nor the change undone."""
    assessment = assess(DESIRED, draw("0: leader\n1: voter\n2: voter down=60", DESIRED))
    leaving = assessment.view.members_at(1)[0]

    blocked = joint_change(assessment, add=(), remove=[leaving.ref()], reason="for the test")
    assert not blocked.actions
    assert blocked.step.blocked_by == "the joint configuration would have no quorum of in-sync voters"

    down = assessment.view.members_at(2)[0]
    proposed = joint_change(assessment, add=(), remove=[down.ref()], reason="for the test")
    assert [type(one) for one in proposed.actions] == [ChangeVoters]


def test_pods_stay_while_a_volume_that_must_be_marked_is_unknown() -> None:
    """Unmarked, it would let a removed member start on its old log when the cluster grows again."""
    desired = make_desired(1)
    observed = draw("0: leader\n1: stale\n2: stale", desired)
    made = planned(desired, observed)
    assert [type(one) for one in made.actions] == [MarkVolume, MarkVolume, EnsureWorkload]

    *others, last = observed.slots
    unseen = msgspec.structs.replace(last, volume=Unknown("no answer within 1 s"))
    made = planned(desired, msgspec.structs.replace(observed, slots=(*others, unseen)))

    assert not made.actions
    assert "EnsureWorkload demo-1, demo-2: the volume of demo-2 cannot be observed: no answer within 1 s" in (
        blocked_steps(made)
    )


def test_pods_of_removed_members_stay_during_a_leadership_transfer() -> None:
    """The next leader may know another configuration, in which they are needed."""
    observed = draw("0: leader\n1: voter\n2: voter\n3: stale marked\n4: stale marked", DESIRED)
    assert [type(one) for one in planned(DESIRED, observed).actions] == [EnsureWorkload]

    made = planned(DESIRED, with_leader(observed, transferring_to="old-1"))

    assert not made.actions
    assert "EnsureWorkload demo-3, demo-4: a leadership transfer is in progress" in blocked_steps(made)


def test_workload_is_recreated_over_all_pods_before_the_first_member() -> None:
    """Over fewer it would terminate those above: nothing says yet which of them will be members."""
    observed = draw("\n".join(f"{ordinal}: fresh" for ordinal in range(5)), DESIRED, workload=Absent())

    made = planned(DESIRED, observed)

    assert [one.replicas for one in made.actions if isinstance(one, EnsureWorkload)] == [5]


def test_terminating_pod_is_not_deleted_again() -> None:
    made = planned(DESIRED, draw("0: leader\n1: voter\n2: voter old stopping", DESIRED))
    assert not [one for one in made.actions if isinstance(one, RestartPod)]
    assert not [step for step in made.steps if step.name == "RestartPod"]


def test_active_member_is_not_replaced_by_another_of_its_name() -> None:
    """Its volume is not lost, whatever responds in its pod."""
    observed = draw("0: leader\n1: voter\n2: rejoined", DESIRED)
    leader = observed.slots[0].node
    assert isinstance(leader, NodeStatus)
    members = tuple(
        msgspec.structs.replace(one, active=True, silent_ms=10.0) if one.node_id == "old-2" else one
        for one in leader.members
    )
    made = planned(DESIRED, with_leader(observed, members=members))
    assert not [one for one in made.actions if isinstance(one, ChangeVoters)]
    assert "ChangeVoters demo-2: two incarnations of demo-2 are active" in blocked_steps(made)


@pytest.mark.parametrize("state", ["rejoined down=3 mute", "voter down=3 empty"])
def test_voter_whose_successor_restarts_is_not_forgotten(state: str) -> None:
    """The swap remains to be done, though nothing can be done now: the cluster is not settled."""
    made = planned(DESIRED, draw(f"0: leader\n1: voter\n2: {state}", DESIRED))
    assert not made.actions
    assert not made.converged
    assert [one for one in blocked_steps(made) if one.startswith("ChangeVoters demo-2: demo-2 is not running")]


def test_voter_that_restarts_on_its_own_volume_has_nothing_to_be_swapped() -> None:
    made = planned(DESIRED, draw("0: leader\n1: voter\n2: voter down=3", DESIRED))
    assert not [step for step in made.steps if step.name == "ChangeVoters"]


def test_voter_in_sync_is_not_restarted_as_broken_because_its_pod_is_not_ready() -> None:
    """It votes, whatever its probe reports: with another voter down, a restart would lose the quorum."""
    made = planned(DESIRED, draw("0: leader\n1: voter down=30\n2: voter old unready=60", DESIRED))
    assert not [one for one in made.actions if isinstance(one, RestartPod) and one.name == "demo-2"]
    assert "RestartPod demo-2: demo-1 must be in sync first" in blocked_steps(made)


def test_active_learner_is_not_removed_though_another_incarnation_responds() -> None:
    desired = make_desired(4)
    observed = draw("0: leader\n1: voter\n2: voter\n3: learner", desired)
    *others, last = observed.slots
    assert isinstance(last.node, NodeStatus)
    last = msgspec.structs.replace(last, node=msgspec.structs.replace(last.node, node_id="new-3"))
    both = msgspec.structs.replace(observed, slots=(*others, last))
    assert not [one for one in planned(desired, both).actions if isinstance(one, RemoveLearners)]
    leader = both.slots[0].node
    assert isinstance(leader, NodeStatus)
    members = tuple(
        msgspec.structs.replace(one, active=False, silent_ms=60_000.0) if one.node_id == "old-3" else one
        for one in leader.members
    )
    gone = planned(desired, with_leader(both, members=members))
    assert "RemoveLearners demo-3" in actions_of(gone)
