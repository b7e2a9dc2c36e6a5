"""The term gate: what a difference between a message's term and ours means, before any handler sees it (Raft 5.1).

Every message passes here once, so that no handler compares terms: behind the gate a message is of the current term,
or it is a pre-vote, which is about a term that no node has entered.
Source: etcd-io/raft `raft.Step`.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.raft import election
from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendEntries,
    AppendReply,
    Heartbeat,
    Index,
    InstallSnapshot,
    Message,
    RequestVote,
    Term,
    VoteReply,
)
from collectionstore_node.raft.state import RaftState

TERM_JUMP_MAX: Final = 2**24
"""The most by which one message raises the term.

Six days of elections every 30 ms, which is faster than any profile allows: a member that was partitioned away cannot
be further behind. A message beyond it raises the term by this much and has no other effect, so a faulty member cannot
exhaust the term space; and as each further message raises it again, members that did follow such a jump stay
reachable for the rest."""


def admit(state: RaftState, message: Message) -> bool:
    """Reconcile the term of `message` with ours; return whether its handler should run. Terms differ."""
    if message.term < state.term:
        _answer_stale_term(state, message)
        # Never handled: an acknowledgement of an earlier term may refer to an entry that was replaced since, and would
        # count towards a false quorum (databendlabs/openraft cecb5de8).
        return False
    if isinstance(message, RequestVote):
        if state.in_lease() and not message.transfer:
            # BEFORE the term is adopted: adopting it would depose the leader as surely as voting would. A removed or
            # partitioned node times out again and again and must not disrupt the others (thesis 4.2.3;
            # hashicorp/raft#524). A transfer is requested by the leader.
            return False
        if message.pre_vote:
            # No node is in that term yet: adopting it would turn every pre-vote into a real disruption (thesis 9.6).
            return True
    elif isinstance(message, VoteReply) and message.pre_vote and message.granted:
        # Carries the term that this node asked about. A REJECTED pre-vote carries the voter's own higher term and
        # falls through, to be adopted: otherwise a node with a lower term campaigns forever (etcd-io/etcd#8501).
        return True
    if message.term > state.term + TERM_JUMP_MAX:
        election.become_follower(state, Term(state.term + TERM_JUMP_MAX), NO_NODE)
        return False
    # Only these prove that the sender leads the term; a vote request or a reply says that the term exists, no more.
    known_leader = message.sender if isinstance(message, AppendEntries | Heartbeat | InstallSnapshot) else NO_NODE
    election.become_follower(state, message.term, known_leader)
    return True


def _answer_stale_term(state: RaftState, message: Message) -> None:
    """Reply to a leader or candidate of a lower term with ours; ignore every other message (Raft 5.1).

    Without the reply a node stranded at a higher term never recovers: it ignores the leader, and the others, in the
    leader's lease, ignore its campaigns (etcd-io/etcd#8243, etcd-io/etcd#8501).
    """
    if isinstance(message, AppendEntries | Heartbeat | InstallSnapshot):
        # Index 0 acknowledges nothing. The reply exists for its term, which makes the stale leader step down.
        state.send_after_append(AppendReply(state.node_id, message.sender, state.term, Index(0)))
    elif isinstance(message, RequestVote):
        election.reply_vote(state, message, granted=False)
