"""A member that works is copied before it is replaced: each phase by a table, and what ends it early."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import RecordPlannedWork
from collectionstore_operator.model.observed import Observed, Workload
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.model.planned_work import PlannedWork, Replacement, decode
from collectionstore_operator.resource.desired import Desired, FailedMember
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, make_desired, planned

ASKED = "0: leader\n1: voter replace\n2: voter"
BEGUN = Replacement(ordinal=1, node_id="old-1", surge=3)
DESIRED = make_desired(3)


def seen(picture: str, work: Replacement | None = BEGUN, *, pods: int = 4, desired: Desired = DESIRED) -> Observed:
    workload = Workload(replicas=pods, revision=revision(desired))
    return draw(picture, desired, planned_work=PlannedWork(replacement=work), workload=workload)


def recorded(made: Plan) -> Replacement | None:
    (found,) = [one.work.replacement for one in made.actions if isinstance(one, RecordPlannedWork)]
    return found


@pytest.mark.parametrize("picture", [ASKED, "0: leader\n1: voter doomed\n2: voter"])
def test_replacement_is_recorded_before_the_extra_pod(picture: str) -> None:
    """On request, or because its claim is being deleted."""
    made = planned(DESIRED, draw(picture, DESIRED))
    assert (actions_of(made), recorded(made)) == (["RecordPlannedWork"], BEGUN)


def test_extra_pod_is_started_and_joins() -> None:
    made = planned(DESIRED, seen(ASKED, pods=3))
    assert actions_of(made) == ["EnsureWorkload 4"]
    made = planned(DESIRED, seen(f"{ASKED}\n3: fresh"))
    assert actions_of(made) == ["AddLearners demo-3"]


def test_members_are_swapped_when_the_extra_one_has_everything() -> None:
    """ONE joint change, before the volume of the other one is touched."""
    assert not planned(DESIRED, seen(f"{ASKED}\n3: learner lag=9000")).actions
    made = planned(DESIRED, seen(f"{ASKED}\n3: learner"))
    assert actions_of(made) == ["ChangeVoters +old-3 -old-1"]


def test_leader_hands_over_before_it_is_swapped() -> None:
    picture = "0: leader replace\n1: voter\n2: voter\n3: learner"
    made = planned(DESIRED, seen(picture, Replacement(ordinal=0, node_id="old-0", surge=3)))
    assert actions_of(made) == ["TransferLeadership demo-0 to demo-1"]


def test_volume_is_retired_after_the_swap() -> None:
    """It is that of no member by then; the record goes in the same round or the next."""
    made = planned(DESIRED, seen("0: leader\n1: stale replace unready=9\n2: voter\n3: voter"))
    assert "RetireVolume data-demo-1 keep" in actions_of(made)
    made = planned(DESIRED, seen("0: leader\n1: fresh\n2: voter\n3: voter"))
    assert recorded(made) is None


def test_extra_member_leaves_with_the_change_that_makes_the_other_one_vote() -> None:
    """There is never an even number of voters, and never one fewer."""
    assert actions_of(planned(DESIRED, seen("0: leader\n1: fresh\n2: voter\n3: voter", None))) == ["AddLearners demo-1"]
    assert not planned(DESIRED, seen("0: leader\n1: learner lag=9000\n2: voter\n3: voter", None)).actions
    made = planned(DESIRED, seen("0: leader\n1: learner\n2: voter\n3: voter", None))
    assert actions_of(made) == ["ChangeVoters +old-1 -old-3"]
    made = planned(DESIRED, seen("0: voter\n1: learner\n2: voter\n3: leader", None))
    assert actions_of(made) == ["TransferLeadership demo-3 to demo-0"]


def test_extra_member_stays_while_the_other_one_is_missing() -> None:
    """As long as it takes: a smaller number of voters would tolerate less."""
    made = planned(DESIRED, seen("0: leader\n1: free empty\n2: voter\n3: voter", None))
    assert not [one for one in actions_of(made) if one.startswith("ChangeVoters")]


def test_replacement_ends_when_it_is_not_asked_for_any_more() -> None:
    assert recorded(planned(DESIRED, seen("0: leader\n1: voter\n2: voter\n3: learner lag=9000"))) is None


def test_member_that_has_failed_before_the_copy_is_replaced_at_once() -> None:
    """Nothing is gained by a copy first; the record goes when its volume is retired."""
    made = planned(DESIRED, seen("0: leader\n1: voter replace down=60\n2: voter\n3: learner lag=9000"))
    assert actions_of(made) == ["RetireVolume data-demo-1 keep"]
    assert "RecordPlannedWork demo" in " ".join(blocked_steps(made))


@pytest.mark.parametrize("state", ["down=9", "unready=9", "stopping"])
def test_moment_without_the_member_ends_nothing(state: str) -> None:
    """Its volume is not retired either; and a copy that is complete replaces it all the same."""
    made = planned(DESIRED, seen(f"0: leader\n1: voter replace {state}\n2: voter\n3: learner lag=9000"))
    assert not made.actions
    made = planned(DESIRED, seen(f"0: leader\n1: voter replace {state}\n2: voter\n3: learner"))
    assert actions_of(made) == ["ChangeVoters +old-3 -old-1"]


def test_request_in_place_retires_the_volume_at_once() -> None:
    """It ends a replacement that cannot get its extra pod."""
    made = planned(DESIRED, seen("0: leader\n1: voter replace in-place\n2: voter\n3: learner lag=9000"))
    assert recorded(made) is None
    made = planned(DESIRED, draw("0: leader\n1: voter replace in-place\n2: voter", DESIRED))
    assert actions_of(made) == ["RetireVolume data-demo-1 keep"]


def test_only_voter_is_swapped_without_a_successor() -> None:
    desired = make_desired(1)
    work = Replacement(ordinal=0, node_id="old-0", surge=1)
    made = planned(desired, seen("0: leader replace\n1: learner", work, pods=2, desired=desired))
    assert actions_of(made) == ["ChangeVoters +old-1 -old-0"]


def test_learner_of_a_replacement_that_has_ended_is_removed() -> None:
    assert actions_of(planned(DESIRED, seen("0: leader\n1: voter\n2: voter\n3: learner", None))) == [
        "RemoveLearners demo-3"
    ]


@pytest.mark.parametrize(
    ("picture", "pods"),
    [
        ("0: leader\n1: voter replace\n2: voter\n3: learner", 4),
        ("0: leader\n1: voter replace\n2: learner", 3),
        ("0: leader\n1: voter replace\n2: voter\n3: left", 4),
    ],
)
def test_replacement_does_not_begin_during_another_change(picture: str, pods: int) -> None:
    """Nor is the volume retired instead."""
    made = planned(DESIRED, seen(picture, None, pods=pods))
    assert not [one for one in actions_of(made) if one.split()[0] in ("RecordPlannedWork", "RetireVolume")]
    assert "one change at a time" in " ".join(blocked_steps(made))


def test_two_members_are_replaced_one_after_the_other() -> None:
    picture = "0: leader\n1: voter replace\n2: voter doomed\n3: learner lag=9000"
    made = planned(DESIRED, seen(picture))
    assert not made.actions


@pytest.mark.parametrize("work", [None, BEGUN])
def test_nothing_is_concluded_without_a_trusted_leader(work: Replacement | None) -> None:
    made = planned(DESIRED, seen("0: voter\n1: voter replace\n2: voter\n3: learner", work))
    assert not made.actions


def test_pod_that_cannot_be_seen_does_not_end_it() -> None:
    made = planned(DESIRED, seen("0: leader\n1: voter hidden\n2: voter\n3: learner"))
    assert not made.actions
    assert "cannot be observed" in " ".join(blocked_steps(made))


def test_smaller_cluster_needs_no_replacement() -> None:
    desired = make_desired(1)
    made = planned(desired, seen(f"{ASKED}\n3: learner", desired=desired))
    assert recorded(made) is None


def test_manual_replacement_is_for_users_to_request() -> None:
    desired = make_desired(3, failed_member=FailedMember(replacement="Manual"))
    assert not planned(desired, draw("0: leader\n1: voter doomed\n2: voter", desired)).actions
    assert recorded(planned(desired, draw(ASKED, desired))) == BEGUN


def test_unreadable_record_leaves_the_member_to_the_usual_path() -> None:
    """It retires the volume, as before there was a record."""
    observed = msgspec.structs.replace(draw(ASKED, DESIRED), planned_work=decode("{"))
    assert actions_of(planned(DESIRED, observed)) == ["RetireVolume data-demo-1 keep"]
