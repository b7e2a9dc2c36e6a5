"""Requests: answered, definitely not handled, or lost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from collectionstore_node.errors import NotLeader
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import QUICK, Node, Proxy, eventually
from collectionstore_node.transport import PeerAddress, PeerUnavailable, RequestLost
from collectionstore_node.transport.wire.send_queue import ITEM_BYTES_MAX

MakeProxy = Callable[[Node], Awaitable[tuple[Proxy, str]]]


async def forever(_: bytes) -> bytes:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_request_is_answered(pair: tuple[Node, Node]) -> None:
    """Answers find their requests, many at a time and in any order."""
    one, two = pair
    answers = await asyncio.gather(
        *(one.transport.request(two.id, str(number).encode(), 10.0) for number in range(200))
    )
    assert answers == [f"echo {number}".encode() for number in range(200)]
    status = one.status(two)
    assert status is not None
    assert status.outstanding_requests == 0


async def test_large_request_and_answer_pass(pair: tuple[Node, Node]) -> None:
    """Several megabytes in one request are no problem, pings go on beside it."""
    one, two = pair
    payload = bytes(8 << 20)
    assert len(await one.transport.request(two.id, payload, 10.0)) == len(payload) + 5


async def test_request_to_an_unreachable_member_was_not_delivered(make_node: MakeNode) -> None:
    """Without a connection the caller may say "not applied"."""
    one = await make_node(1, "n1")
    with pytest.raises(PeerUnavailable, match="no address"):
        await one.transport.request(NodeId(9), b"x", 1.0)
    one.transport.set_peers([PeerAddress(NodeId(9), "n9", "127.0.0.1:1")])
    with pytest.raises(PeerUnavailable, match="not connected"):
        await one.transport.request(NodeId(9), b"x", 1.0)


async def test_connection_cut_during_a_request_leaves_its_fate_unknown(
    make_node: MakeNode, make_proxy: MakeProxy
) -> None:
    """The peer has it and the answer will not come: never called failed. The handler there is cancelled."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: one.connected(two))
    cancelled = asyncio.Event()

    async def answer(_: bytes) -> bytes:
        try:
            return await forever(b"")
        finally:
            cancelled.set()

    two.replica.answer = answer
    waiting = asyncio.create_task(one.transport.request(two.id, b"x", 30.0))
    await eventually(lambda: two.replica.requests)
    proxy.cut()
    with pytest.raises(RequestLost):
        await waiting
    await asyncio.wait_for(cancelled.wait(), 10)


async def test_deadline_after_delivery_leaves_the_fate_unknown(pair: tuple[Node, Node]) -> None:
    """A handler that takes too long is cancelled at the deadline, on both sides."""
    one, two = pair
    two.replica.answer = forever
    with pytest.raises(RequestLost):
        await one.transport.request(two.id, b"x", 0.05)
    assert two.replica.requests == [b"x"]


async def test_deadline_before_delivery_means_not_delivered(make_node: MakeNode, make_proxy: MakeProxy) -> None:
    """A request that never left the queue was not delivered, and does not leave it later."""
    settings = dataclasses.replace(QUICK, silence_max_s=60.0)
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2", settings=settings)
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: one.connected(two))
    proxy.freeze()
    # More than the sockets on the way can hold, so that the writer is stuck with the rest queued.
    stuffing = [asyncio.create_task(one.transport.request(two.id, bytes(4 << 20), 30.0)) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(PeerUnavailable):
        await one.transport.request(two.id, b"late", 0.2)
    proxy.thaw()
    await asyncio.gather(*stuffing)
    assert await one.transport.request(two.id, b"next", 10.0) == b"echo next"
    assert b"late" not in two.replica.requests


async def test_too_many_outstanding_requests_are_refused_at_once(make_node: MakeNode) -> None:
    """Requests are bounded by count; those beyond were not sent."""
    settings = dataclasses.replace(QUICK, requests_max=3)
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2")
    release = asyncio.Event()

    async def answer(payload: bytes) -> bytes:
        await release.wait()
        return payload

    two.replica.answer = answer
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    waiting = [asyncio.create_task(one.transport.request(two.id, b"x", 10.0)) for _ in range(3)]
    await eventually(lambda: len(two.replica.requests) == 3)
    with pytest.raises(PeerUnavailable, match="outstanding"):
        await one.transport.request(two.id, b"y", 10.0)
    release.set()
    assert await asyncio.gather(*waiting) == [b"x"] * 3


async def test_receiver_that_serves_too_many_says_not_handled(make_node: MakeNode) -> None:
    """The receiver's own bound holds whatever the sender's is, and the request counts as not applied."""
    one = await make_node(1, "n1")
    two = await make_node(2, "n2", settings=dataclasses.replace(QUICK, requests_max=2))
    two.replica.answer = forever
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    waiting = [asyncio.create_task(one.transport.request(two.id, b"x", 0.5)) for _ in range(2)]
    await eventually(lambda: len(two.replica.requests) == 2)
    with pytest.raises(PeerUnavailable, match="too many concurrent requests"):
        await one.transport.request(two.id, b"y", 10.0)
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [RequestLost] * 2


async def test_request_too_large_for_a_frame_is_refused_at_once(pair: tuple[Node, Node]) -> None:
    """What can never be sent fails before it is queued."""
    one, two = pair
    with pytest.raises(PeerUnavailable, match="too large"):
        await one.transport.request(two.id, bytes(ITEM_BYTES_MAX), 10.0)


@pytest.mark.parametrize(
    ("raised", "expected", "text"),
    [
        (NotLeader(), PeerUnavailable, "no leader is known"),
        (RuntimeError("a bug"), RequestLost, "internal error"),
        (TimeoutError(), RequestLost, "timed out"),
    ],
)
async def test_handlers_exception_decides_what_the_asker_may_say(
    pair: tuple[Node, Node], raised: Exception, expected: type[Exception], text: str
) -> None:
    """`NotNow` is "not applied" here as there; anything else proves nothing."""
    one, two = pair

    async def answer(_: bytes) -> bytes:
        raise raised

    two.replica.answer = answer
    with pytest.raises(expected, match=text):
        await one.transport.request(two.id, b"x", 10.0)
    two.replica.answer = lambda payload: _same(payload)
    assert await one.transport.request(two.id, b"x", 10.0) == b"x"


async def _same(payload: bytes) -> bytes:
    return payload


async def test_requests_are_lost_when_this_node_closes(pair: tuple[Node, Node]) -> None:
    """Closing ends what waits; nobody hangs."""
    one, two = pair
    two.replica.answer = forever
    waiting = asyncio.create_task(one.transport.request(two.id, b"x", 30.0))
    await eventually(lambda: two.replica.requests)
    await one.transport.close()
    with pytest.raises(RequestLost):
        await waiting
