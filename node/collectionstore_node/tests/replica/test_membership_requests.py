"""What a membership request is checked against, and the change it becomes."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_node.errors import ChangePending, InvalidRequest
from collectionstore_node.raft.messages import Change, ChangeKind, Configuration, Index, NodeId
from collectionstore_node.replica.membership.changes import (
    EPOCH_STEP_MAX,
    PROMOTION_LAG_MAX,
    MemberChange,
    MembersRequest,
    check_quorum_after,
    plan_change,
)
from collectionstore_node.statemachine.members import EPOCH_MAX, MemberInfo, MembershipRecord, decode_context

THREE = Configuration(voters=(NodeId(1), NodeId(2), NodeId(3)), learners=(NodeId(4),))
RECORD = MembershipRecord(
    index=12,
    epoch=3,
    removed=(9,),
    members=tuple(MemberInfo(at, f"demo-{at}", f"h{at}:1", f"http://h{at}:1") for at in (1, 2, 3, 4)),
    node_ids=(1, 2, 3, 4),
)


def add(node_id: int) -> MemberChange:
    return MemberChange(
        "add", NodeId(node_id), f"demo-{node_id}", f"127.0.0.1:{node_id}", f"http://127.0.0.1:{node_id}"
    )


def changed(**fields: str) -> MembersRequest:
    """Return a request to add node 5 with other fields."""
    return MembersRequest((msgspec.structs.replace(add(5), **fields),))


def promote(node_id: int) -> MemberChange:
    return MemberChange("promote", NodeId(node_id))


def remove(node_id: int) -> MemberChange:
    return MemberChange("remove", NodeId(node_id))


def test_replacement_is_one_change_with_both_steps() -> None:
    change = plan_change(MembersRequest((promote(4), remove(3))), RECORD, THREE, {NodeId(4): 0})
    assert change.changes == (Change(ChangeKind.ADD_VOTER, NodeId(4)), Change(ChangeKind.REMOVE, NodeId(3)))


def test_context_carries_addresses_and_the_callers_epoch() -> None:
    change = plan_change(MembersRequest((add(5),), epoch=4), RECORD, THREE, {})
    context = decode_context(change.context)
    assert context.epoch == 4
    assert context.members == (MemberInfo(5, "demo-5", "127.0.0.1:5", "http://127.0.0.1:5"),)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param(MembersRequest((add(5),), expected_index=Index(11)), "configuration_changed", id="old-news"),
        pytest.param(MembersRequest((add(5),), epoch=2), "stale_epoch", id="replaced-operator"),
        pytest.param(MembersRequest(()), "no_changes", id="nothing-asked"),
        pytest.param(MembersRequest((add(5), remove(5))), "duplicate_node", id="twice"),
        pytest.param(MembersRequest((add(9),)), "node_removed", id="tombstone"),
        pytest.param(MembersRequest((add(4),)), "already_member", id="add-a-member"),
        pytest.param(MembersRequest((MemberChange("add", NodeId(5)),)), "address_missing", id="no-address"),
        pytest.param(MembersRequest((promote(3),)), "already_voter", id="promote-a-voter"),
        pytest.param(MembersRequest((promote(5),)), "not_a_learner", id="promote-a-stranger"),
        pytest.param(MembersRequest((MemberChange("demote", NodeId(4)),)), "not_a_voter", id="demote-a-learner"),
        pytest.param(MembersRequest((remove(5),)), "not_a_member", id="remove-a-stranger"),
        pytest.param(MembersRequest((add(5),), epoch=2**64 - 1), "epoch_out_of_range", id="epoch-nobody-could-follow"),
        pytest.param(MembersRequest((add(5),), epoch=3 + EPOCH_STEP_MAX + 1), "epoch_out_of_range", id="epoch-too-far"),
        pytest.param(MembersRequest((add(5),), epoch=-1), "stale_epoch", id="negative-epoch"),
        pytest.param(MembersRequest(tuple(add(at) for at in range(10, 80))), "invalid_body", id="too-many-steps"),
        pytest.param(changed(name="demo-5\0"), "invalid_member", id="name-with-nul"),
        pytest.param(changed(name="x" * 20_000), "invalid_member", id="long-name"),
        pytest.param(changed(name="Demo-5"), "invalid_member", id="upper-case-name"),
        pytest.param(changed(name="prod-5"), "invalid_member", id="name-of-another-cluster"),
        pytest.param(changed(name="demo-05"), "invalid_member", id="ordinal-with-a-zero"),
        pytest.param(changed(name="demo"), "invalid_member", id="name-without-an-ordinal"),
        pytest.param(changed(address="demo-5"), "invalid_member", id="no-port"),
        pytest.param(changed(address="demo-5:70000"), "invalid_member", id="port-out-of-range"),
        pytest.param(changed(address="demo-5:1\r\nX: y"), "invalid_member", id="line-break-in-the-address"),
        pytest.param(changed(http_address="http://demo-5:1\r\nX: y"), "invalid_member", id="line-break-in-the-url"),
        pytest.param(changed(http_address="demo-5:1"), "invalid_member", id="no-url"),
        pytest.param(changed(http_address="http://" + "x" * 20_000), "invalid_member", id="long-url"),
        pytest.param(changed(name="demo-2"), "name_in_use", id="name-of-a-living-member"),
    ],
)
def test_request_that_can_never_work_is_invalid(request_: MembersRequest, code: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        plan_change(request_, RECORD, THREE, {NodeId(4): 0, NodeId(2): 0})
    assert error.value.code == code


def test_name_of_a_member_that_is_gone_is_taken_over() -> None:
    """So a lost member is replaced: its successor has its name and another node ID."""
    change = plan_change(changed(name="demo-2"), RECORD, THREE, {NodeId(4): 0})
    assert [one.name for one in decode_context(change.context).members] == ["demo-2"]


@pytest.mark.parametrize("epoch", [3, 4, 1_800_000_000, 3 + EPOCH_STEP_MAX])
def test_epoch_of_an_operator_is_accepted(epoch: int) -> None:
    """The next one, and a Unix time: what operators begin with."""
    change = plan_change(MembersRequest((add(5),), epoch=epoch), RECORD, THREE, {})
    assert decode_context(change.context).epoch == epoch


@pytest.mark.parametrize("locked", [2**64 - 1, 2**63, EPOCH_MAX + 1])
def test_epoch_that_older_versions_accepted_locks_nobody_out(locked: int) -> None:
    record = msgspec.structs.replace(RECORD, epoch=locked)
    assert record.fencing_epoch == 0
    change = plan_change(MembersRequest((add(5),), epoch=7), record, THREE, {})
    assert decode_context(change.context).epoch == 7
    change = plan_change(MembersRequest((add(5),)), record, THREE, {})
    assert decode_context(change.context).epoch == 0


def test_joint_configuration_refuses_every_change_for_now() -> None:
    joint = Configuration(voters=(NodeId(1),), outgoing=(NodeId(2),), auto_leave=True)
    with pytest.raises(ChangePending):
        plan_change(MembersRequest((add(5),)), RECORD, joint, {})


@pytest.mark.parametrize("lag", [{NodeId(4): PROMOTION_LAG_MAX + 1}, {}], ids=["behind", "not-heard-from"])
def test_learner_that_has_not_caught_up_is_not_promoted(lag: dict[NodeId, int]) -> None:
    with pytest.raises(ChangePending):
        plan_change(MembersRequest((promote(4),)), RECORD, THREE, lag)


@pytest.mark.parametrize(
    ("voters", "outgoing", "active", "safe"),
    [
        pytest.param((1, 2, 3), (), (1, 2), True, id="majority"),
        pytest.param((1, 2), (), (1,), False, id="two-voters-one-dead"),
        pytest.param((1, 2, 3), (3, 4, 5), (1, 2, 3), False, id="outgoing-half-has-none"),
        pytest.param((1, 2, 3), (1, 2, 5), (1, 2), True, id="both-halves"),
        pytest.param((1,), (), (1,), True, id="single"),
    ],
)
def test_change_is_refused_when_the_reachable_are_no_majority(
    voters: tuple[int, ...], outgoing: tuple[int, ...], active: tuple[int, ...], *, safe: bool
) -> None:
    configuration = Configuration(
        voters=tuple(NodeId(one) for one in voters), outgoing=tuple(NodeId(one) for one in outgoing)
    )
    reachable = frozenset(NodeId(one) for one in active)
    if safe:
        check_quorum_after(configuration, reachable)
    else:
        with pytest.raises(ChangePending):
            check_quorum_after(configuration, reachable)
