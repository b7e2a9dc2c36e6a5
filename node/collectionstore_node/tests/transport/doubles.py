"""What the transport tests stand on: certificates, a recording replica, recorded metrics, a TCP proxy, nodes."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collectionstore_node.raft.messages import (
    CHAIN_BYTES,
    AppendEntries,
    Entry,
    EntryKind,
    Heartbeat,
    Index,
    Message,
    NodeId,
    Term,
)
from collectionstore_node.transport import (
    PeerAddress,
    PeerName,
    PeerStatus,
    RouteOverrides,
    TlsContexts,
    TlsFiles,
    Transport,
    TransportEnvironment,
    TransportIdentity,
    TransportOptions,
    TransportSettings,
)
from collectionstore_node.transport.addressing.route_overrides import NO_OVERRIDES

CLUSTER = "demo"
DEADLINE_S = 10.0
"""No test waits longer for anything; reached only when something is broken."""

QUICK = TransportSettings(
    ping_interval_s=0.05,
    silence_max_s=5.0,
    backoff_min_s=0.01,
    backoff_max_s=0.05,
    refused_backoff_max_s=0.05,
    close_timeout_s=0.5,
)
"""The same behaviour as by default, with shorter times."""


class Authority:
    """A certificate authority that issues what the operator would issue."""

    def __init__(self, common_name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = self._builder(self._name, self._key.public_key())
        self._certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
            self._key, hashes.SHA256()
        )

    @property
    def pem(self) -> bytes:
        """The CA certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        directory: Path,
        name: str,
        *,
        cluster_id: str = CLUSTER,
        uris: list[str] | None = None,
        dns: list[str] | None = None,
        member: bool = True,
    ) -> TlsFiles:
        """Write ca.crt, tls.crt and tls.key for a member, or for a client; `uris` replaces its identity.

        `dns` replaces its DNS names.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        identity = [f"collectionstore://{cluster_id}/{name}"] if uris is None else uris
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in identity]
        names += [
            *map(x509.DNSName, ["localhost"] if dns is None else dns),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if member:
            usage.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        directory.mkdir(parents=True, exist_ok=True)
        files = TlsFiles(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
        files.ca.write_bytes(self.pem)
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


class Replica:
    """Records what the transport hands over, and lets tests wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[NodeId, Message]] = []
        self.batches = 0
        self.unreachable: list[NodeId] = []
        self.requests: list[bytes] = []
        self.snapshots: list[tuple[NodeId, bytes, bytes]] = []
        self.refusals: dict[NodeId, str] = {}
        self.bug: Exception | None = None
        self.answer: Callable[[bytes], Awaitable[bytes]] = _echo
        self.install: Callable[[], Awaitable[None]] = _nothing

    def on_messages(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        if self.bug is not None:
            raise self.bug
        self.batches += 1
        self.messages.extend((sender, message) for message in messages)

    async def on_request(self, sender: NodeId, payload: bytes) -> bytes:
        self.requests.append(payload)
        return await self.answer(payload)

    async def on_snapshot(self, sender: NodeId, envelope: bytes, path: Path) -> None:
        await self.install()
        self.snapshots.append((sender, envelope, await asyncio.to_thread(path.read_bytes)))

    def on_unreachable(self, node_id: NodeId) -> None:
        self.unreachable.append(node_id)

    def refusal(self, node_id: NodeId, name: str) -> str | None:
        return self.refusals.get(node_id)

    def sequences(self) -> list[int]:
        """Return the heartbeats' `read_sequence`, in order of arrival."""
        return [message.read_sequence for _, message in self.messages if isinstance(message, Heartbeat)]


async def _echo(payload: bytes) -> bytes:
    return b"echo " + payload


async def _nothing() -> None:
    return


@dataclass
class RecordedPeer:
    """One peer's measurements."""

    counts: Counter[str] = field(default_factory=Counter)
    round_trips: list[float] = field(default_factory=list)
    handshakes: list[float] = field(default_factory=list)
    up: int = 0

    def sent(self, messages: int, size_bytes: int) -> None:
        self.counts.update(sent_messages=messages, sent_bytes=size_bytes, sent_frames=1)

    def received(self, messages: int, size_bytes: int) -> None:
        self.counts.update(received_messages=messages, received_bytes=size_bytes)

    def dropped(self, messages: int) -> None:
        self.counts.update(dropped=messages)

    def send_failed(self) -> None:
        self.counts.update(failed=1)

    def round_trip(self, seconds: float) -> None:
        self.round_trips.append(seconds)

    def handshake(self, seconds: float) -> None:
        self.handshakes.append(seconds)

    def connected(self, count: int) -> None:
        self.up = count


class RecordedMetrics:
    """All measurements, by name."""

    def __init__(self) -> None:
        self.peers: dict[str, RecordedPeer] = {}
        self.forgotten: list[str] = []
        self.rejections: Counter[str] = Counter()
        self.snapshots_received: list[int] = []
        self.snapshots_failed = 0

    def peer(self, name: str) -> RecordedPeer:
        return self.peers.setdefault(name, RecordedPeer())

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def rejected(self, reason: str) -> None:
        self.rejections[reason] += 1

    def snapshot_received(self, size_bytes: int, seconds: float) -> None:
        assert seconds >= 0
        self.snapshots_received.append(size_bytes)

    def snapshot_failed(self) -> None:
        self.snapshots_failed += 1


class RecordedPorts:
    """Implements `PortMetrics` for one port."""

    def __init__(self) -> None:
        self.read: Callable[[], int] = lambda: 0
        self.refusals: list[str] = []

    def port(self, port: str, read: Callable[[], int], limit: int) -> None:
        self.read = read

    def refused(self, port: str, reason: str) -> None:
        self.refusals.append(reason)


class Node:
    """A transport with its recording replica, on 127.0.0.1."""

    def __init__(
        self,
        node_id: int,
        name: str,
        tls: TlsFiles,
        spool: Path,
        *,
        settings: TransportSettings = QUICK,
        cluster_id: str = CLUSTER,
        port: int = 0,
        advertise: str = "127.0.0.1:0",
        routes: RouteOverrides = NO_OVERRIDES,
    ) -> None:
        self.id = NodeId(node_id)
        self.name = name
        self.tls = tls
        self.replica = Replica()
        self.metrics = RecordedMetrics()
        self.spool = spool
        self.ports = RecordedPorts()
        self.transport = Transport(
            TransportIdentity(cluster_id, self.id, name, ("127.0.0.1", port), advertise),
            self.replica,
            TlsContexts(tls, PeerName(cluster_id, name)),
            self.metrics,
            TransportOptions(spool, settings, routes),
            TransportEnvironment(random.Random(node_id).random, port_metrics=self.ports),
        )

    @property
    def address(self) -> PeerAddress:
        """Where this node is reached."""
        return PeerAddress(self.id, self.name, f"127.0.0.1:{self.transport.port}")

    def status(self, of: Node) -> PeerStatus | None:
        """Return how this node sees another; None when it does not know it."""
        return next((one for one in self.transport.peers() if one.node_id == of.id), None)

    def connected(self, *others: Node) -> bool:
        """Whether this node's own connections to all others are up."""
        statuses = [self.status(other) for other in others]
        return all(status is not None and status.connected for status in statuses)

    def problem(self, of: Node) -> str:
        """Return what keeps this node from another, or an empty string."""
        status = self.status(of)
        return (status.problem or "") if status is not None else ""


def heartbeat(sender: NodeId, to: NodeId, sequence: int = 0) -> Heartbeat:
    """Return a small message that carries a number."""
    return Heartbeat(sender, to, Term(1), Index(0), sequence)


def append(sender: NodeId, to: NodeId, size_bytes: int) -> AppendEntries:
    """Return a message with one entry of `size_bytes`."""
    entry = Entry(Index(2), Term(1), EntryKind.COMMANDS, bytes(size_bytes), bytes(CHAIN_BYTES))
    return AppendEntries(sender, to, Term(1), Index(1), Term(1), (entry,), Index(1))


async def eventually(condition: Callable[[], object]) -> None:
    """Return when `condition` is true; looks again every 2 ms, for DEADLINE_S."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the code under test announces nothing to wait for
            await asyncio.sleep(0.002)


class Proxy:
    """A TCP forwarder that can cut its connections, stop forwarding, and cut after a number of bytes."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self.accepting = True
        self.connections = 0
        self.cut_after_bytes: int | None = None
        """Cut everything once this many more bytes went to the target; None never."""

    async def start(self) -> str:
        """Listen and return the address to dial."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def freeze(self) -> None:
        """Keep connections open and forward nothing, as a dead host does."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward again."""
        self._flowing.set()

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self.accepting:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers.add(far_writer)
        for source, sink, counted in ((reader, far_writer, True), (far_reader, writer, False)):
            pump = asyncio.create_task(self._pump(source, sink, counted=counted))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self._flowing.wait()
                if counted and self.cut_after_bytes is not None:
                    self.cut_after_bytes -= len(data)
                    if self.cut_after_bytes < 0:
                        self.cut_after_bytes = None
                        self.cut()
                        return
                if writer.is_closing():
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # the other pump, or a cut, ended the connection
        finally:
            writer.transport.abort()
