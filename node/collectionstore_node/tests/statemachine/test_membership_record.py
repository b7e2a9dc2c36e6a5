"""The directory of members follows the configuration and never forgets a removed id."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import Configuration, Index, NodeId
from collectionstore_node.statemachine.keys import MEMBERSHIP_KEY
from collectionstore_node.statemachine.members import (
    MemberInfo,
    MembershipContext,
    MembershipRecord,
    apply_membership,
    decode_context,
    encode_context,
    read_membership,
)
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView


def info(node_id: int, address: str = "") -> MemberInfo:
    return MemberInfo(node_id, f"node-{node_id}", address or f"10.0.0.{node_id}:7401", f"10.0.0.{node_id}:7400")


def ids(*numbers: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(number) for number in numbers)


def context(epoch: int, *members: MemberInfo) -> bytes:
    return encode_context(MembershipContext(epoch, members))


def test_record_is_empty_before_the_first_change() -> None:
    assert read_membership(MemoryView()) == MembershipRecord()


def test_members_join_and_leave_with_the_configuration() -> None:
    """A cluster of one takes a learner, replaces its voter through a joint configuration, and buries the old one."""
    overlay = Overlay(MemoryView())
    apply_membership(overlay, Index(1), context(1, info(1)), Configuration(voters=ids(1)))
    apply_membership(overlay, Index(5), context(2, info(2)), Configuration(voters=ids(1), learners=ids(2)))
    joint = Configuration(voters=ids(2), outgoing=ids(1), auto_leave=True)
    record = apply_membership(overlay, Index(7), context(3), joint)
    assert record == MembershipRecord(7, 3, (info(1), info(2)), (), (1, 2))
    record = apply_membership(overlay, Index(8), b"", Configuration(voters=ids(2)))
    assert record == MembershipRecord(8, 3, (info(2),), (1,), (2,))
    assert read_membership(overlay) == record


def test_epoch_is_the_highest_seen() -> None:
    overlay = Overlay(MemoryView())
    epochs = [
        apply_membership(overlay, Index(index), context(epoch, info(1)), Configuration(voters=ids(1))).epoch
        for index, epoch in ((1, 4), (2, 2), (3, 9))
    ]
    assert epochs == [4, 4, 9]


def test_known_member_may_move() -> None:
    """The latest addresses count."""
    overlay = Overlay(MemoryView())
    apply_membership(overlay, Index(1), context(1, info(1)), Configuration(voters=ids(1)))
    moved = info(1, address="10.9.9.9:7401")
    record = apply_membership(overlay, Index(2), context(1, moved), Configuration(voters=ids(1)))
    assert record.members == (moved,)
    assert record.find(1) == moved
    assert record.find(2) is None


def test_context_adds_nobody_who_is_not_in_the_configuration() -> None:
    record = apply_membership(
        Overlay(MemoryView()), Index(1), context(1, info(1), info(2)), Configuration(voters=ids(1))
    )
    assert record.members == (info(1),)
    assert record.removed == ()


def test_node_without_directory_entry_leaves_a_tombstone_too() -> None:
    """The promise that a removed id never returns does not depend on what its change carried."""
    overlay = Overlay(MemoryView())
    apply_membership(overlay, Index(1), b"", Configuration(voters=ids(1, 2)))
    record = apply_membership(overlay, Index(2), b"", Configuration(voters=ids(2)))
    assert (record.members, record.removed, record.node_ids) == ((), (1,), (2,))


def test_tombstones_are_kept_sorted_for_ever() -> None:
    overlay = Overlay(MemoryView())
    for index, voters in enumerate([(3, 2, 1), (3, 2), (2,), (2, 4), (4,)], start=1):
        record = apply_membership(overlay, Index(index), b"", Configuration(voters=ids(*voters)))
    assert record.removed == (1, 2, 3)


def test_membership_takes_no_revision() -> None:
    overlay = Overlay(MemoryView())
    apply_membership(overlay, Index(1), context(1, info(1)), Configuration(voters=ids(1)))
    assert read_revision(overlay) == 0


def test_unreadable_context_or_record_stops_the_node() -> None:
    overlay = Overlay(MemoryView())
    with pytest.raises(InvariantViolated, match="context of membership change 3"):
        apply_membership(overlay, Index(3), b"\xc1", Configuration())
    overlay.put(MEMBERSHIP_KEY, b"\xc1")
    with pytest.raises(InvariantViolated, match="membership record"):
        read_membership(overlay)


def test_context_round_trip() -> None:
    given = MembershipContext(7, (info(1), info(2**63 - 1, "[::1]:7401")))
    assert decode_context(encode_context(given)) == given
    assert decode_context(b"") == MembershipContext(0, ())
