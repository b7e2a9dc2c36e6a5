"""The membership record: name and addresses of every member, changed only by the membership entries of the log.

Raft knows node IDs only; names, addresses and the operator's fencing epoch are in the context of a change and are
stored here. This module does not decide whether a change is allowed. Node IDs are plain integers, as this package does
not depend on Raft.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

import msgspec

from collectionstore_node.statemachine.codec import decode, decode_own
from collectionstore_node.statemachine.keys import MEMBERSHIP_KEY
from collectionstore_node.statemachine.view import Overlay, View

EPOCH_MAX: Final = 2**53 - 1
"""The highest epoch of an operator: exact in every JSON reader (RFC 8259, section 6)."""


class HasMembers(Protocol):
    """The part of a Raft configuration that this module uses."""

    def members(self) -> Collection[int]:
        """Return the IDs of all nodes that receive the log."""


class MemberInfo(msgspec.Struct, frozen=True, array_like=True):
    """Name and addresses of a member."""

    node_id: int
    name: str
    address: str
    """Peer address, host:port."""
    http_address: str
    """Client address, host:port."""


class MembershipContext(msgspec.Struct, frozen=True, array_like=True):
    """Context of a membership change: the caller's epoch, and members that are new or have new addresses."""

    epoch: int
    members: tuple[MemberInfo, ...] = ()


class MembershipRecord(msgspec.Struct, frozen=True, array_like=True):
    """The members after a change. All tuples are sorted by node ID."""

    index: int = 0
    """Log index of the last applied change, which `expected_index` is compared with."""
    epoch: int = 0
    """Maximum epoch of all changes."""
    members: tuple[MemberInfo, ...] = ()
    """The members of the configuration whose addresses are known."""
    removed: tuple[int, ...] = ()
    """IDs of removed nodes, never reused: a node that returned with its old log could vote twice in a term, or count
    towards a quorum with entries that the cluster has replaced."""
    node_ids: tuple[int, ...] = ()
    """All nodes of the configuration."""

    @property
    def fencing_epoch(self) -> int:
        """The epoch that callers are compared with.

        One above EPOCH_MAX is no operator's: older versions accepted any number, and it would lock out every operator
        for good. It counts as none.
        """
        return self.epoch if self.epoch <= EPOCH_MAX else 0

    def find(self, node_id: int) -> MemberInfo | None:
        """Return the member with this node ID, or None."""
        return next((member for member in self.members if member.node_id == node_id), None)


_encoder = msgspec.msgpack.Encoder()
_context_decoder = msgspec.msgpack.Decoder(MembershipContext)
_record_decoder = msgspec.msgpack.Decoder(MembershipRecord)


def encode_context(context: MembershipContext) -> bytes:
    """Return the context to put into a membership change."""
    return _encoder.encode(context)


def decode_context(data: bytes) -> MembershipContext:
    """Decode the context of a change; an empty one is epoch 0. Raises `msgspec.DecodeError` if it is invalid."""
    return decode(_context_decoder, data) if data else MembershipContext(0)


def read_membership(view: View) -> MembershipRecord:
    """Return the membership record; empty before the first change. Raises `InvariantViolated` if it is corrupt."""
    data = view.get(MEMBERSHIP_KEY)
    if data is None:
        return MembershipRecord()
    return decode_own(_record_decoder, data, "the membership record")


def apply_membership(overlay: Overlay, index: int, context: bytes, configuration: HasMembers) -> MembershipRecord:
    """Record the change at log entry `index`, which led to `configuration`, and return the new record.

    Raises `InvariantViolated` if `context` cannot be decoded.
    """
    what = f"the context of membership change {index}"
    change = decode_own(_context_decoder, context, what) if context else MembershipContext(0)
    before = read_membership(overlay)
    node_ids = set(configuration.members())
    # The members of the change LAST: a new address replaces the recorded one.
    known = {member.node_id: member for member in (*before.members, *change.members)}
    # `members()` covers both halves of a joint configuration, so a node counts as removed only once the joint phase is
    # left: until then its vote may still be needed.
    after = MembershipRecord(
        index=index,
        # The maximum: a change of an older epoch may have been proposed before a newer one was applied.
        epoch=max(before.fencing_epoch, change.epoch),
        members=tuple(known[node_id] for node_id in sorted(known) if node_id in node_ids),
        removed=tuple(sorted({*before.removed, *(set(before.node_ids) - node_ids)})),
        node_ids=tuple(sorted(node_ids)),
    )
    write_membership(overlay, after)
    return after


def sole_member(before: MembershipRecord, info: MemberInfo, index: int, *, epoch: int) -> MembershipRecord:
    """Return the record of a new cluster on the state of an old one, whose only member is `info`.

    All members of the old cluster had the log of this state: none of them may ever count as a member of the new one.
    """
    removed = tuple(sorted({*before.removed, *before.node_ids} - {info.node_id}))
    return MembershipRecord(index=index, epoch=epoch, members=(info,), removed=removed, node_ids=(info.node_id,))


def write_membership(overlay: Overlay, record: MembershipRecord) -> None:
    """Store a membership record."""
    overlay.put(MEMBERSHIP_KEY, _encoder.encode(record))
