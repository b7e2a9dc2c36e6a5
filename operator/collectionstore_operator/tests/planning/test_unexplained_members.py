"""A member that neither the spec nor a pod or volume explains: shown and removed, and nothing is started for it."""

from __future__ import annotations

import msgspec

from collectionstore_operator.model.actions import EnsureWorkload, RemoveLearners
from collectionstore_operator.model.observed import Member, NodeStatus, Observed
from collectionstore_operator.tests.planning.pictures import blocked_steps, draw, make_desired, planned

HEALTHY = "0: leader\n1: voter\n2: voter"
BOGUS = "f" * 16


def with_learner(name: str, picture: str = HEALTHY) -> Observed:
    """Return a cluster, a healthy one of three, to whose membership a node of this name was added."""
    observed = draw(picture, make_desired())
    slots = []
    for slot in observed.slots:
        node = slot.node
        if not isinstance(node, NodeStatus) or not node.configuration.voters:
            slots.append(slot)
            continue
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


def test_all_pods_stay_while_it_is_unknown_where_a_member_runs() -> None:
    """A member without a name may run in any pod, also in those of removed members."""
    picture = HEALTHY + "\n3: stale marked\n4: stale marked"
    shrinks = planned(make_desired(), draw(picture, make_desired())).actions
    assert [(one.replicas, one.shrinks) for one in shrinks if isinstance(one, EnsureWorkload)] == [(3, True)]

    made = planned(make_desired(), with_learner("", picture))

    assert not [one for one in made.actions if isinstance(one, EnsureWorkload)]
    assert "EnsureWorkload demo-3, demo-4: demo-3, demo-4 must be removed from the cluster first" in blocked_steps(made)
