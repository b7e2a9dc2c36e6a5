"""Garbage on the wire: whatever the bytes are, they are refused in one of the known ways, or are messages to be judged.

On the way in a frame is decoded, its payload becomes messages, and the core takes or rejects each. Nothing else than
`FrameRejected`, `DecodeError` and `MessageRejected` may come of any of it.
"""

from __future__ import annotations

import enum
from random import Random
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    VoteReply,
    decode_messages,
    encode,
)
from collectionstore_node.replica.peers.calls import decode_call, decode_checkpoints, decode_results
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters
from collectionstore_node.transport.snapshots.snapshot_frames import decode_answer, decode_begin, decode_chunk
from collectionstore_node.transport.wire.close_codes import Refused
from collectionstore_node.transport.wire.frames import (
    PAYLOAD_BYTES_MAX,
    FrameKind,
    FrameRejected,
    Rejection,
    decode_frame,
    encode_frame,
)
from collectionstore_node.transport.wire.handshake import decode_hello, decode_welcome

ONE, TWO = NodeId(1), NodeId(2)
LOG = make_entries([1, 1, 2, 2])
NESTED = b"\x91" * 5000 + b"\x90"
"""Arrays in arrays: more of them than msgspec follows."""

MESSAGES: tuple[Message, ...] = (
    RequestVote(TWO, ONE, Term(4), Index(4), Term(2)),
    VoteReply(TWO, ONE, Term(3), granted=False, commit_index=Index(2), commit_term=Term(1)),
    AppendEntries(TWO, ONE, Term(3), Index(4), Term(2), make_entries([3, 3], after=LOG[-1]), Index(4)),
    AppendReply(TWO, ONE, Term(3), Index(4), rejected=True, hint_index=Index(3), hint_term=Term(2)),
    Heartbeat(TWO, ONE, Term(3), Index(3), 1),
    HeartbeatReply(TWO, ONE, Term(3), 1),
    InstallSnapshot(TWO, ONE, Term(3), SnapshotMetadata(Index(9), Term(3), b"c" * 32, voters(1, 2, 3))),
    TimeoutNow(TWO, ONE, Term(3)),
    ReadIndexRequest(TWO, ONE, Term(3), 7),
    ReadIndexReply(TWO, ONE, Term(3), 7, Index(4)),
)


class End(enum.Enum):
    """The result of decoding some bytes."""

    NO_FRAME = 1
    NO_MESSAGES = 2
    REJECTED = 3
    TAKEN = 4


def receive(solo: Solo, data: bytes) -> list[End]:
    """Take bytes from the wire as a node does; anything but the known refusals gets out of here."""
    try:
        frame = decode_frame(data)
    except FrameRejected:
        return [End.NO_FRAME]
    try:
        messages = decode_messages(frame.payload)
    except msgspec.DecodeError:
        return [End.NO_MESSAGES]
    ends = []
    for message in messages:
        before = solo.node.status()
        try:
            solo.node.step(message)
        except MessageRejected:
            assert solo.node.status() == before
            ends.append(End.REJECTED)
        else:
            ends.append(End.TAKEN)
    return ends


def member() -> Solo:
    """A follower in term 3 with four entries, two of them committed."""
    return Solo(log=LOG, term=3, commit=2)


def framed(payload: bytes) -> bytes:
    return encode_frame(FrameKind.MESSAGES, payload)


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_any_bytes_are_no_frame(data: bytes) -> None:
    """Without magic, length and checksum nothing gets as far as a decoder."""
    assert receive(member(), data) == [End.NO_FRAME]


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_any_payload_is_refused_or_judged(payload: bytes) -> None:
    """Even one whose frame is right."""
    solo = member()
    before = solo.node.status()
    if set(receive(solo, framed(payload))) <= {End.NO_MESSAGES, End.REJECTED}:
        assert solo.node.status() == before


def mangled(data: bytes, random: Random) -> bytes:
    """Return bytes that were messages once: cut, flipped, repeated, spliced, with numbers blown up."""
    kind = random.randrange(6)
    at = random.randrange(len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
    if kind == 2:
        return data[:at] + data[at - 1 :]
    if kind == 3:
        return data[:at] + b"\xcf" + b"\xff" * 8 + data[at + 1 :]
    if kind == 4:
        return data[:at] + b"\xd3\x80" + bytes(7) + data[at + 1 :]
    return data[:at] + NESTED + data[at + 1 :]


@pytest.mark.parametrize("seed", range(20))
def test_mangled_messages_end_in_a_known_way(seed: int) -> None:
    """Two thousand of them per seed; the core survives all, and never loses what it has committed."""
    random = Random(seed)
    counts = dict.fromkeys(End, 0)
    for _ in range(100):
        solo = member()
        committed = solo.log.entries(Index(1), Index(3), 1000)
        for _ in range(20):
            data = mangled(encode((random.choice(MESSAGES),)), random)
            if random.random() < 0.3:
                data = mangled(data or b"\x90", random)
            for end in receive(solo, framed(data)):
                counts[end] += 1
            solo.take()
            if solo.log.first_index() == 1:
                assert solo.log.entries(Index(1), Index(3), 1000) == committed
    assert min(counts[End.NO_MESSAGES], counts[End.REJECTED], counts[End.TAKEN]) > 0


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_endless_nesting_is_unreadable(message: Message) -> None:
    """Even in a field that would be skipped, where msgspec raises RecursionError."""
    (fields,) = msgspec.msgpack.decode(encode((message,)), type=list[list[msgspec.Raw]])
    data = msgspec.msgpack.encode([[*fields, msgspec.Raw(NESTED)]])
    assert receive(member(), framed(data)) == [End.NO_MESSAGES]


@pytest.mark.parametrize(
    "payload",
    [NESTED, b"\x96\xa1\xff\xa1\xff\x01\x01\x01\xa1\xff", b"", b"\xc1"],
    ids=["nested", "no UTF-8", "empty", "never"],
)
def test_other_payloads_are_refused_too(payload: bytes) -> None:
    """Greetings, snapshots, and what members ask of each other."""
    for decode in (decode_hello, decode_welcome):
        with pytest.raises(Refused):
            decode(payload)
    for kind, decode_snapshot in (
        (FrameKind.SNAPSHOT_BEGIN, decode_begin),
        (FrameKind.SNAPSHOT_CHUNK, decode_chunk),
        (FrameKind.SNAPSHOT_ACK, decode_answer),
        (FrameKind.SNAPSHOT_REFUSED, decode_answer),
    ):
        if kind is not FrameKind.SNAPSHOT_CHUNK or len(payload) < 40:
            with pytest.raises(Refused):
                decode_snapshot(decode_frame(encode_frame(kind, payload)))
    for decode_own in (decode_call, decode_results, decode_checkpoints):
        with pytest.raises(msgspec.DecodeError):
            decode_own(payload)


def test_oversized_frame_is_refused_by_its_header_alone() -> None:
    """The length is believed before anything is allocated for it, so it must be looked at first."""
    head = bytearray(encode_frame(FrameKind.MESSAGES, b"")[:14])
    head[6:10] = (PAYLOAD_BYTES_MAX + 1).to_bytes(4, "big")
    head[10:14] = crc32(bytes(head[:10])).to_bytes(4, "big")
    with pytest.raises(FrameRejected) as caught:
        decode_frame(bytes(head))
    assert caught.value.reason is Rejection.OVERSIZED


def test_count_of_a_list_that_is_not_there_allocates_nothing() -> None:
    """Four billion messages said, none there."""
    assert receive(member(), framed(b"\xdd\xff\xff\xff\xff")) == [End.NO_MESSAGES]
