"""The directory of the cluster's members, changed by the membership entries of the log and by nothing else.

Raft knows ids only; names, addresses and the operator's fencing epoch travel in the context of a change and are kept
here. Does not decide whether a change is allowed. Node ids are plain integers here, as this package does not know Raft.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from collectionstore_node.statemachine.codec import decode, decode_own
from collectionstore_node.statemachine.keys import MEMBERSHIP_KEY
from collectionstore_node.statemachine.view import Overlay, View


class HasMembers(Protocol):
    """What is needed of a Raft configuration."""

    def members(self) -> Collection[int]:
        """Return the ids of every node that receives the log."""


class MemberInfo(msgspec.Struct, frozen=True, array_like=True):
    """Where a member is found."""

    node_id: int
    name: str
    address: str
    """Peer address, host:port."""
    http_address: str
    """Client address, host:port."""


class MembershipContext(msgspec.Struct, frozen=True, array_like=True):
    """What a membership change carries for the state machine: the caller's epoch, and members new or moved."""

    epoch: int
    members: tuple[MemberInfo, ...] = ()


class MembershipRecord(msgspec.Struct, frozen=True, array_like=True):
    """The directory after a change. All tuples are sorted by node id."""

    index: int = 0
    """Log index of the last applied change: what `expected_index` is compared with."""
    epoch: int = 0
    """The highest epoch that any change carried."""
    members: tuple[MemberInfo, ...] = ()
    """The members of the configuration of which anything is known."""
    removed: tuple[int, ...] = ()
    """Ids that left: a disk that was removed never returns."""
    node_ids: tuple[int, ...] = ()
    """Every node of the configuration."""

    def find(self, node_id: int) -> MemberInfo | None:
        """Return the member with this id, or None."""
        return next((member for member in self.members if member.node_id == node_id), None)


_encoder = msgspec.msgpack.Encoder()
_context_decoder = msgspec.msgpack.Decoder(MembershipContext)
_record_decoder = msgspec.msgpack.Decoder(MembershipRecord)


def encode_context(context: MembershipContext) -> bytes:
    """Return the context to put into a membership change."""
    return _encoder.encode(context)


def decode_context(data: bytes) -> MembershipContext:
    """Decode the context of a change; none at all is epoch 0. Raises `msgspec.DecodeError` on anything else."""
    return decode(_context_decoder, data) if data else MembershipContext(0)


def read_membership(view: View) -> MembershipRecord:
    """Return the directory; empty before the first change. Raises `InvariantViolated` when it is damaged."""
    data = view.get(MEMBERSHIP_KEY)
    if data is None:
        return MembershipRecord()
    return decode_own(_record_decoder, data, "the membership record")


def apply_membership(overlay: Overlay, index: int, context: bytes, configuration: HasMembers) -> MembershipRecord:
    """Record the change of the log entry `index`, which led to `configuration`, and return the new directory.

    A node is removed when it is in no part of the configuration, so while a joint one lasts nobody is. Raises
    `InvariantViolated` when `context` cannot be read.
    """
    what = f"the context of membership change {index}"
    change = decode_own(_context_decoder, context, what) if context else MembershipContext(0)
    before = read_membership(overlay)
    node_ids = set(configuration.members())
    known = {member.node_id: member for member in (*before.members, *change.members)}
    after = MembershipRecord(
        index=index,
        epoch=max(before.epoch, change.epoch),
        members=tuple(known[node_id] for node_id in sorted(known) if node_id in node_ids),
        removed=tuple(sorted({*before.removed, *(set(before.node_ids) - node_ids)})),
        node_ids=tuple(sorted(node_ids)),
    )
    overlay.put(MEMBERSHIP_KEY, _encoder.encode(after))
    return after
