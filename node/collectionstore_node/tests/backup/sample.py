"""A state of the real state machine, and members that serve it over HTTP, with faults on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.messages import (
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    Index,
    NodeId,
    SnapshotMetadata,
    Term,
    chain_hash,
    encode,
)
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Command, CreateCollection, DocumentRef, Put, encode_batch
from collectionstore_node.statemachine.digest import update_digest
from collectionstore_node.statemachine.header import Header, read_header
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.statemachine.members import (
    MemberInfo,
    MembershipContext,
    MembershipRecord,
    apply_membership,
    encode_context,
    write_membership,
)
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage.snapshot_file import encode_snapshot
from collectionstore_node.tests.statemachine.memory_view import MemoryView

OLD_NODES: Final = (NodeId(0xA1), NodeId(0xB2))
CONFIGURATION: Final = Configuration(voters=OLD_NODES)


@dataclass
class SampleState:
    """A state with its position in the history."""

    view: MemoryView
    metadata: SnapshotMetadata

    @property
    def header(self) -> Header:
        return read_header(self.view)

    @property
    def records(self) -> list[tuple[bytes, bytes]]:
        return list(self.view.scan(b"\x00", b"\xff" * 8))

    def stream(self, chunk_bytes: int = 32 << 10) -> bytes:
        """Return the state as a snapshot."""
        return b"".join(encode_snapshot(self.metadata, self.records, chunk_bytes, self.header.level))


PAGE: Final = 7
"""Entries in one answer."""


def extend(state: SampleState, entries: int, *, commands: int = 3) -> tuple[list[Entry], list[SampleState]]:
    """Return entries that continue the history of `state`, and the state after each; the middle one adds a learner."""
    view = MemoryView()
    for key, value in state.records:
        view._set(key, value)
    metadata, log, states = state.metadata, [], []
    for number in range(entries):
        index, overlay = Index(metadata.index + 1), Overlay(view)
        configuration = metadata.configuration
        if number == entries // 2:
            kind, data = EntryKind.CHANGE, encode(_learner())
        else:
            puts = [
                Command(Put(DocumentRef("books", f"d{(number * 31 + one) % 500:06}"), b'{"after": %d}' % number))
                for one in range(commands)
            ]
            kind, data = EntryKind.COMMANDS, encode_batch(1_700_000_001_000 + number, puts, HIGHEST)
        chain = chain_hash(metadata.chain, index, metadata.term, kind, data)
        if kind is EntryKind.COMMANDS:
            apply_batch(overlay, data, chain)
        else:
            configuration = next_configuration(configuration, _learner())
            apply_membership(overlay, index, _learner().context, configuration)
            update_digest(overlay, read_header(overlay), chain, configuration)
        view.commit(overlay.writes)
        metadata = SnapshotMetadata(index, metadata.term, chain, configuration)
        log.append(Entry(index, metadata.term, kind, data, chain))
        after = MemoryView()
        for key, value in view.scan(b"\x00", b"\xff" * 8):
            after._set(key, value)
        states.append(SampleState(after, metadata))
    return log, states


def _learner() -> ConfigChange:
    context = encode_context(MembershipContext(4, (MemberInfo(0xC3, "old-2", "old-2:7401", "http://old-2"),)))
    return ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(0xC3)),), context)


def make_state(documents: int, size: int = 200) -> SampleState:
    """Return a state with one collection of documents, which compress like ordinary ones."""
    view = MemoryView()
    commands = [Command(CreateCollection("books"))]
    for number in range(documents):
        document = json.dumps({"n": number, "text": f"{number * 7919 % 104729:x}" * (size // 4)}).encode()
        commands.append(Command(Put(DocumentRef("books", f"d{number:06}"), document)))
    for at in range(0, len(commands), 100):
        overlay = Overlay(view)
        apply_batch(overlay, encode_batch(1_700_000_000_000, commands[at : at + 100], HIGHEST), bytes([at % 251]) * 32)
        view.commit(overlay.writes)
    overlay = Overlay(view)
    members = tuple(
        MemberInfo(node, f"old-{n}", f"old-{n}:7401", f"http://old-{n}") for n, node in enumerate(OLD_NODES)
    )
    write_membership(overlay, MembershipRecord(7, 3, members, (0x77,), OLD_NODES))
    view.commit(overlay.writes)
    return SampleState(view, SnapshotMetadata(Index(500), Term(4), b"\x05" * 32, CONFIGURATION))


@dataclass
class FakeMember:
    """One member. `cut_at` ends its stream there; `change` alters the described state; `fault` is a status and code."""

    name: str
    state: SampleState
    leader: bool = False
    cut_at: int | None = None
    flip_at: int | None = None
    fault: tuple[int, str] | None = None
    hang: threading.Event | None = None
    change: dict[str, Any] = field(default_factory=dict)
    lag: int = 0
    active: bool = True
    log: list[Entry] = field(default_factory=list)
    """Its log behind the state."""
    dropped_to: int = 0
    """Entries up to here are compacted away."""
    redirect_to: str = ""
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def described(self) -> dict[str, Any]:
        header, metadata = self.state.header, self.state.metadata
        return {
            "cluster_id": "old",
            "node_id": f"{ord(self.name[-1]):016x}",
            "name": self.name,
            "version": "0.1.0",
            "leader": self.leader,
            "index": metadata.index,
            "term": metadata.term,
            "revision": header.revision,
            "feature_level": header.level,
            "time_ms": header.time_ms,
            "state_digest": header.digest.hex(),
        } | self.change


class FakeCluster:
    """Serves its members, each on a port of its own. A context manager."""

    def __init__(self, members: Iterable[FakeMember], token: str = "") -> None:
        self.members = list(members)
        self.token = token
        self.cluster_id = "old"
        self._servers: list[ThreadingHTTPServer] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> FakeCluster:
        for member in self.members:
            server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, member))
            server.daemon_threads = True
            member.address = f"http://127.0.0.1:{server.server_address[1]}"
            # Short: `shutdown` waits for the poll.
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            self._servers.append(server)
            self._threads.append(thread)
        return self

    def __exit__(self, *_error: object) -> None:
        for member in self.members:
            if member.hang is not None:
                member.hang.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def status(self) -> bytes:
        leader = next((one for one in self.members if one.leader), None)
        known = None if leader is None else {"node_id": leader.described()["node_id"], "http_address": leader.address}
        members = [
            {
                "node_id": one.described()["node_id"],
                "name": one.name,
                "http_address": one.address,
                "role": "Voter",
                "lag": one.lag,
                "active": one.active,
                "ignored": "a field of a newer version",
            }
            for one in self.members
        ]
        return json.dumps({"cluster_id": self.cluster_id, "leader": known, "members": members, "more": 1}).encode()


def _handler(cluster: FakeCluster, member: FakeMember) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            member.asked.append(self.path)
            if member.redirect_to:
                self._answer(307, b"", {"Location": member.redirect_to + self.path})
            elif self.path == "/api/v1/cluster":
                self._answer(200, cluster.status())
            elif cluster.token and self.headers.get("Authorization") != f"Bearer {cluster.token}":
                self._answer(401, b'{"code": "unauthorized", "detail": "reading needs the token"}')
            elif member.fault is not None:
                status, code = member.fault
                self._answer(status, json.dumps({"code": code, "detail": "not now"}).encode())
            elif self.path.startswith("/api/v1/backup/log"):
                self._log()
            else:
                self._stream()

        def _log(self) -> None:
            after = int(self.path.partition("after=")[2].partition("&")[0])
            applied = member.log[-1].index if member.log else member.state.metadata.index
            if after < member.dropped_to:
                self._answer(410, b'{"code": "compacted", "detail": "the log of this member begins later"}')
                return
            page = [entry for entry in member.log if entry.index > after][:PAGE]
            data = b"".join(len(one).to_bytes(4, "big") + one for one in map(encode, page))
            last = page[-1].index if page else after
            self._answer(200, data, {"X-Log-Last": str(last), "X-Log-Applied": str(applied)})

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            data = bytearray(member.state.stream())
            if member.flip_at is not None:
                data[member.flip_at] ^= 1
            self.send_response(200)
            self.send_header("X-Exported-State", json.dumps(member.described()))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            end = len(data) if member.cut_at is None else member.cut_at
            for at in range(0, end, 10_000):
                piece = bytes(data[at : min(at + 10_000, end)])
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if member.hang is not None:
                member.hang.wait()
            if member.cut_at is None:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Log nothing."""

    return Handler
