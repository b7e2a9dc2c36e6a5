"""The view of a cluster: leader, members, which of them are in sync, and when the leader is not trusted."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model import quorum
from collectionstore_operator.model.assessment import ACTIVE_WITHIN_MS, LAG_MAX, assess, coarse_lag
from collectionstore_operator.model.observed import Configuration, Member, NodeStatus, Observed
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.planning.pictures import draw, make_desired

DESIRED = make_desired(3)
HEALTHY = "0: leader\n1: voter\n2: voter"


@pytest.mark.parametrize(
    ("voters", "majority", "tolerance"), [(0, 1, 0), (1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2), (7, 4, 3)]
)
def test_majority_and_tolerance_of_so_many_voters(voters: int, majority: int, tolerance: int) -> None:
    """An even number tolerates no more than the odd one below it."""
    assert quorum.majority(voters) == majority
    assert quorum.full_tolerance(voters) == tolerance


def test_no_voters_are_no_quorum() -> None:
    """An empty configuration never has a quorum."""
    assert not quorum.has_quorum(Configuration(), {"a"})


def test_joint_configuration_needs_both_majorities() -> None:
    """Three old and three new voters: two of each must be in sync, and the weaker half sets the tolerance."""
    both = Configuration(voters=("a", "b", "c"), outgoing=("c", "d", "e"), joint=True)
    assert quorum.has_quorum(both, {"a", "c", "d"})
    assert not quorum.has_quorum(both, {"a", "b", "c"})
    assert quorum.fault_tolerance(both, {"a", "b", "c", "d"}) == 0
    assert quorum.fault_tolerance(both, {"a", "b", "c", "d", "e"}) == 1


def test_joint_step_keeps_the_old_voters() -> None:
    """A replacement passes through a configuration of both sets; a promoted learner is no longer a learner."""
    before = Configuration(index=12, voters=("a", "b", "c"), learners=("d",))
    assert quorum.joint(before, {"d"}, {"c"}) == Configuration(
        index=12, voters=("a", "b", "d"), outgoing=("a", "b", "c"), learners=(), joint=True
    )


@pytest.mark.parametrize(
    ("picture", "tolerance"),
    [
        (HEALTHY, 1),
        ("0: leader\n1: voter\n2: voter down=3", 0),
        ("0: leader\n1: voter\n2: voter lag=9000", 0),
        ("0: leader\n1: voter\n2: voter\n3: voter\n4: voter", 2),
        ("0: leader\n1: voter\n2: voter\n3: voter\n4: voter down=3", 1),
        ("0: leader\n1: voter\n2: voter\n3: learner\n4: learner", 1),
        ("0: leader\n1: incoming\n2: incoming", 0),
        ("0: leader", 0),
        ("0: voter\n1: voter\n2: voter", 0),
    ],
)
def test_fault_tolerance_comes_from_the_live_configuration(picture: str, tolerance: int) -> None:
    """Of the current voters, not of spec.replicas."""
    assert assess(DESIRED, draw(picture, DESIRED)).view.fault_tolerance == tolerance


def test_leader_that_is_no_voter_is_not_trusted() -> None:
    """It may be about to step down after a change that removes it."""
    observed = draw(HEALTHY, DESIRED)
    leader = _node(observed, 0)
    removed = msgspec.structs.replace(leader.configuration, voters=("old-1", "old-2"))
    observed = _with_node(observed, 0, msgspec.structs.replace(leader, configuration=removed))
    assert "is not a voter in its own configuration" in assess(DESIRED, observed).view.untrusted_reason


def test_leader_of_the_highest_term_counts() -> None:
    """A deposed leader may not know yet: if both respond, the higher term wins."""
    observed = draw("0: leader\n1: voter\n2: voter", DESIRED)
    late = msgspec.structs.replace(_node(observed, 0), node_id="old-1", name="demo-1", term=8)
    observed = _with_node(observed, 1, late)
    leader = assess(DESIRED, observed).view.leader
    assert leader is not None
    assert leader.name == "demo-1"


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"active": True, "silent_ms": None, "lag": 0, "match_index": 9}, "in_sync"),
        # A leader that has just counted its quorum calls nobody active until the next answer.
        ({"active": False, "silent_ms": ACTIVE_WITHIN_MS, "lag": 0, "match_index": 9}, "in_sync"),
        ({"active": False, "silent_ms": ACTIVE_WITHIN_MS + 1, "lag": 0, "match_index": 9}, "silent"),
        ({"active": None, "silent_ms": None, "lag": None, "match_index": None}, "silent"),
        ({"active": True, "silent_ms": 9, "lag": LAG_MAX, "match_index": 9}, "in_sync"),
        ({"active": True, "silent_ms": 9, "lag": LAG_MAX + 1, "match_index": 9}, "active"),
        ({"active": True, "silent_ms": 9, "lag": 0, "match_index": 9, "snapshot": True}, "active"),
        # A leader that was elected just now knows nobody's log.
        ({"active": False, "silent_ms": 9, "lag": 3, "match_index": 0}, "active"),
    ],
)
def test_member_is_in_sync_when_active_and_caught_up(reported: dict[str, object], expected: str) -> None:
    """What the leader must report before a member counts towards a quorum."""
    observed = draw(HEALTHY, DESIRED)
    leader = _node(observed, 0)
    others = tuple(one for one in leader.members if one.node_id != "old-2")
    said = Member(node_id="old-2", name="demo-2", **reported)  # type: ignore[arg-type]
    observed = _with_node(observed, 0, msgspec.structs.replace(leader, members=(*others, said)))
    member = assess(DESIRED, observed).view.member("old-2")
    assert member is not None
    assert ("in_sync" if member.in_sync else "active" if member.recently_active else "silent") == expected


@pytest.mark.parametrize(
    ("changed", "untrusted_reason"),
    [
        ({"term": 8}, "demo-1 is in term 8, the leader demo-0 in term 7"),
        ({"configuration": Configuration(index=13)}, "demo-1 has a newer configuration than the leader demo-0"),
        ({"term": 6}, ""),
        ({"term": 8, "cluster_id": "another"}, ""),
    ],
)
def test_leader_is_not_trusted_when_a_node_contradicts_it(changed: dict[str, object], untrusted_reason: str) -> None:
    """A later term, or a later configuration, anywhere in this cluster."""
    observed = draw(HEALTHY, DESIRED)
    observed = _with_node(observed, 1, msgspec.structs.replace(_node(observed, 1), **changed))
    assert assess(DESIRED, observed).view.untrusted_reason == untrusted_reason


def test_leader_without_a_quorum_is_not_trusted() -> None:
    """It reports itself as leader and cannot commit anything."""
    observed = draw("0: leader\n1: voter down=2\n2: voter silent", DESIRED)
    assert assess(DESIRED, observed).view.untrusted_reason == "the leader demo-0 has no quorum of in-sync voters"


def test_member_without_a_name_gets_that_of_its_node() -> None:
    """Right after bootstrap the leader reports no name of the first member; the node itself does."""
    observed = draw("0: leader", DESIRED)
    leader = _node(observed, 0)
    nameless = tuple(msgspec.structs.replace(one, name="") for one in leader.members)
    observed = _with_node(observed, 0, msgspec.structs.replace(leader, members=nameless))
    (member,) = assess(DESIRED, observed).view.members
    assert (member.name, member.ordinal) == ("demo-0", 0)


@pytest.mark.parametrize(("lag", "rough"), [(None, 0), (0, 0), (500, 0), (501, 500), (999, 900), (12_345, 10_000)])
def test_lag_is_reported_coarsely(lag: int | None, rough: int) -> None:
    """An exact number would change the status with every write."""
    assert coarse_lag(lag) == rough


@pytest.mark.parametrize(
    ("member", "ordinal"),
    [
        ("demo-0", 0),
        ("demo-10", 10),
        ("demo-01", None),
        ("demo", None),
        ("demo-x", None),
        ("other-1", None),
        ("", None),
    ],
)
def test_ordinal_is_a_number(member: str, ordinal: int | None) -> None:
    """Ten comes after nine, and a foreign name has no ordinal."""
    assert labels.ordinal_of("demo", member) == ordinal


def test_cluster_whose_name_ends_in_a_number_has_ordinals_of_its_own() -> None:
    """`demo-1-0` is a member of `demo-1` and not of `demo`."""
    assert labels.ordinal_of("demo-1", "demo-1-0") == 0
    assert labels.ordinal_of("demo", "demo-1-0") is None


def _node(observed: Observed, ordinal: int) -> NodeStatus:
    node = observed.slot(ordinal).node
    assert isinstance(node, NodeStatus)
    return node


def _with_node(observed: Observed, ordinal: int, node: NodeStatus) -> Observed:
    slots = tuple(
        msgspec.structs.replace(slot, node=node) if slot.ordinal == ordinal else slot for slot in observed.slots
    )
    return msgspec.structs.replace(observed, slots=slots)
