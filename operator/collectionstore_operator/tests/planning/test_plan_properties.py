"""Arbitrary clusters, also impossible ones: no plan can lose the quorum or act on what is unknown."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    Bootstrap,
    ChangeVoters,
    EnsureWorkload,
    MarkVolume,
    RaiseEpoch,
    RemoveLearners,
    ReplaceWorkload,
    RestartPod,
    RetireVolume,
    TransferLeadership,
    disruptive,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Absent, Configuration, NodeStatus, Observed, Pod, Unknown, Volume
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.ailments import RECOVERY_S, STARTING_S
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import draw, make_desired, planned

KINDS = [
    *["voter"] * 12,
    "learner",
    "learner",
    "incoming",
    "outgoing",
    "fresh",
    "stale",
    "renewed",
    "rejoined",
    "gone",
    "left",
    "free",
]
WORDS = [
    *[""] * 12,
    "old",
    "old",
    "hidden",
    "mute",
    "silent",
    "marked",
    "empty",
    "nodisk",
    "replace",
    "stopping",
    "doomed",
]
NUMBERS = [*[""] * 8, "lag=400", "lag=9000", "down=5", "down=400", "unready=3", "unready=400"]
FAILURES = ["", "", "failure=Disk", "failure=Damaged", "failure=Image", "failure=Crash", "failure=Machine"]

Looked = tuple[Desired, Observed]


@st.composite
def clusters(draw_value: Callable[[st.SearchStrategy[object]], object]) -> Looked:
    """Return desired and observed state: any mixture of members in any condition, with or without a leader."""
    size = draw_value(st.integers(1, 7))
    leader = draw_value(st.sampled_from([*range(size), None]))  # type: ignore[call-overload]
    lines = []
    for ordinal in range(size):  # type: ignore[call-overload]
        kind = "leader" if ordinal == leader else draw_value(st.sampled_from(KINDS))
        words = [draw_value(st.sampled_from(one)) for one in (WORDS, WORDS, NUMBERS, FAILURES)]
        lines.append(" ".join(str(word) for word in (f"{ordinal}:", kind, *words)))
    replicas = draw_value(st.sampled_from([1, 2, 3, 5, 7]))
    desired = make_desired(replicas)  # type: ignore[arg-type]
    observed = draw("\n".join(lines), desired)
    if draw_value(st.booleans()):
        observed = msgspec.structs.replace(observed, initialized=True)
    return desired, observed


@settings(max_examples=2_000, deadline=None)
@given(clusters())
def test_no_plan_can_lose_the_quorum(looked: Looked) -> None:
    """Every action of every plan is checked by rules that are written here again, from the observed state alone."""
    desired, observed = looked
    made = planned(desired, observed)
    exclusive = [one for one in made.actions if disruptive(one) or isinstance(one, AddLearners)]
    assert len(exclusive) <= 1
    for action in made.actions:
        _judge(action, desired, observed)


@settings(max_examples=1_000, deadline=None)
@given(clusters(), st.sets(st.tuples(st.integers(0, 6), st.sampled_from(["pod", "node", "volume"])), min_size=1))
def test_no_action_on_what_is_unknown(looked: Looked, hidden: set[tuple[int, str]]) -> None:
    """Whatever is unknown: no restart of an unknown pod, no unknown volume retired, no unknown node promoted."""
    desired, seen = looked
    observed = _without(seen, hidden)
    for action in planned(desired, observed).actions:
        _judge(action, desired, observed)
        match action:
            case RestartPod():
                assert (action.ordinal, "pod") not in hidden
            case RetireVolume() | MarkVolume():
                assert (action.ordinal, "volume") not in hidden
                assert isinstance(action, MarkVolume) or (action.ordinal, "pod") not in hidden
            case Bootstrap():
                assert not any(what in ("node", "volume") for _, what in hidden if _in(seen, _, what))
            case AddLearners():
                unseen = {f"demo-{ordinal}" for ordinal, what in hidden if what in ("pod", "node")}
                assert not {member.name for member in action.members} & unseen


@settings(max_examples=500, deadline=None)
@given(clusters(), st.sampled_from(["all", "workload", "epoch", "paused", "namespace"]))
def test_nothing_is_done_without_sight_or_leave(looked: Looked, why: str) -> None:
    """Nothing observed, replaced by another operator, paused, or in a terminating namespace: no action at all."""
    desired, observed = looked
    spec = desired.spec
    match why:
        case "all":
            hidden = {(ordinal, what) for ordinal in range(9) for what in ("pod", "node", "volume")}
            observed = msgspec.structs.replace(_without(observed, hidden), workload=Unknown("unseen"))
        case "workload":
            observed = msgspec.structs.replace(observed, workload=Unknown("unseen"))
        case "epoch":
            observed = msgspec.structs.replace(observed, epoch=-1)
        case "paused":
            desired = msgspec.structs.replace(desired, spec=msgspec.structs.replace(spec, paused=True))
        case "namespace":
            observed = msgspec.structs.replace(observed, namespace_terminating=True)
    made = planned(desired, observed)
    if why == "workload":
        assert not [one for one in made.actions if isinstance(one, EnsureWorkload | ReplaceWorkload)]
    elif why == "epoch":
        assert all(isinstance(one, RaiseEpoch) for one in made.actions) or not observed.nodes()
    else:
        assert not made.actions


def _without(observed: Observed, hidden: set[tuple[int, str]]) -> Observed:
    """Return the look in which these parts could not be seen."""
    slots = []
    for slot in observed.slots:
        unseen = {what: Unknown("unseen") for ordinal, what in hidden if ordinal == slot.ordinal}
        slots.append(msgspec.structs.replace(slot, **unseen))
    return msgspec.structs.replace(observed, slots=tuple(slots))


def _in(observed: Observed, ordinal: int, what: str) -> bool:
    """Whether hiding this hides anything that was there to be seen."""
    return any(slot.ordinal == ordinal and not isinstance(getattr(slot, what), Absent) for slot in observed.slots)


@settings(max_examples=500, deadline=None)
@given(clusters())
def test_every_look_can_be_reported(looked: Looked) -> None:
    """Every observation has a status, and the same observation again does not change it.

    But for time: a member that is unhealthy for RECOVERY_S counts as down, a new one after STARTING_S.
    """
    desired, observed = looked
    made = planned(desired, observed)
    first = report(assess(desired, observed), made, None)
    soon = msgspec.structs.replace(observed, now=observed.now + RECOVERY_S - 1)
    at_once = report(assess(desired, soon), made, first)
    assert at_once == first
    later = msgspec.structs.replace(observed, now=observed.now + STARTING_S)
    second = report(assess(desired, later), made, first)
    much_later = msgspec.structs.replace(observed, now=observed.now + 60 * RECOVERY_S)
    assert report(assess(desired, much_later), made, second) == second


def _judge(action: Action, desired: Desired, observed: Observed) -> None:
    leader = _leader(observed)
    match action:
        case AddLearners() | RemoveLearners() | TransferLeadership() | ChangeVoters():
            assert leader is not None
            assert not leader.configuration.joint
            _judge_change(action, desired, leader)
        case RestartPod() | RetireVolume():
            _judge_pod(action, observed, leader)
        case EnsureWorkload() if action.shrinks:
            assert leader is not None
            named = {member.name for member in leader.members}
            assert not any(f"demo-{ordinal}" in named for ordinal in range(action.replicas, 10))
        case Bootstrap():
            assert not observed.initialized
            assert not any(node.has_history for node in observed.nodes())
        case MarkVolume():
            assert leader is not None
            assert f"demo-{action.ordinal}" not in {member.name for member in leader.members}


def _judge_change(
    action: AddLearners | RemoveLearners | TransferLeadership | ChangeVoters, desired: Desired, leader: NodeStatus
) -> None:
    voters, working = set(leader.configuration.voters), _working(leader)
    match action:
        case AddLearners():
            assert not {member.node_id for member in action.members} & leader.configuration.members()
        case RemoveLearners():
            assert not {member.node_id for member in action.members} & voters
        case TransferLeadership():
            assert action.to.node_id in working & voters
        case ChangeVoters():
            add = {member.node_id for member in action.add}
            remove = {member.node_id for member in action.remove}
            assert leader.node_id not in remove
            assert add <= set(leader.configuration.learners)
            assert _majority(voters, working)
            assert _majority((voters | add) - remove, working)
            kept = {member.name for member in action.add}
            for member in action.remove:
                ordinal = desired.ordinal(member.name)
                assert ordinal is not None
                assert ordinal >= desired.spec.replicas or member.name in kept


def _judge_pod(action: RestartPod | RetireVolume, observed: Observed, leader: NodeStatus | None) -> None:
    slot = observed.slot(action.ordinal)
    if isinstance(action, RestartPod) or action.uid:
        assert isinstance(slot.pod, Pod)
        assert slot.pod.uid == action.uid
    else:
        assert isinstance(slot.pod, Absent)
    if isinstance(action, RetireVolume):
        assert isinstance(slot.volume, Volume)
    if leader is None:
        assert not isinstance(action, RetireVolume) or slot.volume.removed  # type: ignore[union-attr]
        assert not isinstance(slot.pod, Pod) or not slot.pod.ready
        return
    mine = {member.node_id for member in leader.members if member.name == f"demo-{action.ordinal}"}
    small = isinstance(action, RestartPod) and len(leader.configuration.voters) <= 2
    if not small:
        halves = [half for half in (leader.configuration.voters, leader.configuration.outgoing) if half]
        assert all(_majority(set(half), _working(leader) - mine) for half in halves)


def _leader(observed: Observed) -> NodeStatus | None:
    """Return the leader if it responds and has a quorum that has caught up."""
    for node in observed.nodes():
        if node.role == "Leader" and _quorate(node.configuration, _working(node)):
            return node
    return None


def _quorate(configuration: Configuration, working: set[str]) -> bool:
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return all(_majority(set(half), working) for half in halves)


def _working(leader: NodeStatus) -> set[str]:
    heard = {one.node_id for one in leader.members if one.active and one.lag is not None and one.lag <= 500}
    return heard | {leader.node_id}


def _majority(voters: set[str], working: set[str]) -> bool:
    return 2 * len(voters & working) > len(voters)
