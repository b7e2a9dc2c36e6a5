"""Who is let in, what the others are told, and how often that is logged."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import QUICK, Authority, Node, eventually, heartbeat
from collectionstore_node.tests.transport.visitor import Visit, visit
from collectionstore_node.transport.connection.dialer import DialFailed
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import FrameKind, encode_frame


async def test_certificate_of_another_authority_gets_nowhere(
    make_node: MakeNode, tmp_path: Path, authority: Authority
) -> None:
    """Neither side accepts a certificate of a CA that it does not trust; the outsider has no effect."""
    inside = await make_node(1, "n1")
    foreign = Authority("foreign CA").issue(tmp_path / "foreign", "n2")
    outside = await make_node(2, "n2", tls=foreign)
    inside.transport.set_peers([outside.address])
    outside.transport.set_peers([inside.address])
    await eventually(lambda: "certificate verify failed" in inside.problem(outside).lower())
    await eventually(lambda: "certificate verify failed" in outside.problem(inside).lower())
    # It trusts the cluster's CA, but has no certificate of it: TLS ends the connection on the other side.
    foreign.ca.write_bytes(authority.pem)
    await outside.transport.reload_tls()
    failures = outside.metrics.peer("n1").counts["failed"]
    await eventually(lambda: outside.metrics.peer("n1").counts["failed"] > failures + 1)
    assert not outside.connected(inside)
    assert inside.replica.messages == []


async def test_client_without_a_certificate_is_refused_by_tls(make_node: MakeNode, authority: Authority) -> None:
    """TLS demands a certificate before a byte of HTTP is read; TLS 1.2 is not spoken."""
    node = await make_node(1, "n1")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=authority.pem.decode())
        context.maximum_version = version
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on where TLS notices
            await _exchange(node, context)


async def _exchange(node: Node, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.transport.port, ssl=context)
    try:
        writer.write(b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        if not await reader.read(1):
            raise ConnectionResetError("closed without an answer")
    finally:
        writer.close()


async def test_taken_port_is_an_error_at_start(make_node: MakeNode) -> None:
    """A second process on the same address finds out at once, and holds nothing afterwards."""
    node = await make_node(1, "n1")
    with pytest.raises(OSError, match="Address already in use"):
        await make_node(2, "n2", port=node.transport.port)


async def test_other_http_requests_are_answered_without_effect(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """With a certificate but without a WebSocket there is nothing to see."""
    node = await make_node(1, "n1")
    tls = authority.issue(tmp_path / "visitor", "n2")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(str(tls.ca))
    context.load_cert_chain(tls.certificate, tls.key)
    for path, status in (("/", b"404"), ("/peer", b"400")):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.transport.port, ssl=context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == status
        writer.close()
        await writer.wait_closed()


async def test_another_name_than_dialed_is_refused_by_the_dialer(make_node: MakeNode) -> None:
    """The dialer says nothing to a member that is not the one it wants."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([dataclasses.replace(two.address, name="n3")])
    await eventually(lambda: one.problem(two).startswith("wrong_name: dialed 'n3'"))
    assert not one.connected(two)


async def test_claimed_name_must_be_the_certificates(make_node: MakeNode, authority: Authority, tmp_path: Path) -> None:
    """A hello in another member's name is refused, and the dialer learns why."""
    node = await make_node(1, "n1")
    tls = authority.issue(tmp_path, "n2")
    with capture_logs() as logs, pytest.raises(DialFailed, match="wrong_name: claimed 'n3', certificate 'n2'"):
        async with visit(node, tls, name="n2", claimed_name="n3"):
            pass
    assert [one["reason"] for one in logs if one["event"] == "peer.rejected"] == ["wrong_name"]


async def test_another_cluster_is_refused(make_node: MakeNode) -> None:
    """Two clusters under one CA do not mix."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2", cluster_id="other")
    one.transport.set_peers([two.address])
    two.transport.set_peers([one.address])
    await eventually(lambda: one.problem(two).startswith("wrong_cluster"))
    await eventually(lambda: two.problem(one).startswith("wrong_cluster"))


async def test_another_incarnation_is_refused_and_told_which_one_lives_here(make_node: MakeNode) -> None:
    """A member that lost its disk has a new node id; it does not get what was meant for the old one."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([dataclasses.replace(two.address, node_id=NodeId(0x99))])
    await eventually(lambda: [status.problem for status in one.transport.peers()] != [None])
    (status,) = one.transport.peers()
    assert status.problem == f"wrong_node: dialed {0x99:016x}, but this node is {2:016x}"


async def test_node_id_of_another_member_is_refused(make_node: MakeNode, authority: Authority, tmp_path: Path) -> None:
    """A member cannot take another one's node id: the membership says whose it is."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([two.address])
    with pytest.raises(DialFailed, match="wrong_node: node 0000000000000002 is 'n2', not 'n3'"):
        async with visit(one, authority.issue(tmp_path, "n3"), node_id=2, name="n3"):
            pass


async def test_removed_member_is_told_and_logs_it_once(pair: tuple[Node, Node]) -> None:
    """A removed member's connections end with the reason; it comes back, is told again, and logs it once."""
    one, two = pair
    with capture_logs() as logs:
        one.replica.refusals[two.id] = "removed"
        one.transport.set_peers([])
        await eventually(lambda: two.problem(one) == "refused: removed")
        dials = len(two.metrics.peer("n1").handshakes)
        await eventually(lambda: len(two.metrics.peer("n1").handshakes) > dials + 3)
    reported = [one["event"] for one in logs if one.get("reason") == "refused: removed" and one["peer"] == "n1"]
    assert sorted(reported) == sorted(set(reported))
    assert "peer.refused" in reported
    rejected = [entry for entry in logs if entry["event"] == "peer.rejected" and entry["peer"] == "n2"]
    assert [entry["detail"] for entry in rejected] == ["removed"]
    assert one.metrics.rejections["refused"] > 3


async def test_certificate_of_the_operator_is_no_members(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """It was signed by the same CA, for a client; neither its name nor its role admits it to the peer port."""
    node = await make_node(1, "demo-0")
    for name, role in (("operator", "client"), ("operator", "member"), ("demo-1", "client")):
        tls = authority.issue(tmp_path / f"{name}-{role}", name, member=role == "member")
        with capture_logs() as logs, pytest.raises(DialFailed, match="wrong_name"):
            async with visit(node, tls, name=name):
                pass
        assert [one["reason"] for one in logs if one["event"] == "peer.rejected"] == ["wrong_name"]
    for name in ("demo-1", "demo-read-0"):
        async with visit(node, authority.issue(tmp_path / name, name), name=name) as member:
            assert not member.ended.done()


@pytest.mark.parametrize(
    "name", ["prod-1", "demo", "demo-01", "demo-x", "demo-123456", "prod-read-0", "demo-read", "demo-write-0"]
)
async def test_name_outside_the_clusters_own_is_refused(
    make_node: MakeNode, authority: Authority, tmp_path: Path, name: str
) -> None:
    """Members are named <cluster>-<ordinal>; any other certificate of the CA is of something else."""
    node = await make_node(1, "demo-0")
    with pytest.raises(DialFailed, match="wrong_name"):
        async with visit(node, authority.issue(tmp_path, name), name=name):
            pass


async def test_two_processes_with_one_node_id_are_told(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """A copied volume: the second one is refused while the first is alive, and both the log and the dialer say so."""
    node = await make_node(1, "n1")
    tls = authority.issue(tmp_path, "n77")
    with capture_logs() as logs:
        async with visit(node, tls, process=1) as first:
            beating = asyncio.create_task(_beat(first))
            async with visit(node, tls, process=1) as renewed, visit(node, tls, process=2) as second:
                reason = await second.ended
                assert reason.code == CloseCode.DUPLICATE
                assert not renewed.ended.done(), "another connection of the first process is no duplicate"
            assert not first.ended.done()
            with pytest.raises(DialFailed, match="duplicate"):
                async with visit(node, tls, process=2):
                    pass
            beating.cancel()
        # The first has ended: the other may take its place.
        await eventually(lambda: node.transport._listener.connected() == frozenset())
        async with visit(node, tls, process=2) as only:
            assert not only.ended.done()
    told = [one["detail"] for one in logs if one["event"] == "peer.rejected" and one["reason"] == "duplicate"]
    assert told
    assert all("runs at 127.0.0.1:1" in one for one in told)


async def _beat(visitor: Visit) -> None:
    """Send again and again, as a living dialer does."""
    while True:
        await visitor.send(encode_frame(FrameKind.MESSAGES, b"\x90"))
        await asyncio.sleep(0.01)


async def test_restarted_process_is_no_duplicate(make_node: MakeNode, authority: Authority, tmp_path: Path) -> None:
    """The connection of the one before it is silent."""
    node = await make_node(1, "n1")
    tls = authority.issue(tmp_path, "n77")
    async with visit(node, tls, process=1), visit(node, tls, process=2) as second:
        for _ in range(20):
            await second.send(encode_frame(FrameKind.MESSAGES, b"\x90"))
            node.transport._listener.beat(time.monotonic())
        await eventually(lambda: len(node.transport._listener._inbound) == 2)
        node.transport._listener.beat(time.monotonic())
        assert not second.ended.done()


@pytest.mark.parametrize("kind", [FrameKind.MESSAGES, FrameKind.REQUESTS])
async def test_frame_with_too_many_items_ends_the_connection(
    make_node: MakeNode, authority: Authority, tmp_path: Path, kind: FrameKind
) -> None:
    """Its count is looked at BEFORE its items: 32 MiB of small ones would hold the loop for seconds."""
    node = await make_node(1, "n1")
    async with visit(node, authority.issue(tmp_path, "n77")) as visitor:
        await visitor.send(encode_frame(kind, b"\xdd" + (1 << 20).to_bytes(4, "big") + b"\xc1" * (1 << 20)))
        assert "too_many" in str(await visitor.ended)


async def test_long_hello_is_refused(make_node: MakeNode, authority: Authority, tmp_path: Path) -> None:
    node = await make_node(1, "n1")
    tls = authority.issue(tmp_path, "n77")
    with pytest.raises(DialFailed, match="a handshake of"):
        async with visit(node, tls, address="x" * 5000):
            pass


async def test_unreachable_member_is_logged_once(make_node: MakeNode) -> None:
    """Many failed dials with one cause are one line."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    await two.transport.close()
    with capture_logs() as logs:
        one.transport.set_peers([two.address])
        await eventually(lambda: one.metrics.peer("n2").counts["failed"] > 5)
    assert [entry["event"] for entry in logs if entry.get("peer") == "n2"] == ["peer.unreachable"]


async def test_member_with_too_many_connections_loses_the_oldest(
    make_node: MakeNode, authority: Authority, tmp_path: Path
) -> None:
    """A member cannot use up the others' sockets."""
    node = await make_node(1, "n1")
    tls = authority.issue(tmp_path, "n77")
    async with visit(node, tls) as oldest, visit(node, tls), visit(node, tls), visit(node, tls):
        assert not oldest.ended.done()
        async with visit(node, tls):
            assert str(await oldest.ended) == "superseded: too many connections"


async def test_failing_handler_ends_the_connection_and_nothing_else(pair: tuple[Node, Node]) -> None:
    """A bug in the replica is logged and ends the connection it came by; the next one works."""
    one, two = pair
    two.replica.bug = RuntimeError("a bug")
    with capture_logs() as logs:
        one.transport.send([heartbeat(one.id, two.id)])
        await eventually(lambda: two.metrics.rejections["internal"] == 1)
    assert "peer.failed" in [entry["event"] for entry in logs]
    two.replica.bug = None
    await eventually(lambda: one.connected(two))
    one.transport.send([heartbeat(one.id, two.id, 2)])
    await eventually(lambda: two.replica.sequences() == [2])


async def test_connections_without_a_handshake_are_bounded_and_keep_no_member_out(make_node: MakeNode) -> None:
    """Those that are silent for longest are closed for newer ones, before TLS costs anything; a member is admitted."""
    settings = dataclasses.replace(QUICK, unadmitted_max=8, handshake_timeout_s=60.0)
    first, second = await make_node(1, "n1", settings=settings), await make_node(2, "n2")
    silent = [await asyncio.open_connection("127.0.0.1", first.transport.port) for _ in range(40)]
    await eventually(lambda: first.ports.read() == 8)
    first.transport.set_peers([second.address])
    second.transport.set_peers([first.address])

    await eventually(lambda: first.connected(second) and second.connected(first))

    # The first of them were closed; what is admitted is counted no longer.
    assert await asyncio.wait_for(silent[0][0].read(), 5.0) == b""
    await eventually(lambda: first.ports.read() <= 8)
    for _, writer in silent:
        writer.close()
    await eventually(lambda: first.ports.read() == 0)
    assert second.ports.read() == 0
    assert second.connected(first)


async def test_a_closed_transport_ends_the_handshakes(make_node: MakeNode) -> None:
    node = await make_node(1, "n1")
    reader, writer = await asyncio.open_connection("127.0.0.1", node.transport.port)
    await eventually(lambda: node.ports.read() == 1)

    await node.transport.close()

    assert await asyncio.wait_for(reader.read(), 5.0) == b""
    assert node.ports.read() == 0
    writer.close()
