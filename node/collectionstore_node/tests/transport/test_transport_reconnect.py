"""Connections that break, age, move, and change their certificates."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

from structlog.testing import capture_logs

from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import (
    DEADLINE_S,
    QUICK,
    Authority,
    Node,
    Proxy,
    eventually,
    heartbeat,
)
from collectionstore_node.transport import PeerAddress

MakeProxy = Callable[[Node], Awaitable[tuple[Proxy, str]]]


async def test_peer_is_dialed_again_after_its_restart_on_the_same_port(make_node: MakeNode) -> None:
    """A restarted member is connected again, and its peer forgot nothing that it must send."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    with capture_logs() as logs:
        await two.transport.close()
        await eventually(lambda: not one.connected(two))
        assert two.id in one.replica.unreachable
        again = await make_node(2, "n2", port=two.transport.port)
        await eventually(lambda: one.connected(again))
    reasons = [entry["reason"] for entry in logs if entry["event"] == "peer.disconnected"]
    assert reasons == ["shutting_down"]
    one.transport.send([heartbeat(one.id, two.id, 3)])
    await eventually(lambda: again.replica.sequences() == [3])
    assert one.metrics.peer("n2").up == 1


async def test_a_replaced_member_that_is_given_up_does_not_hide_its_successor(make_node: MakeNode) -> None:
    """Both have the same name, and so the same series: the connection that counts is the one that is up."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    await two.transport.close()
    await eventually(lambda: not one.connected(two))
    successor = await make_node(3, "n2")
    one.transport.set_peers([two.address, successor.address])
    await eventually(lambda: one.connected(successor))
    one.transport.set_peers([successor.address])
    await eventually(lambda: not one.transport._peers._closing)
    assert one.metrics.peer("n2").up == 1
    assert "n2" not in one.metrics.forgotten


async def test_silent_peer_is_found_and_left(make_node: MakeNode, make_proxy: MakeProxy) -> None:
    """A peer that vanished without closing is noticed by its missing pongs; when it is back it is dialed again."""
    quick = dataclasses.replace(QUICK, silence_max_s=0.3, dial_timeout_s=0.3)
    one, two = await make_node(1, "n1", settings=quick), await make_node(2, "n2", settings=quick)
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: one.connected(two))
    proxy.freeze()
    with capture_logs() as logs:
        await eventually(lambda: not one.connected(two))
    (reason,) = [entry["reason"] for entry in logs if entry["event"] == "peer.disconnected"]
    assert reason.startswith("silent: nothing heard for")
    # Told in the next turn of the loop.
    await eventually(lambda: two.id in one.replica.unreachable)
    proxy.thaw()
    await eventually(lambda: one.connected(two))


async def test_stalled_loop_is_not_taken_for_a_silent_peer(pair: tuple[Node, Node]) -> None:
    """After a stall of this process, what the peer sent lies unread; nobody is called dead for that."""
    one, two = pair
    connection = next(iter(one.transport._connections))
    connection.beat(1e9, late=True)
    one.transport.send([heartbeat(one.id, two.id, 1)])
    await eventually(lambda: two.replica.sequences() == [1])
    assert len(one.metrics.peer("n2").handshakes) == 1


async def test_round_trips_and_handshakes_are_measured(pair: tuple[Node, Node]) -> None:
    """Every dial and every ping ends in the metrics and in the status."""
    one, two = pair
    recorded = one.metrics.peer("n2")
    await eventually(lambda: len(recorded.round_trips) > 2)
    status = one.status(two)
    assert status is not None
    assert status.handshake_s == recorded.handshakes[-1]
    assert min(recorded.round_trips) <= (status.round_trip_p50_s or 0) <= max(recorded.round_trips)
    assert status.last_heard_age_s is not None
    assert status.sent_bytes == recorded.counts["sent_bytes"] > 0
    assert status.received_bytes == recorded.counts["received_bytes"] > 0


async def test_changed_address_is_dialed(make_node: MakeNode, make_proxy: MakeProxy) -> None:
    """A member that moves is dialed at its new address, and the old connection is given up after that."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: proxy.connections == 1)
    one.transport.send([heartbeat(one.id, two.id, 4)])
    await eventually(lambda: two.replica.sequences() == [4])


async def test_removed_peer_is_no_longer_dialed(pair: tuple[Node, Node]) -> None:
    """A peer taken out of the membership is disconnected and its series are dropped."""
    one, two = pair
    one.transport.set_peers([])
    assert one.transport.peers() == ()
    assert one.metrics.forgotten == ["n2"]
    await eventually(lambda: len(two.transport._listener.connected()) == 0)


async def test_aged_connection_is_renewed_without_a_gap(make_node: MakeNode) -> None:
    """A renewal opens the next connection first: a request that waits on the old one is answered on it."""
    settings = dataclasses.replace(QUICK, connection_age_max_s=0.2)
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2")
    release = asyncio.Event()

    async def answer(payload: bytes) -> bytes:
        await release.wait()
        return payload

    two.replica.answer = answer
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    with capture_logs() as logs:
        waiting = asyncio.create_task(one.transport.request(two.id, b"slow", 30.0))
        await eventually(lambda: two.replica.requests)
        handshakes = one.metrics.peer("n2").handshakes
        # Every renewal keeps the one before until its answers are in, and older ones than that are superseded.
        await eventually(lambda: len(handshakes) >= 2)
        release.set()
        assert await waiting == b"slow"
    assert [entry for entry in logs if entry["event"] in ("peer.disconnected", "peer.unreachable")] == []
    assert one.replica.unreachable == []


async def test_reloaded_certificates_are_used_by_new_connections_on_both_sides(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """Changing the CA in phases works live: trust both, change the leaves, drop the old one."""
    settings = dataclasses.replace(QUICK, rotation_s=0.05)
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2", settings=settings)
    one.transport.set_peers([two.address])
    two.transport.set_peers([one.address])
    await eventually(lambda: one.connected(two) and two.connected(one))
    successor = Authority("next CA")

    async def reload() -> None:
        renewals = [len(node.metrics.peer(other).handshakes) for node, other in ((one, "n2"), (two, "n1"))]
        assert await one.transport.reload_tls()
        assert await two.transport.reload_tls()
        await eventually(lambda: len(one.metrics.peer("n2").handshakes) > renewals[0])
        await eventually(lambda: len(two.metrics.peer("n1").handshakes) > renewals[1])

    for node in (one, two):
        node.tls.ca.write_bytes(authority.pem + successor.pem)
    await reload()
    for node in (one, two):
        directory = node.tls.ca.parent
        successor.issue(directory, node.name)
        node.tls.ca.write_bytes(authority.pem + successor.pem)
    await reload()
    for node in (one, two):
        node.tls.ca.write_bytes(successor.pem)
    await reload()
    assert one.connected(two)
    assert two.connected(one)
    # A member that only has the old CA's certificate is outside now, in both directions.
    late = await make_node(3, "n3")
    late.transport.set_peers([one.address])
    one.transport.set_peers([two.address, late.address])
    await eventually(lambda: "certificate verify failed" in one.problem(late).lower())
    late.tls.ca.write_bytes(authority.pem + successor.pem)
    await late.transport.reload_tls()
    failed = late.metrics.peer("n1").counts["failed"]
    await eventually(lambda: late.metrics.peer("n1").counts["failed"] > failed + 1)
    assert not late.connected(one)


async def test_connection_of_a_member_whose_authority_is_no_longer_trusted_ends(make_node: MakeNode) -> None:
    """Dropping a CA throws out who is connected already, in both directions, not only who comes later."""
    settings = dataclasses.replace(QUICK, rotation_s=0.05, connection_age_max_s=0.4)
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2", settings=settings)
    one.transport.set_peers([two.address])
    two.transport.set_peers([one.address])
    await eventually(lambda: one.connected(two) and two.connected(one))
    Authority("next CA").issue(one.tls.ca.parent, "n1")
    with capture_logs() as logs:
        assert await one.transport.reload_tls()
        await eventually(lambda: not two.connected(one) and not one.connected(two))
    assert "peer.not_renewed" in [entry["event"] for entry in logs if entry.get("peer") == "n2"]
    for node, other in ((one, two), (two, one)):
        await eventually(lambda: "certificate verify failed" in node.problem(other).lower())  # noqa: B023 - awaited


async def test_bad_certificate_files_are_logged_once_and_not_used(make_node: MakeNode) -> None:
    """A reload of unusable files changes nothing."""
    node = await make_node(1, "n1")
    node.tls.key.write_text("not a key")
    with capture_logs() as logs:
        assert not await node.transport.reload_tls()
        assert not await node.transport.reload_tls()
    assert [entry["event"] for entry in logs] == ["certificates.refused"]
    other = await make_node(2, "n2")
    other.transport.set_peers([node.address])
    await eventually(lambda: other.connected(node))


async def test_close_sends_what_is_queued_and_says_goodbye(make_node: MakeNode) -> None:
    """The last messages of a stopping node, such as a handover, are not lost in its queue."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    one.transport.send([heartbeat(one.id, two.id, sequence) for sequence in range(200)])
    await one.transport.close()
    await eventually(lambda: len(two.replica.messages) == 200)


async def test_close_is_quick_when_nobody_answers(make_node: MakeNode, make_proxy: MakeProxy) -> None:
    """A dead peer and an unreachable one do not hold up the end."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    proxy, address = await make_proxy(two)
    gone = PeerAddress(heartbeat(two.id, two.id).to, "n2", address)
    one.transport.set_peers([gone])
    await eventually(lambda: one.connected(two))
    proxy.freeze()
    one.transport.send([heartbeat(one.id, two.id)])
    async with asyncio.timeout(DEADLINE_S):
        await one.transport.close()
