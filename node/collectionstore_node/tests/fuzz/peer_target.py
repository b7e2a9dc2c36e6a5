"""What the peer-port fuzzer attacks: a real listener before a real member, with sockets in memory in place of TLS.

The member is the only voter of its cluster, so that it goes on by itself after every disturbance; `demo-1` is a
learner, `demo-2` was removed. Certificates are real ones, made once; that TLS verifies them is tested elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import aiohttp
from aiohttp import WSMessage, WSMsgType
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires
from collectionstore_node.tests.transport.doubles import QUICK, Authority, RecordedMetrics
from collectionstore_node.transport.connection.connection import ConnectionContext
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.listener import Listener
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.snapshots.receiver import SnapshotReceiver
from collectionstore_node.transport.snapshots.spool import Spool
from collectionstore_node.transport.traffic import TrafficTable
from collectionstore_node.transport.wire.handshake import PeerName

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
            context, cast(PeerSecurity, None), member.handler, self._snapshots, metrics, _Directory(member)
        )

    async def connect(self, credential: Credential, frames: list[bytes]) -> MemorySocket:
        """Run one connection to its end."""
        socket = MemorySocket(credential, frames)

        async def serve() -> None:
            connection = await self.listener._handshake(cast(Any, socket))
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
