"""A Byzantine member: forged messages, generated from a seed; each must have the effect of its kind's verdict.

The liar keeps an honest core, so that the cluster makes progress; it also sends what no correct member would, in its
own name, because the transport accepts no other. `FORGERIES` are the lies that must not hurt whatever else happens.
Those that a crash-fault-tolerant store cannot prevent are scenarios in `test_raft_byzantine.py`.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendEntries,
    AppendReply,
    Configuration,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexReply,
    RequestVote,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    VoteReply,
    chain_hash,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.term_gate import TERM_JUMP_MAX
from collectionstore_node.raft.validation import TERM_MAX
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.server import Server

OVERHEARD_MAX: Final = 400
Place: TypeAlias = tuple[Term, NodeId, Index, Index, bytes]
"""Term, vote, commit, last index and the chain there: all that must survive, and decides what happens next."""


class Verdict(enum.Enum):
    """What becomes of a forged message."""

    REJECTED = "MessageRejected, and nothing changed"
    HARMLESS = "no alarm, because a correct member might say it, and term, vote, log and commit stay"
    DISTURBS = "the term may rise, which costs an election; log and commit stay, and the sender is written down"
    LATE = "a true message, once more: it may do what it did the first time"


@dataclass(frozen=True, slots=True)
class Forgery:
    """A kind of lie. `make` returns None where it would not be one."""

    name: str
    verdict: Verdict
    why: str
    """What the rejection says, as a pattern; empty for other verdicts."""
    make: Callable[[Liar, RaftNode], Message | None]


class Liar:
    """A member of `cluster` that sends forged messages under its ID. All randomness comes from `random`."""

    def __init__(self, cluster: Cluster, node_id: NodeId, random: Random) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.random = random
        self.sent: Counter[str] = Counter()
        self.said: list[Message] = []
        """What it has sent in truth, to be repeated."""
        listener = cluster.carried

        def carried(message: Message, data: bytes) -> None:
            listener(message, data)
            self._overhear(message)

        cluster.carried = carried

    def _overhear(self, message: Message) -> None:
        if message.sender == self.node_id:
            self.said.append(message)
            del self.said[:-OVERHEARD_MAX]

    def victims(self) -> list[Server]:
        """Return the possible victims: no server so new that it has no term, nor one whose disk is about to fail."""
        others = [one for one in self.cluster.alive() if one.node_id != self.node_id and not one.paused]
        return [one for one in others if one.core.term and not (one.disk.unreadable or one.disk.rotten)]

    def lie(self) -> bool:
        """Send a forged message to a victim and check the result; return whether there was one to send."""
        victims = self.victims()
        if not victims:
            return False
        return self.send_forged(self.random.choice(FORGERIES), self.random.choice(victims))

    def send_forged(self, forgery: Forgery, victim: Server) -> bool:
        """Tell `forgery` to `victim` and check its verdict; return False when it would be no lie."""
        message = forgery.make(self, victim.core)
        if message is None:
            return False
        before, status = place(victim.core), victim.core.status()
        why = _refusal(victim.core, message)
        if forgery.verdict is Verdict.REJECTED:
            assert why is not None, f"{forgery.name} is accepted: {message}"
            assert re.search(forgery.why, why), f"{forgery.name} is rejected because {why}"
        elif forgery.verdict is not Verdict.LATE:
            assert why is None, f"{forgery.name} is rejected: {why}"
            self._check(forgery, before, place(victim.core))
        if why is not None:
            assert victim.core.status() == status, f"{forgery.name} is rejected, and yet it changed {victim.node_id}"
        victim.observe()
        self.sent[forgery.name] += 1
        return True

    def _check(self, forgery: Forgery, before: Place, after: Place) -> None:
        assert after[2:] == before[2:], f"{forgery.name} changed the log or the commit index: {before} -> {after}"
        if forgery.verdict is Verdict.HARMLESS:
            assert after == before, f"{forgery.name} changed term or vote: {before} -> {after}"

    def draw_term(self, core: RaftNode) -> Term:
        """Return a term ahead of the victim's, near or as far as it can be."""
        return Term(core.term + self.random.choice((1, 1, 2, 1000, TERM_JUMP_MAX, 2 * TERM_JUMP_MAX, 2**50)))


def _refusal(core: RaftNode, message: Message) -> str | None:
    """Step a message and return why it was rejected, or None."""
    try:
        core.step(message)
    except MessageRejected as error:
        return str(error)
    return None


def place(core: RaftNode) -> Place:
    """Return where a core stands. What honest voters told a candidate is committed for it, whenever it says so."""
    log = core._state.log
    return core.term, core.vote, core.known_commit, core.last_index, log.chain(log.last_index)


def foreign_entry(core: RaftNode, after: Index, term: Term) -> Entry:
    """Return an entry of the liar's invention that continues the victim's own log behind `after`."""
    index, data = Index(after + 1), b"invented"
    chain = chain_hash(core._state.log.chain(after), index, term, EntryKind.COMMANDS, data)
    return Entry(index, term, EntryKind.COMMANDS, data, chain)


def _leads_nobody(liar: Liar, core: RaftNode) -> bool:
    """Whether the victim knows who leads its term, and that is not the liar."""
    return core._state.leader_of_term not in (NO_NODE, liar.node_id)


# In the leader's place, in its term


def _append_as_leader(liar: Liar, core: RaftNode) -> Message | None:
    if not _leads_nobody(liar, core):
        return None
    last, last_term = core.last_index, core._state.log.last_term
    entry = foreign_entry(core, last, core.term)
    return AppendEntries(liar.node_id, core.node_id, core.term, last, last_term, (entry,), entry.index)


def _beat_as_leader(liar: Liar, core: RaftNode) -> Message | None:
    if not _leads_nobody(liar, core):
        return None
    return Heartbeat(liar.node_id, core.node_id, core.term, core.last_index)


def _install_as_leader(liar: Liar, core: RaftNode) -> Message | None:
    return _snapshot(liar, core, core.term) if _leads_nobody(liar, core) else None


def _snapshot(liar: Liar, core: RaftNode, term: Term) -> Message:
    configuration = Configuration(voters=(liar.node_id,))
    metadata = SnapshotMetadata(Index(core.last_index + 10), term, b"i" * 32, configuration)
    return InstallSnapshot(liar.node_id, core.node_id, term, metadata)


def _hand_over_as_leader(liar: Liar, core: RaftNode) -> Message | None:
    return TimeoutNow(liar.node_id, core.node_id, core.term) if _leads_nobody(liar, core) else None


def _answer_read_as_leader(liar: Liar, core: RaftNode) -> Message | None:
    if not _leads_nobody(liar, core):
        return None
    return ReadIndexReply(liar.node_id, core.node_id, core.term, core._state.forwarded._next_id - 1, Index(0))


# Numbers


def _term_beyond_all(liar: Liar, core: RaftNode) -> Message:
    term = Term(TERM_MAX + 1 + liar.random.randrange(2**62))
    return HeartbeatReply(liar.node_id, core.node_id, term)


def _term_zero(liar: Liar, core: RaftNode) -> Message:
    return HeartbeatReply(liar.node_id, core.node_id, Term(-liar.random.randrange(2)))


def _commit_beyond_own_log(liar: Liar, core: RaftNode) -> Message:
    """Even if the liar did lead: a leader knows what this node has acknowledged."""
    commit = Index(core.last_index + 1 + liar.random.randrange(2**40))
    return Heartbeat(liar.node_id, core.node_id, liar.draw_term(core), commit)


def _negative_numbers(liar: Liar, core: RaftNode) -> Message:
    to, term, minus = core.node_id, core.term, -1 - liar.random.randrange(2**40)
    return liar.random.choice(
        (
            AppendReply(liar.node_id, to, term, Index(minus)),
            HeartbeatReply(liar.node_id, to, term, minus),
            AppendReply(liar.node_id, to, term, Index(0), rejected=True, hint_index=Index(minus)),
        )
    )


def _garbled_address(liar: Liar, core: RaftNode) -> Message:
    """A message of another member, or one in the victim's own name."""
    sender, to = liar.random.choice(
        ((liar.node_id, NodeId(2**40)), (core.node_id, core.node_id), (NO_NODE, core.node_id))
    )
    return HeartbeatReply(sender, to, core.term)


# Logs


def _contradict_committed(liar: Liar, core: RaftNode) -> Message | None:
    """Another entry where the victim knows one to be committed: as a candidate or as a voter."""
    commit, log = core.commit_index, core._state.log
    if commit < max(1, log.first_index() - 1):
        return None
    other = Term(log.term(commit) + 1)
    term = Term(max(core.term, other) + 1)
    return liar.random.choice(
        (
            RequestVote(
                liar.node_id, core.node_id, term, Index(commit + 9), other, commit_index=commit, commit_term=other
            ),
            VoteReply(liar.node_id, core.node_id, term, granted=False, commit_index=commit, commit_term=other),
        )
    )


def _overwrite_committed(liar: Liar, core: RaftNode) -> Message | None:
    """As the leader of a later term: the same place in the log, another history."""
    commit, log = core.commit_index, core._state.log
    if commit < log.first_index():
        return None
    prev, term = Index(commit - 1), Term(core.term + 1)
    entry = foreign_entry(core, prev, term)
    return AppendEntries(liar.node_id, core.node_id, term, prev, log.term(prev), (entry,), commit)


def _same_entry_other_data(liar: Liar, core: RaftNode) -> Message | None:
    """As the leader of a later term: index and term of an entry that the victim has, with data that it has not."""
    log, last = core._state.log, core.last_index
    if last < log.first_index():
        return None
    prev = Index(last - 1)
    entry = foreign_entry(core, prev, log.last_term)
    return AppendEntries(liar.node_id, core.node_id, Term(core.term + 1), prev, log.term(prev), (entry,), Index(0))


def _broken_chain(liar: Liar, core: RaftNode) -> Message:
    """As the leader of a later term: an entry whose data was changed on the way, or that follows another history."""
    last, term = core.last_index, Term(core.term + 1)
    entry = foreign_entry(core, last, term)
    damaged = Entry(entry.index, entry.term, entry.kind, entry.data + b"!", entry.chain)
    other = Entry(entry.index, entry.term, entry.kind, entry.data, b"o" * 32)
    chosen = liar.random.choice((damaged, other))
    return AppendEntries(liar.node_id, core.node_id, term, last, core._state.log.last_term, (chosen,), entry.index)


def _snapshot_of_another_history(liar: Liar, core: RaftNode) -> Message | None:
    """As the leader of a later term: a snapshot at an entry that the victim has, with another past."""
    log, last = core._state.log, core.last_index
    if last < max(1, log.first_index()):
        return None
    configuration = Configuration(voters=(liar.node_id,))
    metadata = SnapshotMetadata(last, log.last_term, b"o" * 32, configuration)
    return InstallSnapshot(liar.node_id, core.node_id, Term(core.term + 1), metadata)


def _impossible_candidate(liar: Liar, core: RaftNode) -> Message:
    """A log from the candidate's own future, or shorter than what it calls committed."""
    term, last = liar.draw_term(core), Index(core.last_index + 5)
    return liar.random.choice(
        (
            RequestVote(liar.node_id, core.node_id, term, last, term),
            RequestVote(
                liar.node_id, core.node_id, term, last, Term(1), commit_index=Index(last + 1), commit_term=Term(1)
            ),
        )
    )


# To the leader


def _ack_beyond_the_log(liar: Liar, core: RaftNode) -> Message | None:
    if not core.is_leader:
        return None
    index = Index(core.last_index + 1 + liar.random.randrange(2**40))
    return AppendReply(liar.node_id, core.node_id, core.term, index, rejected=liar.random.random() < 0.5)


def _hint_beyond_the_refusal(liar: Liar, core: RaftNode) -> Message:
    hint = Index(2 + liar.random.randrange(2**40))
    return AppendReply(liar.node_id, core.node_id, core.term, Index(1), rejected=True, hint_index=hint)


def _read_never_asked(liar: Liar, core: RaftNode) -> Message | None:
    if not core.is_leader:
        return None
    leadership = core._state.leadership
    sequence = (leadership.reads.sequence if leadership else 0) + 1 + liar.random.randrange(2**40)
    return HeartbeatReply(liar.node_id, core.node_id, core.term, sequence)


def _refuse_everything(liar: Liar, core: RaftNode) -> Message:
    """As if it held nothing: it is sent everything again, and harms itself alone."""
    at = Index(liar.random.randrange(core.last_index + 1))
    hint = Index(liar.random.randrange(at + 1))
    return AppendReply(liar.node_id, core.node_id, core.term, at, rejected=True, hint_index=hint)


def _refuse_vote(liar: Liar, core: RaftNode) -> Message:
    pre_vote = liar.random.random() < 0.5
    return VoteReply(liar.node_id, core.node_id, core.term, granted=False, pre_vote=pre_vote)


# Out of turn


def _answer_read_nobody_asked(liar: Liar, core: RaftNode) -> Message | None:
    """An unused ID, from the leader of a later term that was never elected."""
    return ReadIndexReply(liar.node_id, core.node_id, liar.draw_term(core), -1, Index(1))


def _order_campaign_from_nowhere(liar: Liar, core: RaftNode) -> Message:
    """In a later term, in which the victim has heard no leader: it must not campaign on such an order."""
    return TimeoutNow(liar.node_id, core.node_id, liar.draw_term(core))


def _raise_term(liar: Liar, core: RaftNode) -> Message:
    term, to = liar.draw_term(core), core.node_id
    return liar.random.choice(
        (
            AppendReply(liar.node_id, to, term, Index(0)),
            HeartbeatReply(liar.node_id, to, term),
            VoteReply(liar.node_id, to, term, granted=False),
            VoteReply(liar.node_id, to, term, granted=False, pre_vote=True),
            ReadIndexReply(liar.node_id, to, term, 1, Index(1)),
        )
    )


def _campaign_out_of_turn(liar: Liar, core: RaftNode) -> Message | None:
    """Ask for a vote while all have a leader, as if the leader had ordered it. The log is its own true one."""
    server = liar.cluster.servers.get(liar.node_id)
    if server is None or not server.alive:
        return None
    own = server.core
    term = Term(max(core.term, own.term) + 1 + liar.random.randrange(3))
    last, last_term = own.last_index, own._state.log.last_term
    transfer, pre_vote = liar.random.random() < 0.5, liar.random.random() < 0.3
    return RequestVote(liar.node_id, core.node_id, term, last, last_term, pre_vote=pre_vote, transfer=transfer)


def _repeat(liar: Liar, core: RaftNode) -> Message | None:
    said = [message for message in liar.said if message.to == core.node_id]
    return liar.random.choice(said) if said else None


FORGERIES: Final = (
    Forgery("entries in the leader's place", Verdict.REJECTED, "two leaders", _append_as_leader),
    Forgery("heartbeat in the leader's place", Verdict.REJECTED, "two leaders", _beat_as_leader),
    Forgery("snapshot in the leader's place", Verdict.REJECTED, "two leaders", _install_as_leader),
    Forgery("order to campaign in the leader's place", Verdict.REJECTED, "two leaders", _hand_over_as_leader),
    Forgery("read index in the leader's place", Verdict.REJECTED, "two leaders", _answer_read_as_leader),
    Forgery("term beyond all", Verdict.REJECTED, "out of range", _term_beyond_all),
    Forgery("no term", Verdict.REJECTED, "out of range", _term_zero),
    Forgery("commit beyond the victim's log", Verdict.REJECTED, "beyond the last index", _commit_beyond_own_log),
    Forgery("negative numbers", Verdict.REJECTED, "negative|never issued", _negative_numbers),
    Forgery("sender or receiver garbled", Verdict.REJECTED, "addressed|not the ID of a peer", _garbled_address),
    Forgery("commit of another history", Verdict.REJECTED, "conflicts with", _contradict_committed),
    Forgery("committed entry overwritten", Verdict.REJECTED, "is committed", _overwrite_committed),
    Forgery("same index and term, other data", Verdict.REJECTED, "another chain", _same_entry_other_data),
    Forgery("broken chain", Verdict.REJECTED, "chain breaks", _broken_chain),
    Forgery("snapshot of another history", Verdict.REJECTED, "another chain", _snapshot_of_another_history),
    Forgery(
        "impossible candidate", Verdict.REJECTED, "not below its term|beyond its last log index", _impossible_candidate
    ),
    Forgery("acknowledgement beyond the log", Verdict.REJECTED, "acknowledges entry", _ack_beyond_the_log),
    Forgery("hint beyond the refusal", Verdict.REJECTED, "hint", _hint_beyond_the_refusal),
    Forgery("read round that never was", Verdict.REJECTED, "never issued", _read_never_asked),
    Forgery("refusal of what it holds", Verdict.HARMLESS, "", _refuse_everything),
    Forgery("refused vote", Verdict.HARMLESS, "", _refuse_vote),
    Forgery("read index that was not requested", Verdict.DISTURBS, "", _answer_read_nobody_asked),
    Forgery("order to campaign from nowhere", Verdict.DISTURBS, "", _order_campaign_from_nowhere),
    Forgery("inflated term", Verdict.DISTURBS, "", _raise_term),
    Forgery("campaign out of turn", Verdict.DISTURBS, "", _campaign_out_of_turn),
    Forgery("replay", Verdict.LATE, "", _repeat),
)
