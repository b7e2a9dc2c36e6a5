"""What the peer-port fuzzer attacks: a real listener before a real member, with sockets in memory in place of TLS.

The member is the only voter of its cluster, so that it goes on by itself after every disturbance; `demo-1` is a
learner, `demo-2` was removed. Certificates are real ones, made once; that TLS verifies them is tested elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, cast

import aiohttp
from aiohttp import WSMessage, WSMsgType
from aiohttp.base_protocol import BaseProtocol
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires
from collectionstore_node.tests.transport.doubles import QUICK, Authority, RecordedMetrics
from collectionstore_node.transport.connection.connection import ConnectionContext
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.listener import Listener
from collectionstore_node.transport.options import TransportEnvironment
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.snapshots.receiver import SnapshotReceiver
from collectionstore_node.transport.snapshots.spool import Spool
from collectionstore_node.transport.traffic import TrafficTable
from collectionstore_node.transport.wire.close_codes import decode_close
from collectionstore_node.transport.wire.frames import Frame, FrameKind, encode_frame
from collectionstore_node.transport.wire.handshake import PeerName
from collectionstore_node.transport.wire.stream_parser import StreamParser

CLUSTER: Final = "demo"
LEARNER: Final = NodeId(2)
REMOVED: Final = NodeId(3)
STRANGER: Final = NodeId(0x77)


class Credential(NamedTuple):
    """A verified certificate as the listener sees it."""

    name: str
    uris: tuple[str, ...]
    der: bytes | None


class Secured:
    """The TLS side of a socket."""

    def __init__(self, der: bytes | None) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool) -> bytes | None:  # noqa: FBT001 - the signature of `ssl`
        assert binary_form
        return self._der


class MemorySocket:
    """A WebSocket of which the other side is a list of frames; at its end the other side hangs up."""

    def __init__(self, credential: Credential, frames: list[bytes]) -> None:
        self._info: dict[str, Any] = {
            "peercert": {"subjectAltName": tuple(("URI", uri) for uri in credential.uris)},
            "ssl_object": Secured(credential.der),
            "peername": ("127.0.0.1", 1),
        }
        self._frames = deque(frames)
        self.sent: list[bytes] = []
        self.code: int | None = None
        self.hung_up = False

    @property
    def closed(self) -> bool:
        return self.code is not None

    def get_extra_info(self, name: str, default: object = None) -> Any:
        return self._info.get(name, default)

    async def receive(self) -> WSMessage:
        # As a real socket: what was sent and received before is worked on first.
        for _ in range(3):
            await asyncio.sleep(0)
        if self.closed:
            return WSMessage(WSMsgType.CLOSED, None, None)
        if not self._frames:
            self.hung_up = True
            return WSMessage(WSMsgType.CLOSE, 1000, "")
        return WSMessage(WSMsgType.BINARY, self._frames.popleft(), None)

    async def send_bytes(self, frame: bytes) -> None:
        if self.closed or self.hung_up:
            raise aiohttp.ClientConnectionResetError("closed")
        self.sent.append(frame)

    async def close(self, *, code: int, message: bytes) -> bool:
        assert len(message) <= 123
        if self.code is None:
            self.code = code
        return True


class MemoryTransport(asyncio.Transport):
    """The transport below a `MemorySocket`: what is left of its frames when a protocol takes it over, in any pieces.

    It behaves as a well-meaning dialer does: it begins with STREAM, mostly, and hangs up when it reads CLOSE.
    """

    def __init__(self, socket: MemorySocket, random: Random) -> None:
        super().__init__(socket._info)
        self._socket = socket
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.BaseProtocol = BaseProtocol(self._loop)
        self._parser = StreamParser()
        self._arriving: deque[bytes] = deque()
        self._reading = True
        self._pumping = False
        self._closed = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        frames, random = self._socket._frames, self._random
        data = b"".join(([] if random.random() < 0.05 else [encode_frame(FrameKind.STREAM)]) + list(frames))
        frames.clear()
        while data:
            size = random.choice((1, 3, 14, 15, 200, len(data)))
            self._arriving.append(data[:size])
            data = data[size:]

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if not self._pumping:
            self._pumping = True
            self._later(self._pump, 3)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._closed:
            return
        view = memoryview(data)
        while view:
            buffer = self._parser.buffer()
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            self._parser.received(size)
            view = view[size:]
            while (frame := self._parser.next()) is not None:
                self._received(frame)

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            # Without a code: the other side has closed first, or was cut off.
            self._socket.hung_up = self._socket.code is None
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def _received(self, frame: Frame) -> None:
        if frame.kind is FrameKind.CLOSE:
            self._socket.code = decode_close(frame.payload)[0]
            self.close()
        else:
            self._socket.sent.append(encode_frame(frame.kind, frame.payload))

    def _later(self, call: Callable[[], None], turns: int) -> None:
        """Call after some turns of the loop, in which what was received is worked on."""
        self._loop.call_soon(self._later, call, turns - 1) if turns else call()

    def _pump(self) -> None:
        self._pumping = False
        if self._closed or not self._reading:
            return
        if not self._arriving:
            self._socket.hung_up = True
            self.close()
            return
        data = self._arriving.popleft()
        protocol = cast(asyncio.BufferedProtocol, self._protocol)
        buffer = memoryview(protocol.get_buffer(len(data)))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        if data[size:]:
            self._arriving.appendleft(data[size:])
        protocol.buffer_updated(size)
        self._pumping = True
        # The last answer is waited for; the pieces before it follow each other closely.
        self._later(self._pump, 1 if self._arriving else 8)


class Target:
    """The listener and its member."""

    def __init__(self, member: Member, directory: Path, certificates: dict[str, Credential]) -> None:
        self.member = member
        self.certificates = certificates
        loop = asyncio.get_running_loop()
        metrics = RecordedMetrics()
        local = LocalNode(PeerName(CLUSTER, member.name), member.id, "demo-0:7401", 1)
        traffic = TrafficTable(metrics)
        context = ConnectionContext(local, QUICK, traffic.of, loop.time, {})
        self.spool = directory
        self._snapshots = SnapshotReceiver(Spool(directory, QUICK), member.handler, QUICK, metrics, loop.time)
        self.listener = Listener(
            context,
            cast(PeerSecurity, None),
            member.handler,
            self._snapshots,
            metrics,
            _Directory(member),
            TransportEnvironment(Random(0).random),
        )

    async def connect(self, credential: Credential, frames: list[bytes], random: Random) -> MemorySocket:
        """Run one connection to its end; `random` cuts the bytes of a stream."""
        socket = MemorySocket(credential, frames)
        transport = MemoryTransport(socket, random)

        async def serve() -> None:
            connection = await self.listener._handshake(cast(Any, socket), transport)
            if connection is not None:
                await self.listener._run(connection)

        await asyncio.create_task(serve())
        return socket

    def left_behind(self) -> list[str]:
        """Return what connections that have ended still hold."""
        found = []
        if self.listener._inbound or self.listener._handshaking or self.listener._handshaking_by:
            found.append("connections")
        if self._snapshots._feeding:
            found.append("snapshot connections")
        if len(list(self.spool.iterdir())) > QUICK.snapshots_max:
            found.append("spool files")
        return found

    async def close(self) -> None:
        await self._snapshots.close()


class _Directory:
    """The membership, as the listener sees it."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def name_of(self, node_id: NodeId) -> str | None:
        known = self._member.local.record.find(node_id)
        return known.name if known is not None else None

    def learn(self, remote: object) -> None:
        del remote


@asynccontextmanager
async def target(directory: Path) -> AsyncIterator[Target]:
    """Start the member, add a learner, and add and remove another one."""
    wires = Wires()
    member = Member("demo-0", directory / "data", wires, 0)
    # Nobody answers there: the fuzzer is all that the member hears of the others.
    wires.held |= {(LEARNER, member.id), (REMOVED, member.id)}
    spool = directory / "spool"
    spool.mkdir()
    one = None
    try:
        await member.replica.bootstrap()
        for node_id, name in ((LEARNER, "demo-1"), (REMOVED, "demo-2")):
            add = MemberChange("add", node_id, name, f"{name}:7401", f"http://{name}")
            await member.replica.change_members(MembersRequest((add,)), timeout_s=PATIENCE_S)
        gone = MemberChange("remove", REMOVED)
        await member.replica.change_members(MembersRequest((gone,)), timeout_s=PATIENCE_S)
        one = Target(member, spool, make_certificates(directory / "tls"))
        yield one
    finally:
        if one is not None:
            await one.close()
        await member.stop()


def make_certificates(directory: Path) -> dict[str, Credential]:
    """Return the certificates that somebody may hold."""
    authority = Authority()

    def issue(label: str, name: str, *, cluster_id: str = CLUSTER, member: bool = True) -> Credential:
        files = authority.issue(directory / label, name, cluster_id=cluster_id, member=member)
        der = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_bytes(Encoding.DER)
        return Credential(name, (f"collectionstore://{cluster_id}/{name}",), der)

    good = issue("member", "demo-1")
    return {
        "member": good,
        "removed": issue("removed", "demo-2"),
        "stranger": issue("stranger", "demo-9"),
        "operator": issue("operator", "operator", member=False),
        "other cluster": issue("other", "demo-1", cluster_id="other"),
        "no name": Credential("demo-1", (), good.der),
        "two names": Credential("demo-1", (*good.uris, "collectionstore://demo/demo-0"), good.der),
        "odd name": Credential("demo-1", ("collectionstore://demo/../demo-1",), good.der),
        "no certificate": Credential("demo-1", good.uris, None),
        "broken certificate": Credential("demo-1", good.uris, b"\x30\x03\x02\x01\x01"),
    }
