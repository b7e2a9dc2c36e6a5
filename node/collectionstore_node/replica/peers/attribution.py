"""Attributes changes of term and commit index to the message that caused them, one log line each.

A store for crash faults cannot stop a faulty voter from voting twice, or from sending a wrong commit index. But every
effect of it was caused by a message, whose sender is logged here. The lines of two leaders of one term, each with its
voters, show who voted for both.
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
"""Elections that a node may plausibly miss while it is down; with PreVote each of them had a majority (thesis 9.6)."""


class Vitals(NamedTuple):
    """What a message changes without proof."""

    term: Term
    commit: Index
    leads: bool


def vitals(core: RaftNode) -> Vitals:
    """Return what to compare before and after a message."""
    # What a candidate learns is attributed when it learns it, not when its campaign ends with another message.
    return Vitals(core.term, core.known_commit, core.is_leader)


def attribute(sender: NodeId, message: Message, before: Vitals, after: Vitals, jumps: Counter) -> None:
    """Log that a message from `sender` raised the term, or the commit index although it is not from a leader."""
    if after.term > before.term:
        jump = after.term - before.term
        peer, kind, was = show_id(sender), type(message).__name__, before.term
        if jump > TERM_JUMP_USUAL:
            jumps.inc()
            log.warning("term.jumped", sender=peer, message=kind, term=after.term, was=was, deposed=before.leads)
        else:
            log.info("term.adopted", sender=peer, message=kind, term=after.term, was=was, deposed=before.leads)
    if after.commit > before.commit and isinstance(message, RequestVote | VoteReply):
        log.info("commit.learnt", sender=show_id(sender), index=after.commit, was=before.commit)
