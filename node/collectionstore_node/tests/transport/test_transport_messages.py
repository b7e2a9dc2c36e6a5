"""Raft messages between real nodes: order, batching, bounds, spoofing, learnt addresses."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from collectionstore_node.raft.messages import NodeId, encode
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import (
    CLUSTER,
    QUICK,
    Authority,
    Node,
    Proxy,
    append,
    eventually,
    heartbeat,
)
from collectionstore_node.tests.transport.visitor import visit
from collectionstore_node.transport import PeerAddress
from collectionstore_node.transport.connection.websocket_channel import WEBSOCKET_BYTES_MAX
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import FrameKind, encode_frame
from collectionstore_node.transport.wire.handshake import Hello, Purpose, encode_handshake

MakeProxy = Callable[[Node], Awaitable[tuple[Proxy, str]]]


async def test_messages_arrive_in_order_from_the_authenticated_sender(pair: tuple[Node, Node]) -> None:
    """Everything sent over one connection arrives once, in order, with the connection's node id as sender."""
    one, two = pair
    one.transport.send([heartbeat(one.id, two.id, sequence) for sequence in range(500)])
    await eventually(lambda: len(two.replica.messages) == 500)
    assert two.replica.sequences() == list(range(500))
    assert {sender for sender, _ in two.replica.messages} == {one.id}


async def test_messages_sent_together_share_a_frame(pair: tuple[Node, Node]) -> None:
    """All that is sent with one call reaches the replica as one batch, and is counted."""
    one, two = pair
    one.transport.send([heartbeat(one.id, two.id, sequence) for sequence in range(100)])
    await eventually(lambda: len(two.replica.messages) == 100)
    assert two.replica.batches == 1
    await eventually(lambda: two.metrics.peer("n1").counts["received_messages"] == 100)
    assert one.metrics.peer("n2").counts["sent_messages"] == 100


async def test_messages_queued_while_dialing_are_sent(make_node: MakeNode) -> None:
    """The first votes of a new member need not wait for a second election."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    one.transport.send([heartbeat(one.id, two.id, 7)])
    await eventually(lambda: two.replica.sequences() == [7])


async def test_full_queue_drops_counts_and_tells_the_replica_once(make_node: MakeNode) -> None:
    """What does not fit is dropped and counted; the replica hears of it once, not once per message."""
    settings = dataclasses.replace(QUICK, queue_messages_max=10)
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    one.transport.send([heartbeat(one.id, two.id, sequence) for sequence in range(25)])
    await eventually(lambda: len(two.replica.messages) == 10)
    assert two.replica.sequences() == list(range(10))
    status = one.status(two)
    assert status is not None
    assert status.dropped_messages == one.metrics.peer("n2").counts["dropped"] == 15
    assert one.replica.unreachable == [two.id]


async def test_messages_to_an_unreachable_member_are_dropped_and_reported(make_node: MakeNode) -> None:
    """While a dial is failing nothing piles up: stale messages are worth nothing later."""
    one = await make_node(1, "n1")
    gone = PeerAddress(NodeId(9), "n9", "127.0.0.1:1")
    one.transport.set_peers([gone])

    def sent_and_dropped() -> bool:
        one.transport.send([heartbeat(one.id, gone.node_id)])
        return one.metrics.peer("n9").counts["dropped"] >= 20

    await eventually(sent_and_dropped)
    assert gone.node_id in one.replica.unreachable
    assert one.metrics.peer("n9").counts["failed"] > 0


async def test_message_to_an_unknown_node_is_dropped_and_counted(make_node: MakeNode) -> None:
    """A node without an address is no error: it may be introduced later."""
    one = await make_node(1, "n1")
    one.transport.send([heartbeat(one.id, NodeId(99))])
    assert one.metrics.peer("(unknown)").counts["dropped"] == 1


async def test_joining_node_answers_at_the_address_learnt_from_the_hello(make_node: MakeNode) -> None:
    """A new learner knows nobody; it answers its leader where the leader said it is reached."""
    leader, learner = await make_node(1, "n1"), await make_node(2, "n2")
    leader.transport.set_peers([learner.address])
    await eventually(lambda: leader.connected(learner))
    learner.transport.send([heartbeat(learner.id, leader.id, 5)])
    await eventually(lambda: leader.replica.sequences() == [5])
    status = learner.status(leader)
    assert status is not None
    assert status.address == leader.address.address


async def test_learnt_member_becomes_a_member_without_a_new_connection(make_node: MakeNode) -> None:
    """When the membership arrives, the connection made from the hello is kept."""
    leader, learner = await make_node(1, "n1"), await make_node(2, "n2")
    leader.transport.set_peers([learner.address])
    await eventually(lambda: leader.connected(learner))
    learner.transport.send([heartbeat(learner.id, leader.id)])
    await eventually(lambda: learner.connected(leader))
    learner.transport.set_peers([leader.address, learner.address])
    learner.transport.send([heartbeat(learner.id, leader.id)])
    await eventually(lambda: len(leader.replica.messages) == 2)
    assert len(learner.metrics.peer("n1").handshakes) == 1


@pytest.mark.parametrize(("sender", "to"), [(3, 2), (1, 3)])
async def test_message_in_another_name_or_for_another_node_ends_the_connection(
    make_node: MakeNode, authority: Authority, tmp_path: Path, sender: int, to: int
) -> None:
    """A member can speak for itself only, and only to the node it dialed; nothing of that frame is handed on."""
    node = await make_node(2, "n2")
    message = encode([heartbeat(NodeId(sender), NodeId(to))])
    async with visit(node, authority.issue(tmp_path / "visitor", "n77"), node_id=1) as visitor:
        await visitor.send(encode_frame(FrameKind.MESSAGES, message))
        ending = await visitor.ended
    assert (ending.code, ending.by_peer) == (CloseCode.SPOOFED, True)
    assert node.metrics.rejections["spoofed"] == 1
    assert node.replica.messages == []


async def test_frame_without_a_place_ends_the_connection(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """Garbage, undecodable messages and frames of another purpose end the connection with a reason."""
    node = await make_node(2, "n2")
    tls = authority.issue(tmp_path / "visitor", "n77")
    for bad in (
        b"no frame at all",
        encode_frame(FrameKind.MESSAGES, b"\xc1"),
        encode_frame(FrameKind.REQUESTS, b"\xc1"),
        encode_frame(FrameKind.SNAPSHOT_DONE),
        encode_frame(FrameKind.PONG, b"short"),
        encode_frame(FrameKind.PONG, bytes(8)),
    ):
        async with visit(node, tls) as visitor:
            await visitor.send(bad)
            ending = await visitor.ended
            assert (ending.code, ending.by_peer) == (CloseCode.PROTOCOL, True), bad
    assert node.replica.messages == []
    assert node.metrics.rejections["protocol"] == 6


async def test_text_message_ends_the_connection(make_node: MakeNode, authority: Authority, tmp_path: Path) -> None:
    """What WebSocket would allow and this protocol does not is refused by its type alone."""
    node = await make_node(2, "n2")
    async with visit(node, authority.issue(tmp_path / "visitor", "n77"), stream=0) as visitor:
        await visitor.send_text("hello")
        ending = await visitor.ended
    assert (ending.code, ending.by_peer) == (CloseCode.PROTOCOL, True)


async def test_oversized_message_is_refused_by_its_length_alone(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """The announcement of too many bytes ends the connection; none of them is waited for or stored."""
    node = await make_node(2, "n2")
    tls = authority.issue(tmp_path / "visitor", "n77")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(str(tls.ca))
    context.load_cert_chain(tls.certificate, tls.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.transport.port, ssl=context)
    writer.write(
        b"GET /peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " in await reader.readline()
    hello = Hello(1, 1, CLUSTER, NodeId(77), "n77", "127.0.0.1:1", node.id, Purpose.MESSAGES)
    frame = encode_frame(FrameKind.HELLO, encode_handshake(hello))
    # Masked with zeros: a client must mask, and zeros change nothing.
    writer.write(bytes((0x82, 0x80 | len(frame))) + bytes(4) + frame)
    writer.write(b"\x82\xff" + (WEBSOCKET_BYTES_MAX + 1).to_bytes(8, "big") + bytes(4))
    await eventually(lambda: node.metrics.rejections["protocol"] == 1)
    assert await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_peer_that_takes_nothing_does_not_delay_another(make_node: MakeNode, make_proxy: MakeProxy) -> None:
    """One stuck member fills its own queue; heartbeats to the others go out."""
    settings = dataclasses.replace(QUICK, queue_bytes_max=1 << 20, silence_max_s=60.0)
    one = await make_node(1, "n1", settings=settings)
    stuck, well = await make_node(2, "n2"), await make_node(3, "n3")
    proxy, address = await make_proxy(stuck)
    one.transport.set_peers([dataclasses.replace(stuck.address, address=address), well.address])
    await eventually(lambda: one.connected(stuck, well))
    proxy.freeze()
    large = append(one.id, stuck.id, 1 << 16)

    def stuffed() -> bool:
        one.transport.send([large] * 16)
        return one.metrics.peer("n2").counts["dropped"] > 100

    await eventually(stuffed)
    one.transport.send([heartbeat(one.id, well.id, 1)])
    await eventually(lambda: well.replica.sequences() == [1])
