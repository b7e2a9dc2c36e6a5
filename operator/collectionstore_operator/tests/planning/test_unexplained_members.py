"""A member that neither the spec nor a pod or volume explains: shown and removed, and nothing is started for it."""

from __future__ import annotations

import msgspec

from collectionstore_operator.model.actions import EnsureWorkload, RemoveLearners
from collectionstore_operator.model.observed import Member, NodeStatus, Observed
from collectionstore_operator.tests.planning.pictures import blocked_steps, draw, make_desired, planned

HEALTHY = "0: leader\n1: voter\n2: voter"
BOGUS = "f" * 16


def with_learner(name: str) -> Observed:
    """Return a healthy cluster of three to whose membership somebody added a node of this name."""
    observed = draw(HEALTHY, make_desired())
    slots = []
    for slot in observed.slots:
        node = slot.node
        assert isinstance(node, NodeStatus)
        configuration = msgspec.structs.replace(node.configuration, learners=(BOGUS,))
        member = Member(node_id=BOGUS, name=name, role="Learner")
        replaced = msgspec.structs.replace(node, configuration=configuration, members=(*node.members, member))
        slots.append(msgspec.structs.replace(slot, node=replaced))
    return msgspec.structs.replace(observed, slots=tuple(slots))


def test_member_far_outside_starts_no_pods() -> None:
    made = planned(make_desired(), with_learner("demo-5"))
    assert not [one for one in made.actions if isinstance(one, EnsureWorkload)]
    assert any("demo-5" in one and "explains" in one for one in blocked_steps(made))
    assert [one for one in made.actions if isinstance(one, RemoveLearners)], "it is removed like any surplus member"


def test_member_of_the_spec_is_explained() -> None:
    made = planned(make_desired(5), with_learner("demo-4"))
    assert not any("explains" in one for one in blocked_steps(made))
