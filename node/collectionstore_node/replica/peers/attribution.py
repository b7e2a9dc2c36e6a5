"""Who made this node do what: the facts that let a person name a member that lies, one log line each.

Nobody can stop a voter from voting twice, or from calling committed what is not; a store for crash faults does not
promise to. But whatever comes of it was caused by somebody's message, and that is written down here. The lines of two
leaders of one term, each with its voters, show who voted for both.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import structlog

from collectionstore_node.raft.messages import Index, Message, NodeId, RequestVote, Term, VoteReply
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.replica.node_ids import show_id
from collectionstore_telemetry.metrics import Counter

log = structlog.get_logger()

TERM_JUMP_USUAL: Final = 64
"""Elections that a node may well miss while it is away; with pre-vote every one of them had a majority's consent."""


class Vitals(NamedTuple):
    """What a message may change by its mere word."""

    term: Term
    commit: Index
    leads: bool


def vitals(core: RaftNode) -> Vitals:
    """Return what is to be compared after a message."""
    return Vitals(core.term, core.commit_index, core.is_leader)


def attribute(sender: NodeId, message: Message, before: Vitals, after: Vitals, jumps: Counter) -> None:
    """Write down that a message from `sender` raised the term, or the commit index though it was no leader's."""
    if after.term > before.term:
        jump = after.term - before.term
        told, kind, was = show_id(sender), type(message).__name__, before.term
        if jump > TERM_JUMP_USUAL:
            jumps.inc()
            log.warning("term.jumped", sender=told, message=kind, term=after.term, was=was, deposed=before.leads)
        else:
            log.info("term.adopted", sender=told, message=kind, term=after.term, was=was, deposed=before.leads)
    if after.commit > before.commit and isinstance(message, RequestVote | VoteReply):
        log.info("commit.learnt", sender=show_id(sender), index=after.commit, was=before.commit)
