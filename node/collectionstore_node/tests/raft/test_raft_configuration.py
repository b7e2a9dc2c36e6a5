"""The algebra of configurations: tables of changes, and properties of all of them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidRequest
from collectionstore_node.raft.configuration import find_violation, next_configuration
from collectionstore_node.raft.messages import Change, ChangeKind, ConfigChange, Configuration, NodeId

VOTER, LEARNER, REMOVE = ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REMOVE


def config(
    voters: str = "", outgoing: str = "", learners: str = "", learners_next: str = "", *, auto_leave: bool | None = None
) -> Configuration:
    def ids(text: str) -> tuple[NodeId, ...]:
        return tuple(NodeId(int(digit)) for digit in text)

    leave = bool(outgoing) if auto_leave is None else auto_leave
    return Configuration(ids(voters), ids(outgoing), ids(learners), ids(learners_next), leave)


def change(*steps: tuple[ChangeKind, int]) -> ConfigChange:
    return ConfigChange(tuple(Change(kind, NodeId(node)) for kind, node in steps))


LEAVE = change()


@pytest.mark.parametrize(
    ("before", "steps", "after"),
    [
        pytest.param(config(), change((VOTER, 1)), config("1"), id="bootstrap"),
        pytest.param(config(), change((VOTER, 2), (VOTER, 1), (LEARNER, 3)), config("12", "", "3"), id="first voters"),
        pytest.param(config("1"), change((LEARNER, 2)), config("1", "", "2"), id="learner joins in one step"),
        pytest.param(config("1", "", "23"), change((REMOVE, 2)), config("1", "", "3"), id="learner leaves in one step"),
        pytest.param(config("1"), change((LEARNER, 3), (LEARNER, 2)), config("1", "", "23"), id="learners are sorted"),
        pytest.param(config("1"), change((VOTER, 2)), config("12", "1"), id="voter joins through joint"),
        pytest.param(config("1", "", "2"), change((VOTER, 2)), config("12", "1"), id="promotion goes through joint"),
        pytest.param(config("123"), change((REMOVE, 3)), config("12", "123"), id="removal goes through joint"),
        pytest.param(config("123"), change((LEARNER, 3)), config("12", "123", "", "3"), id="demotion waits for leave"),
        pytest.param(
            config("123", "", "4"), change((VOTER, 4), (REMOVE, 1)), config("234", "123"), id="replacement at once"
        ),
        pytest.param(
            config("123"),
            change((VOTER, 4), (VOTER, 5), (LEARNER, 2), (REMOVE, 1), (LEARNER, 6)),
            config("345", "123", "6", "2"),
            id="everything at once",
        ),
        pytest.param(config("12"), change((VOTER, 2)), config("12"), id="adding a voter again"),
        pytest.param(config("1", "", "2"), change((LEARNER, 2)), config("1", "", "2"), id="adding a learner again"),
        pytest.param(config("1"), change((REMOVE, 9)), config("1"), id="removing a stranger"),
        pytest.param(config("12", "123"), LEAVE, config("12"), id="leave"),
        pytest.param(config("12", "123", "4", "3"), LEAVE, config("12", "", "34"), id="leave demotes"),
    ],
)
def test_change_gives(before: Configuration, steps: ConfigChange, after: Configuration) -> None:
    """Thesis 4.3; every change of voters is joint and is left automatically."""
    assert next_configuration(before, steps) == after


@pytest.mark.parametrize(
    ("before", "steps", "code"),
    [
        (config("1"), LEAVE, "not_joint"),
        (config(), LEAVE, "not_joint"),
        (config("12", "1"), change((VOTER, 3)), "already_joint"),
        (config("12", "1"), change((LEARNER, 3)), "already_joint"),
        (config("1"), change((REMOVE, 1)), "no_voters"),
        (config("1"), change((LEARNER, 1)), "no_voters"),
        (config(), change((LEARNER, 1)), "no_voters"),
        (config("12"), change((REMOVE, 1), (REMOVE, 2)), "no_voters"),
        (config("1"), change((VOTER, 2), (REMOVE, 2)), "duplicate_node"),
        (config("1"), change((VOTER, 0)), "invalid_node"),
        (config("1"), change((VOTER, -5)), "invalid_node"),
    ],
)
def test_change_is_refused(before: Configuration, steps: ConfigChange, code: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        next_configuration(before, steps)
    assert refusal.value.code == code


steps_of_changes = st.lists(
    st.tuples(st.sampled_from(ChangeKind), st.integers(1, 6)), min_size=1, max_size=4, unique_by=lambda step: step[1]
)


@settings(max_examples=200)
@given(st.lists(steps_of_changes, max_size=6))
def test_any_sequence_of_changes_keeps_the_invariants(sequence: list[list[tuple[ChangeKind, int]]]) -> None:
    """And old and new voters always have a common majority member, because one half of a joint quorum is the old."""
    current = config("1")
    for steps in sequence:
        try:
            entered = next_configuration(current, change(*steps))
        except InvalidRequest:
            continue
        assert find_violation(entered) is None
        if entered.joint:
            assert entered.outgoing == current.voters
            left = next_configuration(entered, LEAVE)
            assert find_violation(left) is None
            assert left.members() <= entered.members()
            entered = left
        else:
            assert entered.voters == current.voters
        current = entered


@settings(max_examples=100)
@given(steps_of_changes)
def test_order_of_steps_does_not_matter(steps: list[tuple[ChangeKind, int]]) -> None:
    before = config("123", "", "4")
    steps = [step for step in steps if step[1] != 1]
    assume(steps)
    assert next_configuration(before, change(*reversed(steps))) == next_configuration(before, change(*steps))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (Configuration(voters=(NodeId(2), NodeId(1))), "sorted"),
        (Configuration(voters=(NodeId(1), NodeId(1))), "twice"),
        (Configuration(voters=(NodeId(0),)), "below 1"),
        (config("12", "", "2"), "also a voter"),
        (config("1", "12", "2"), "also a voter"),
        (config("12", "1", "", "1"), "outgoing voter"),
        (config("1", "", "", "2"), "outgoing voter"),
        (config("1", auto_leave=True), "outside a joint"),
        (config("", "1"), "no voters"),
        (config("", "", "1"), "no voters"),
    ],
)
def test_check_names_the_broken_invariant(broken: Configuration, why: str) -> None:
    assert why in (find_violation(broken) or "")


@pytest.mark.parametrize("sound", [config(), config("1"), config("12", "123", "4", "3"), config("1", "", "2")])
def test_check_accepts_sound_configurations(sound: Configuration) -> None:
    assert find_violation(sound) is None
