"""From a WebSocket to a stream: what is used of aiohttp, and members of versions that know no streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import WSMsgType, web
from structlog.testing import capture_logs

from collectionstore_node.raft.messages import NodeId, decode_messages, encode
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import CLUSTER, Authority, Node, eventually, heartbeat
from collectionstore_node.transport import PeerAddress, TlsFiles
from collectionstore_node.transport.connection.dialer import PEER_PATH
from collectionstore_node.transport.connection.stream_channel import StreamChannel
from collectionstore_node.transport.connection.websocket_channel import WebSocketChannel
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import FrameKind, decode_frame, encode_frame
from collectionstore_node.transport.wire.handshake import Hello, Purpose, Welcome, encode_handshake


class OldHello(msgspec.Struct, frozen=True, array_like=True):
    """The hello before streams."""

    protocol_min: int
    protocol_max: int
    cluster_id: str
    node_id: int
    name: str
    address: str
    expects: int
    purpose: int
    process: int = 0


class OldWelcome(msgspec.Struct, frozen=True, array_like=True):
    """The welcome before streams."""

    protocol: int
    cluster_id: str
    node_id: int
    name: str
    address: str


@pytest.fixture(params=["stream"])
def streams(request: pytest.FixtureRequest) -> bool:
    """Return True: the nodes of these tests know streams, and the others are made by hand."""
    return bool(request.param)


def channels(node: Node) -> set[type]:
    """Return what carries the running connections of a node."""
    return {type(connection.channel) for connection in node.transport._connections}


async def test_two_current_members_leave_the_websocket(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await eventually(lambda: channels(one) == channels(two) == {StreamChannel})
    one.transport.send([heartbeat(one.id, two.id, 7)])
    await eventually(lambda: two.replica.sequences() == [7])
    assert await one.transport.request(two.id, b"x", 5.0) == b"echo x"


async def test_aiohttp_lets_go_of_what_was_taken_over(pair: tuple[Node, Node]) -> None:
    """Neither its client's pool nor its server has the connection any more, and both close without it.

    Fails when aiohttp has changed what `takeover` relies on.
    """
    one, two = pair
    await eventually(lambda: channels(one) == channels(two) == {StreamChannel})
    for node in pair:
        connector = node.transport._dialer._session.connector
        assert connector is not None
        assert not connector._acquired
        assert not connector._conns
        # They are counted as long as their handlers run, which run the connections.
        assert [handler.connected for handler in node.transport._listener._web.connections] == [False]
    await one.transport._dialer.close()
    one.transport.send([heartbeat(one.id, two.id, 8)])
    await eventually(lambda: two.replica.sequences() == [8])
    await one.transport.close()
    await eventually(lambda: two.transport._listener._web.connections == [])


async def test_private_attribute_of_aiohttp_is_there(authority: Authority, tmp_path: Path) -> None:
    """The one attribute of a dialed WebSocket that has no public name: a response with its connection."""
    async with OldListener(authority, tmp_path) as listener, aiohttp.ClientSession() as session:
        context = client_context(authority.issue(tmp_path / "client", "n1"))
        async with session.ws_connect(f"wss://{listener.address.address}{PEER_PATH}", ssl=context) as socket:
            connection = socket._response.connection
            assert connection is not None
            assert connection.transport is not None
            assert connection.transport.get_protocol() is connection.protocol
            assert connection.protocol.transport is connection.transport


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that dials with a member's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(str(files.ca))
    context.load_cert_chain(files.certificate, files.key)
    return context


# Older members


class OldListener:
    """A member before streams, as far as a dialer sees it."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        files = authority.issue(directory / "old", "n2")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_verify_locations(str(files.ca))
        self._context.load_cert_chain(files.certificate, files.key)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._server: asyncio.Server
        self._web = web.Server(self._serve)
        self.address: PeerAddress
        self.frames: list[FrameKind] = []
        self.sequences: list[int] = []

    async def __aenter__(self) -> OldListener:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._web, "127.0.0.1", 0, ssl=self._context)
        port = self._server.sockets[0].getsockname()[1]
        self.address = PeerAddress(NodeId(2), "n2", f"127.0.0.1:{port}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._web.shutdown(0.1)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            frame = decode_frame(message.data)
            self.frames.append(frame.kind)
            if frame.kind is FrameKind.HELLO:
                hello = msgspec.msgpack.decode(frame.payload, type=OldHello)
                assert hello.name == "n1"
                welcome = OldWelcome(1, CLUSTER, 2, "n2", self.address.address)
                await socket.send_bytes(encode_frame(FrameKind.WELCOME, msgspec.msgpack.encode(welcome)))
            elif frame.kind is FrameKind.PING:
                await socket.send_bytes(encode_frame(FrameKind.PONG, frame.payload))
            elif frame.kind is FrameKind.MESSAGES:
                self.sequences += [getattr(one, "read_sequence", -1) for one in decode_messages(frame.payload)]
        return socket


async def test_older_listener_is_spoken_to_in_websocket_messages(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """It ignores the field of the hello that it does not know, and goes on as before."""
    async with OldListener(authority, tmp_path) as old:
        node = await make_node(1, "n1")
        node.transport.set_peers([old.address])
        await eventually(lambda: node.metrics.peer("n2").up)
        await eventually(lambda: channels(node) == {WebSocketChannel})
        node.transport.send([heartbeat(node.id, NodeId(2), sequence) for sequence in range(5)])
        await eventually(lambda: old.sequences == list(range(5)))
        await eventually(lambda: node.metrics.peer("n2").round_trips)
        assert {FrameKind.HELLO, FrameKind.PING, FrameKind.MESSAGES} == set(old.frames)
        await node.transport.close()


async def test_older_dialer_is_answered_in_websocket_messages(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """Its hello has no field for streams; the welcome's new field is ignored by it."""
    node = await make_node(2, "n2")
    context = client_context(authority.issue(tmp_path / "old", "n1"))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"wss://{node.address.address}{PEER_PATH}", ssl=context) as socket,
    ):
        hello = OldHello(1, 1, CLUSTER, 1, "n1", "127.0.0.1:1", 2, 0, 5)
        await socket.send_bytes(encode_frame(FrameKind.HELLO, msgspec.msgpack.encode(hello)))
        welcome = decode_frame(await socket.receive_bytes())
        assert msgspec.msgpack.decode(welcome.payload, type=OldWelcome).name == "n2"
        assert channels(node) == {WebSocketChannel}
        await socket.send_bytes(encode_frame(FrameKind.MESSAGES, encode([heartbeat(NodeId(1), node.id, 3)])))
        await socket.send_bytes(encode_frame(FrameKind.PING, bytes(8)))
        assert decode_frame(await socket.receive_bytes()).kind is FrameKind.PONG
        assert node.replica.sequences() == [3]


# The switch, byte by byte


class RawDialer:
    """A dialer of which every byte is the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def upgrade(self) -> None:
        """Ask for a WebSocket and read the answer."""
        self.writer.write(
            b"GET /peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 101 " in await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, data: bytes, *, cut: int | None = None) -> None:
        """Send in two TLS records, or without `cut` each byte in its own."""
        pieces = [data[at : at + 1] for at in range(len(data))] if cut is None else [data[:cut], data[cut:]]
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def welcome(self) -> Welcome:
        """Read the welcome, a WebSocket message, and nothing behind it."""
        head = await self.reader.readexactly(2)
        assert head[0] == 0x82
        return msgspec.msgpack.decode(decode_frame(await self.reader.readexactly(head[1])).payload, type=Welcome)

    async def frame(self) -> tuple[FrameKind, bytes]:
        """Read a frame of the stream."""
        head = await self.reader.readexactly(14)
        frame = decode_frame(head + await self.reader.readexactly(int.from_bytes(head[6:10], "big")))
        return frame.kind, bytes(frame.payload)


@pytest.fixture
async def dial(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> tuple[Node, Callable[[], Awaitable[RawDialer]]]:
    """Return a node and a function that dials it with a WebSocket open."""
    node = await make_node(2, "n2")
    context = client_context(authority.issue(tmp_path / "raw", "n77"))

    async def open_one() -> RawDialer:
        raw = RawDialer(*await asyncio.open_connection("127.0.0.1", node.transport.port, ssl=context))
        await raw.upgrade()
        return raw

    return node, open_one


def masked(frame: bytes) -> bytes:
    """Return a frame as a client's WebSocket message; the mask is zero, which changes nothing."""
    return bytes((0x82, 0x80 | len(frame))) + bytes(4) + frame


HELLO = encode_frame(
    FrameKind.HELLO,
    encode_handshake(Hello(1, 1, CLUSTER, NodeId(77), "n77", "127.0.0.1:1", NodeId(2), Purpose.MESSAGES, stream=1)),
)
BEHIND = (
    encode_frame(FrameKind.STREAM)
    + encode_frame(FrameKind.MESSAGES, encode([heartbeat(NodeId(77), NodeId(2), 4)]))
    + encode_frame(FrameKind.PING, bytes(8))
)

Dial = tuple[Node, Callable[[], Awaitable[RawDialer]]]


async def test_switch_survives_every_byte_in_its_own_record(dial: Dial) -> None:
    node, open_one = dial
    raw = await open_one()
    await raw.send(masked(HELLO))
    assert (await raw.welcome()).stream == 1
    await raw.send(BEHIND)
    assert await raw.frame() == (FrameKind.PONG, bytes(8))
    assert node.replica.sequences() == [4]
    raw.writer.close()


async def test_switch_survives_a_cut_at_every_byte(dial: Dial) -> None:
    """Of what follows the welcome; a cut at 0 and at the end is none."""
    node, open_one = dial
    for cut in range(len(BEHIND)):
        node.replica.messages.clear()
        raw = await open_one()
        await raw.send(masked(HELLO), cut=cut % len(HELLO))
        await raw.welcome()
        await raw.send(BEHIND, cut=cut)
        assert await raw.frame() == (FrameKind.PONG, bytes(8))
        assert node.replica.sequences() == [4]
        raw.writer.close()


@pytest.mark.parametrize("early", [BEHIND, masked(encode_frame(FrameKind.MESSAGES, b"\x90")), b"\x88\x80" + bytes(4)])
async def test_dialer_that_does_not_wait_for_the_welcome_gets_nowhere(dial: Dial, early: bytes) -> None:
    """What it sent between hello and welcome is of neither protocol: none of it has an effect."""
    node, open_one = dial
    raw = await open_one()
    raw.writer.write(masked(HELLO) + early)
    await raw.welcome()
    await raw.send(BEHIND[14:], cut=0)
    kind, payload = await raw.frame()
    assert (kind, int.from_bytes(payload[:2], "big")) == (FrameKind.CLOSE, CloseCode.PROTOCOL)
    assert node.replica.messages == []
    raw.writer.close()


async def test_listener_that_chooses_what_was_not_offered_is_refused(
    make_node: MakeNode, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dialer does not guess what stream 9 may be."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    monkeypatch.setattr("collectionstore_node.transport.listener.choose_stream", lambda *_: 9)
    one.transport.set_peers([two.address])
    await eventually(lambda: "version: chose stream 9, offered 1" in one.problem(two))


def test_hello_is_pinned() -> None:
    """The bytes that members of other versions read: a field that moved would break a rolling upgrade."""
    hello = Hello(1, 1, "demo", NodeId(1), "demo-0", "demo-0:7401", NodeId(2), Purpose.MESSAGES, 5, 1)
    assert encode_frame(FrameKind.HELLO, encode_handshake(hello)).hex() == (
        "4353010100000000002010e68e479a0101a464656d6f01a664656d6f2d30ab64656d6f2d303a3734303102000501"
    )
    welcome = Welcome(1, "demo", NodeId(2), "demo-1", "demo-1:7401", 1)
    assert encode_frame(FrameKind.WELCOME, encode_handshake(welcome)).hex() == (
        "4353010200000000001c5948f0ba9601a464656d6f02a664656d6f2d31ab64656d6f2d313a3734303101"
    )


async def test_refusal_after_the_switch_reaches_the_listener(
    make_node: MakeNode, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A welcome of another node than dialed: the dialer closes the stream with its reason."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    monkeypatch.setattr(two.transport._local, "node_id", NodeId(9))
    monkeypatch.setattr("collectionstore_node.transport.listener.check_hello", lambda *_, **__: 1)
    with capture_logs() as logs:
        one.transport.set_peers([two.address])
        await eventually(lambda: "wrong_node" in one.problem(two))
        await eventually(lambda: [line for line in logs if line["event"] == "peer.left"])
    left: list[Any] = [line["reason"] for line in logs if line["event"] == "peer.left"]
    assert left[0].startswith("wrong_node: dialed")
