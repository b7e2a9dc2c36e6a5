"""Random and mutated input for the peer port: greetings, messages, requests, snapshots, and bytes that are none.

A member could always do harm with a correct message (a leader of a higher term may replace entries, and a committed
entry is applied), so the messages carry no entries but no-ops; everything else is sent by everybody.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from collectionstore_node.indexes.definition import Definition, IndexField
from collectionstore_node.raft.messages import (
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
    ReadIndexRequest,
    RequestVote,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    VoteReply,
    encode,
)
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.peers import calls
from collectionstore_node.statemachine.access_commands import (
    Asked,
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)
from collectionstore_node.statemachine.commands import (
    AckConsumer,
    BuildIndex,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CountUsage,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DocumentRef,
    DropCollection,
    DropIndex,
    Get,
    Idempotency,
    Image,
    KeyRef,
    Precondition,
    Put,
    PutConsumer,
    Transaction,
    Update,
    UpdateForm,
    encode_command,
)
from collectionstore_node.transport.requests.client import Reply, ReplyStatus, Request
from collectionstore_node.transport.snapshots.snapshot_frames import (
    Ack,
    Begin,
    Refusal,
    SnapshotRefusal,
    encode_ack,
    encode_begin,
    encode_chunk,
    encode_done,
    encode_refusal,
)
from collectionstore_node.transport.wire.frames import FrameKind, encode_frame
from collectionstore_node.transport.wire.handshake import Hello, Purpose, encode_handshake

NUMBERS: Final = (0, 1, 2, 3, 7, 2**31, 2**32, 2**53, 2**62, 2**63 - 1)
TEXTS: Final = (
    "", "a", "books", "a/b", "..", "\0", "\r\nX: y", "x" * 70, "x" * 300, "x" * 5_000, "text/plain", "\u2028", "demo-1"
)  # fmt: skip
BYTES: Final = (b"", b"{}", b'{"a":1}', b"[]", b"{}{}", b"\xff" * 20, b"x" * 2_000, b'{"_a":1}', b"[" * 3_000)
NESTED: Final = b"\x91" * 5_000 + b"\x90"

_encode = msgspec.msgpack.Encoder().encode


class Inputs:
    """Draws input from a seed. `own` is the node that is attacked."""

    def __init__(self, random: Random, own: NodeId) -> None:
        self._random = random
        self._own = own

    def hello(self, node_id: NodeId, name: str) -> bytes:
        """Return a first frame; most are correct, or nothing else would ever be reached."""
        pick, random = self._random.choice, self._random
        hello = Hello(
            protocol_min=1,
            protocol_max=1,
            cluster_id="demo",
            node_id=node_id,
            name=name,
            address=f"{name}:7401",
            expects=pick((NodeId(0), self._own)),
            purpose=Purpose.SNAPSHOT if random.random() < 0.15 else Purpose.MESSAGES,
            process=pick((0, 1, 5, 2**62)),
            stream=pick((0, 1, 1, 2, -1)),
        )
        if random.random() < 0.2:
            field = pick(Hello.__struct_fields__)
            wrong: dict[str, Any] = {field: pick(NUMBERS) if isinstance(getattr(hello, field), int) else pick(TEXTS)}
            if field != "purpose":
                hello = msgspec.structs.replace(hello, **wrong)
        frame = encode_frame(FrameKind.HELLO, encode_handshake(hello))
        return self.mangled(frame) if random.random() < 0.15 else frame

    def frame(self, sender: NodeId) -> bytes:
        """Return any further frame."""
        draw = self._random.random()
        if draw < 0.35:
            frame = encode_frame(FrameKind.MESSAGES, encode([self._message(sender) for _ in range(self._few())]))
        elif draw < 0.7:
            frame = encode_frame(FrameKind.REQUESTS, _encode([self._request() for _ in range(self._few())]))
        elif draw < 0.8:
            frame = self._snapshot()
        elif draw < 0.85:
            replies = [Reply(self._number(), self._random.choice(tuple(ReplyStatus)), self._bytes())]
            frame = encode_frame(FrameKind.REPLIES, _encode(replies))
        elif draw < 0.95:
            frame = encode_frame(self._random.choice(tuple(FrameKind)), self._payload())
        else:
            return self._random.randbytes(self._random.randrange(60))
        return self.mangled(frame) if self._random.random() < 0.35 else frame

    def mangled(self, frame: bytes) -> bytes:
        """Return a frame with some bytes of its payload changed, and a correct checksum, or none."""
        random = self._random
        head, payload = frame[:14], frame[14:]
        for _ in range(random.randrange(1, 4)):
            at = random.randrange(len(payload) + 1)
            payload = random.choice(
                (
                    payload[:at],
                    payload[:at] + bytes((random.randrange(256),)) + payload[at + 1 :],
                    payload[:at] + payload[max(0, at - 3) :],
                    payload[:at] + b"\xcf" + b"\xff" * 8 + payload[at + 1 :],
                    payload[:at] + b"\xd3\x80" + bytes(7) + payload[at + 1 :],
                    payload[:at] + b"\xcb\x7f\xf8" + bytes(6) + payload[at + 1 :],
                    payload[:at] + b"\xdd" + random.randbytes(4) + payload[at + 1 :],
                    payload[:at] + NESTED + payload[at + 1 :],
                )
            )
        if random.random() < 0.1:
            return head + payload
        kind = head[3] if 1 <= head[3] <= max(FrameKind) else 1
        return encode_frame(FrameKind(kind), payload)

    def _few(self) -> int:
        return self._random.choice((0, 1, 1, 2, 5))

    def _number(self) -> int:
        return self._random.choice(NUMBERS)

    def _text(self) -> str:
        return self._random.choice(TEXTS)

    def _bytes(self) -> bytes:
        return self._random.choice(BYTES)

    def _payload(self) -> bytes:
        random = self._random
        return random.choice(
            (b"", NESTED, random.randbytes(40), b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff" + b"\xc0" * 50)
        )

    def _message(self, sender: NodeId) -> Message:
        random, pick = self._random, self._random.choice
        to = self._own if random.random() < 0.9 else NodeId(self._number())
        if random.random() < 0.1:
            sender = NodeId(self._number())
        term, index = Term(self._number()), Index(self._number())
        switch = random.random() < 0.5
        entry = Entry(Index(index + 1), Term(pick(NUMBERS)), EntryKind.NOOP, b"", random.randbytes(32))
        configuration = Configuration(voters=(self._own, sender))
        return pick(
            (
                RequestVote(sender, to, term, index, Term(self._number()), switch, not switch, index, term),
                VoteReply(sender, to, term, switch, pre_vote=not switch, commit_index=index, commit_term=term),
                AppendEntries(
                    sender, to, term, index, Term(self._number()), pick(((), (entry,))), Index(self._number())
                ),
                AppendReply(sender, to, term, index, switch, Index(self._number()), Term(self._number())),
                Heartbeat(sender, to, term, index, self._number()),
                HeartbeatReply(sender, to, term, self._number()),
                InstallSnapshot(sender, to, term, SnapshotMetadata(index, term, bytes(pick((32, 5))), configuration)),
                TimeoutNow(sender, to, term),
                ReadIndexRequest(sender, to, term, self._number()),
                ReadIndexReply(sender, to, term, self._number(), index),
            )
        )

    def _request(self) -> Request:
        timeout_ms = self._random.choice((0, 1, 5, 2**31, 2**63 - 1, -1, -(2**63)))
        return Request(self._number(), timeout_ms, self._call())

    def _call(self) -> bytes:
        random = self._random
        timeout_s = random.choice((0.0, 0.005, -1.0, 1e300, float("inf"), float("nan")))
        change = MemberChange(
            random.choice(("add", "promote", "demote", "remove")), NodeId(self._number()), self._text(), self._text()
        )
        commands = tuple(msgspec.Raw(self._command()) for _ in range(self._few()))
        contexts = tuple((self._number(), random.randbytes(random.choice((24, 24, 3)))) for _ in range(self._few()))
        return random.choice(
            (
                calls.encode_call(calls.Propose(commands, timeout_s, contexts)),
                calls.encode_call(calls.Propose(commands, timeout_s)),
                calls.encode_call(calls.Propose(commands, timeout_s)),
                calls.encode_call(calls.ChangeMembers(MembersRequest((change,), epoch=self._number()), timeout_s)),
                calls.encode_call(calls.Transfer(NodeId(self._number()), timeout_s, self._number())),
                calls.encode_call(calls.GetDigests()),
                calls.encode_call(calls.VerifyState()),
                _encode([random.randrange(9), self._text(), self._number()]),
                self._payload(),
            )
        )

    def _command(self) -> bytes:
        key = Idempotency(self._text(), random_bytes(self._random)) if self._random.random() < 0.2 else None
        if self._random.random() < 0.1:
            return b"\x90" if self._random.random() < 0.5 else _encode([[self._number(), self._text()], None])
        return encode_command(Command(self._action(), key, self._random.choice((None, None, 0, 2**62, -1))))

    def _ref(self) -> DocumentRef | KeyRef:
        if self._random.random() < 0.5:
            return DocumentRef(self._text(), self._text())
        return KeyRef(self._text(), self._text())

    def _step(self) -> Put | Delete | Get | Update:
        condition = Precondition(self._random.choice((None, True, False)), self._random.choice((None, (1,), (0, -5))))
        put = Put(self._ref(), self._bytes(), condition, self._text())
        return self._random.choice(
            (put, put, Delete(self._ref(), condition), Get(self._ref()), self._update(condition))
        )

    def _update(self, condition: Precondition) -> Update:
        choose = self._random.choice
        return Update(
            DocumentRef(self._text(), self._text()),
            choose(tuple(UpdateForm)),
            choose(
                (b"", b"{}", b'{"$inc":{"n":1}}', b'[{"op":"add","path":"/a","value":1}]', b"[" * 900, self._bytes())
            ),
            choose((b"", b"", b'[{"x":1}]', self._bytes())),
            choose((b"", b"{}", b'{"a":{"$regex":"("}}', b'{"a":' * 90, self._bytes())),
            condition,
            upsert=choose((True, False)),
            image=choose(tuple(Image)),
            unchanged_since=choose((0, -1, self._number())),
            time_ms=choose((0, -1, self._number())),
            bytes_max=choose((0, -1, self._number())),
        )

    def _action(self) -> Any:
        random = self._random
        if random.random() < 0.6:
            step = self._step()
            return step if not isinstance(step, Get) else CreateCollection(self._text())
        steps = tuple(self._step() for _ in range(random.choice((0, 1, 3, 130))))
        guard = Compare(
            self._ref(),
            random.choice(tuple(CompareField)),
            random.choice(tuple(CompareOperator)),
            random.choice((b"", 0, -1, 2**62)),
        )
        definition = Definition(
            random.choice(("one", self._text())),
            tuple(IndexField(random.choice(("a", "a.b", self._text()))) for _ in range(random.choice((0, 1, 3, 9)))),
            unique=random.random() < 0.5,
            filter=random.choice((b"", b'{"a":{"$gt":1}}', b"[" * 3_000, self._bytes())),
        )
        return random.choice(
            (
                Transaction((guard,), steps, ()),
                Transaction((), (), steps),
                DropCollection(self._text()),
                CreateIndex(self._text(), definition),
                DropIndex(self._text(), self._text()),
                BuildIndex(self._text(), random.choice((0, 1, 2**62)), random.choice((None, self._text()))),
                CountUsage(self._text(), random.choice((0, 1, 2**62)), random.choice(("", self._text()))),
                PutConsumer(
                    random.choice(("one", self._text())),
                    random.choice(("collection", "bucket", "store", self._text())),
                    random.choice(("", "c", self._text())),
                    random.choice((b"{}", b"x" * 20_000, self._bytes())),
                    random.choice((None, 0, 2**62, -1)),
                    random.choice((0, 2**32)),
                ),
                AckConsumer(random.choice(("one", self._text())), random.choice((0, 1, 2**62)), random.choice((0, 1))),
                DeleteConsumer(random.choice(("one", self._text()))),
                self._access(),
            )
        )

    def _access(self) -> Any:
        random = self._random
        name, number = random.choice(("one", self._text())), random.choice((None, 0, 1, -1, 2**62))
        body = random.choice((b"{}", b'{"roles":["admin"]}', b'{"mode":"Enforced"}', b"[" * 3_000, self._bytes()))
        asked = Asked(self._text(), (self._text(),), random.random() < 0.5, random.choice((0, 2**62, -1)))
        return random.choice(
            (
                PutUser(name, body, number, asked),
                DeleteUser(name, number, asked),
                PutRole(name, body, number, random.random() < 0.5, asked),
                DeleteRole(name, number, asked),
                CreateToken(self._text(), name, self._bytes(), random.choice((0, 2**62)), 0, self._text()),
                RotateToken(self._text(), self._bytes(), random.choice((0, 2**62)), number, asked),
                RevokeToken(self._text(), asked),
                UseTokens(((self._text(), random.choice((0, -1, 2**62))),)),
                ConfigureAccess(body, number, asked),
                SetPassword(name, self._text(), number, asked),
            )
        )

    def _snapshot(self) -> bytes:
        random = self._random
        size = random.choice((0, 1, 100, 2**40, 2**63 - 1))
        return random.choice(
            (
                encode_begin(Begin(random.choice((b"t", random.randbytes(16))), self._bytes(), size, bytes(32))),
                encode_chunk(random.choice((0, 1, 2**63 - 1)), random.choice((b"x", bytes(1000)))),
                encode_ack(Ack(self._number(), self._number())),
                encode_done(),
                encode_refusal(Refusal(random.choice(tuple(SnapshotRefusal)), self._text())),
            )
        )


def random_bytes(random: Random) -> bytes:
    """Return a fingerprint; most have the right length."""
    return bytes(random.choice((32, 32, 0, 1_000)))
