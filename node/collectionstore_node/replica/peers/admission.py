"""Which nodes may connect to this member, and what each may send. Decides from the membership that is applied here.

Everything on the peer port comes from the holder of a member's certificate, which the transport has verified. That is
not enough: the certificate of a member that was removed stays valid until it ends. So a node is one of three things to
this member:

- a member: its node ID is in the configuration applied here. It may send everything that members send;
- removed: its node ID was in the configuration once. It is refused, also on connections that are open already, and
  told so: that is how a removed member learns of it;
- a stranger: this member has never seen its node ID. Either it has no business here, or THIS member is behind, and the
  stranger was added by an entry that is not applied here yet.

A member that is behind learns of an addition from its leader, which it knows. So while there is a leader, a stranger
has nothing to say here and is refused; the dialer tries again until it is a member here too. Two cases are left, in
which a stranger must be heard, or the cluster could not recover (thesis 4.1, 4.2.2: a server accepts requests from
leaders, and grants votes to candidates, that are not in its configuration):

- this member is in no configuration yet: it waits to be contacted by a leader, and knows nobody;
- it has known no leader for ten elections: the leader may be a member that was added while this one was away, and a
  candidate may need this one's vote for its majority.

Even then a stranger may only do what it takes to bring this member up to date: be its leader, or ask for its vote. It
forwards no commands, orders no election, and its answers do not count. It stays admitted while it leads, or while there
is no leader.
docs/reference/security.md has the whole trust model.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendEntries,
    Heartbeat,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexReply,
    RequestVote,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.statemachine.members import MembershipRecord

REMOVED: Final = "removed"
"""Sent to a removed member, which shows it in its own status; the operator and csctl look for it."""

_FROM_STRANGERS: Final = frozenset({AppendEntries, Heartbeat, InstallSnapshot, ReadIndexReply, RequestVote})


def refusal(
    node_id: NodeId, name: str, record: MembershipRecord, raft: RaftNode, *, leaderless_ticks: int, wait_ticks: int
) -> str | None:
    """Return why a node may not connect to this member, in a few words that are sent to it; None admits it.

    `leaderless_ticks` is for how long this member has known no leader; a stranger waits for `wait_ticks`.
    """
    if node_id in record.removed:
        return REMOVED
    if node_id in record.node_ids:
        known = record.find(node_id)
        if known is not None and known.name != name:
            return f"node {node_id:016x} is {known.name!r}, not {name!r}"
        return None
    if not record.node_ids or raft.leader == node_id:
        return None
    if raft.leader != NO_NODE or leaderless_ticks < wait_ticks:
        return f"not a member of configuration {record.index}"
    return None


def is_member(node_id: NodeId, record: MembershipRecord) -> bool:
    """Return whether a node is in the configuration that is applied here."""
    return node_id in record.node_ids


def stranger_may_send(message: Message) -> bool:
    """Return whether a node that is in no configuration known here may send `message`."""
    return type(message) in _FROM_STRANGERS
