"""The values that Raft stores and sends: entries, hard state, configurations and the RPCs.

Field names follow Figure 2 of the Raft paper. Every struct is frozen and encodes to a msgpack array, the same on the
wire and on disk. No sockets, files or time in here.

Invariants:
- indexes start at 1, terms at 1; 0 means "none"; ranges are half-open `[lo, hi)`;
- `Entry.chain` covers every entry up to and including this one, so equal chains at an index mean equal logs;
- a `NodeId` is an incarnation: generated once per data directory, never reused after removal.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Sequence
from typing import Annotated, Final, NewType, TypeAlias

import msgspec

NodeId = NewType("NodeId", int)
Term = NewType("Term", int)
Index = NewType("Index", int)

NO_NODE: Final = NodeId(0)
CHAIN_BYTES: Final = 32
MESSAGE_ENTRIES_MAX: Final = 1_024
"""Entries in one message. `message_bytes_max` counts entry data only; this bounds the overhead of many small ones."""
GENESIS_CHAIN: Final = bytes(CHAIN_BYTES)

_CHAIN_HEAD = struct.Struct(">QQB")


class EntryKind(enum.IntEnum):
    """How the driver handles an entry."""

    COMMANDS = 0
    """Opaque bytes for the state machine."""
    CHANGE = 1
    """An encoded `ConfigChange`; becomes active when applied."""
    NOOP = 2
    """The first entry of a leader's term, and the barrier after a membership change."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One log entry. `chain` is SHA-256 over the previous entry's chain and this entry's fields."""

    index: Index
    term: Term
    kind: EntryKind
    data: bytes
    chain: Annotated[bytes, msgspec.Meta(min_length=CHAIN_BYTES, max_length=CHAIN_BYTES)]


def chain_hash(previous: bytes, index: Index, term: Term, kind: EntryKind, data: bytes) -> bytes:
    """Return the chain value (32 bytes) of an entry whose predecessor has chain `previous`."""
    digest = hashlib.sha256(previous)
    digest.update(_CHAIN_HEAD.pack(index, term, kind))
    digest.update(data)
    return digest.digest()


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State that must be durable BEFORE any message that depends on it is sent (Figure 2, persistent state).

    `commit` only speeds up restarts; losing its latest value is harmless.
    """

    term: Term = Term(0)
    vote: NodeId = NO_NODE
    commit: Index = Index(0)


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Voters and learners. Joint while `outgoing` is not empty (thesis 4.3); all tuples are sorted.

    `learners_next` are voters of `outgoing` that become learners when the joint configuration is left.
    """

    voters: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Whether both `voters` and `outgoing` must agree on every decision."""
        return bool(self.outgoing)

    def members(self) -> frozenset[NodeId]:
        """Return every node that receives the log."""
        return frozenset(self.voters) | frozenset(self.outgoing) | frozenset(self.learners)


class ChangeKind(enum.IntEnum):
    """What a single step of a `ConfigChange` does to a node."""

    ADD_VOTER = 0
    """Add as voter, or promote a learner."""
    ADD_LEARNER = 1
    """Add as learner, or demote a voter."""
    REMOVE = 2


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One step of a `ConfigChange`."""

    kind: ChangeKind
    node_id: NodeId


class ConfigChange(msgspec.Struct, frozen=True, array_like=True):
    """An atomic change of membership.

    Any change of voters goes through a joint configuration that the leader leaves automatically. Empty `changes` mean
    "leave the joint configuration". `context` is opaque to Raft: names, addresses and fencing for the state machine.
    """

    changes: tuple[Change, ...] = ()
    context: bytes = b""


class SnapshotMetadata(msgspec.Struct, frozen=True, array_like=True):
    """Position of a snapshot: the last entry that it covers, and the configuration applied there."""

    index: Index = Index(0)
    term: Term = Term(0)
    chain: bytes = GENESIS_CHAIN
    configuration: Configuration = Configuration()


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """RequestVote, and PreVote when `pre_vote` (thesis 9.6): `term` is then the term it would campaign in.

    `transfer` marks a campaign requested by the leader (thesis 3.10), which bypasses the voters' leader lease.
    (`commit_index`, `commit_term`) is the last entry the sender knows to be committed, as in `VoteReply`.
    """

    sender: NodeId
    to: NodeId
    term: Term
    last_log_index: Index
    last_log_term: Term
    pre_vote: bool = False
    transfer: bool = False
    commit_index: Index = Index(0)
    commit_term: Term = Term(0)


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Reply to `RequestVote`. A granted pre-vote carries the requested term, a rejected one the voter's own.

    (`commit_index`, `commit_term`) is the last entry that the sender knows to be committed. It shows a candidate that a
    membership change is complete, without which it may be unable to win (tikv/raft-rs does the same).
    """

    sender: NodeId
    to: NodeId
    term: Term
    granted: bool
    pre_vote: bool = False
    commit_index: Index = Index(0)
    commit_term: Term = Term(0)


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Replicate `entries`, which directly follow (`prev_log_index`, `prev_log_term`).

    `silent`: without entries, to a follower all of whose acknowledgements have arrived. It tells the commit index, and
    accepted it is not answered. Members of older versions do not know the field, and answer.
    """

    sender: NodeId
    to: NodeId
    term: Term
    prev_log_index: Index
    prev_log_term: Term
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=MESSAGE_ENTRIES_MAX)]
    leader_commit: Index
    silent: bool = False


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Reply to `AppendEntries` and to a completed `InstallSnapshot`.

    Accepted: `index` is the highest index known to match, durable on the sender. Rejected: `index` is the rejected
    `prev_log_index`, and (`hint_index`, `hint_term`) the last entry that can match (etcd's fast backtracking).
    """

    sender: NodeId
    to: NodeId
    term: Term
    index: Index
    rejected: bool = False
    hint_index: Index = Index(0)
    hint_term: Term = Term(0)


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Leader's heartbeat. `leader_commit` never exceeds the index at which `to` is known to match.

    `read_sequence` is an internal counter, never a caller's ID: with a reused ID an old reply confirms a new read
    (etcd-io/raft#397).
    """

    sender: NodeId
    to: NodeId
    term: Term
    leader_commit: Index
    read_sequence: int = 0


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Reply to `Heartbeat`, with the same `read_sequence`."""

    sender: NodeId
    to: NodeId
    term: Term
    read_sequence: int = 0


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The follower needs entries that the leader has compacted away.

    The content is transferred outside of the protocol: the driver steps this message at the follower once the file is
    received and verified.
    """

    sender: NodeId
    to: NodeId
    term: Term
    metadata: SnapshotMetadata


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The leader requests that `to` starts an election immediately (thesis 3.10)."""

    sender: NodeId
    to: NodeId
    term: Term


class ReadIndexRequest(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A follower asks the leader for a read index (thesis 6.4)."""

    sender: NodeId
    to: NodeId
    term: Term
    request_id: int


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The leader's reply: a state machine that has applied `index` may serve the read."""

    sender: NodeId
    to: NodeId
    term: Term
    request_id: int
    index: Index


Message: TypeAlias = (
    RequestVote
    | VoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | TimeoutNow
    | ReadIndexRequest
    | ReadIndexReply
)

_encoder = msgspec.msgpack.Encoder()
_messages_decoder = msgspec.msgpack.Decoder(tuple[Message, ...])
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_hard_state_decoder = msgspec.msgpack.Decoder(HardState)
_change_decoder = msgspec.msgpack.Decoder(ConfigChange)
_metadata_decoder = msgspec.msgpack.Decoder(SnapshotMetadata)


def encode(value: Entry | HardState | ConfigChange | SnapshotMetadata | Sequence[Message]) -> bytes:
    """Return the msgpack form of any value of this module."""
    return _encoder.encode(value)


def decode_messages(data: bytes | memoryview) -> tuple[Message, ...]:
    """Decode what `encode` made of messages. Raises `msgspec.DecodeError` on anything else."""
    try:
        return _messages_decoder.decode(data)
    except RecursionError as error:
        # msgspec raises RecursionError, not DecodeError, for deeply nested arrays, even in a field that it skips.
        raise msgspec.DecodeError(str(error)) from error


def decode_entry(data: bytes) -> Entry:
    """Decode one entry. Raises `msgspec.DecodeError` on anything else."""
    return _entry_decoder.decode(data)


def decode_hard_state(data: bytes) -> HardState:
    """Decode a hard state. Raises `msgspec.DecodeError` on anything else."""
    return _hard_state_decoder.decode(data)


def decode_change(data: bytes) -> ConfigChange:
    """Decode a membership change. Raises `msgspec.DecodeError` on anything else."""
    return _change_decoder.decode(data)


def decode_metadata(data: bytes) -> SnapshotMetadata:
    """Decode snapshot metadata. Raises `msgspec.DecodeError` on anything else."""
    return _metadata_decoder.decode(data)
