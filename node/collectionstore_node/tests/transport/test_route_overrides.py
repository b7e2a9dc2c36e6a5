"""RouteOverrides: another way to a member, taken and left while running, which proves nothing about who is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import Authority, Node, Proxy, eventually, heartbeat
from collectionstore_node.transport import OverridesRefused, PeerAddress, RouteOverrides

MakeProxy = Callable[[Node], Awaitable[tuple[Proxy, str]]]


def write(path: Path, content: str) -> None:
    """Replace the file as the local runtime does: by a rename."""
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").replace(path)


def test_no_file_means_no_routes(tmp_path: Path) -> None:
    routes = RouteOverrides(tmp_path / "routes.json")
    assert routes.address("n2", "host:1") == "host:1"
    assert RouteOverrides().address("n2", "host:1") == "host:1"
    assert RouteOverrides().reload() == frozenset()


def test_reload_tells_whose_route_changed(tmp_path: Path) -> None:
    """Added, changed and removed ones; the same file again changes nobody's."""
    path = tmp_path / "routes.json"
    routes = RouteOverrides(path)
    write(path, '{"n2": "127.0.0.1:1", "n3": "127.0.0.1:2"}')
    assert routes.reload() == {"n2", "n3"}
    assert routes.address("n2", "host:1") == "127.0.0.1:1"
    assert routes.reload() == frozenset()
    write(path, '{"n3": "[::1]:2", "n4": "localhost:3"}')
    assert routes.reload() == {"n2", "n3", "n4"}
    assert routes.address("n2", "host:1") == "host:1"
    path.unlink()
    assert routes.reload() == {"n3", "n4"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"n2": 1}', '{"n2": "host"}', '{"n2": "host:port"}', '{"n2": "http://host:1/"}']
)
def test_file_that_is_no_routes_is_refused_and_changes_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "routes.json"
    write(path, '{"n2": "127.0.0.1:1"}')
    routes = RouteOverrides(path)
    write(path, content)
    with pytest.raises(OverridesRefused, match=r"routes\.json"):
        routes.reload()
    assert routes.address("n2", "host:1") == "127.0.0.1:1"
    with pytest.raises(OverridesRefused):
        RouteOverrides(path)


@pytest.fixture
async def detoured(
    authority: Authority, tmp_path: Path, make_node: MakeNode, make_proxy: MakeProxy, stack: AsyncExitStack
) -> tuple[Node, Node, Proxy, str]:
    """Return a node with a routes file, one that it dials directly so far, and a proxy before that one."""
    two = await make_node(2, "n2")
    proxy, address = await make_proxy(two)
    one = Node(
        1,
        "n1",
        authority.issue(tmp_path / "tls", "n1"),
        tmp_path / "spool",
        routes=RouteOverrides(tmp_path / "routes"),
    )
    await one.transport.start()
    stack.push_async_callback(one.transport.close)
    one.transport.set_peers([two.address])
    await eventually(lambda: one.connected(two))
    return one, two, proxy, address


async def test_changed_route_drops_the_connection_and_takes_the_new_way(
    detoured: tuple[Node, Node, Proxy, str], tmp_path: Path
) -> None:
    """There and back; what is sent afterwards arrives, and an unchanged file drops nothing."""
    one, two, proxy, address = detoured
    write(tmp_path / "routes", f'{{"n2": "{address}"}}')
    await one.transport.reload_routes()
    await eventually(lambda: one.connected(two) and proxy.connections == 1)
    one.transport.send([heartbeat(one.id, two.id, 1)])
    await eventually(lambda: two.replica.sequences() == [1])
    dials = len(one.metrics.peer("n2").handshakes)
    await one.transport.reload_routes()
    assert one.connected(two)
    assert len(one.metrics.peer("n2").handshakes) == dials

    (tmp_path / "routes").unlink()
    await one.transport.reload_routes()
    await eventually(lambda: one.connected(two) and len(one.metrics.peer("n2").handshakes) == dials + 1)
    one.transport.send([heartbeat(one.id, two.id, 2)])
    await eventually(lambda: two.replica.sequences() == [1, 2])
    assert proxy.connections == 1


async def test_refused_file_is_logged_once_and_leaves_connections_alone(
    detoured: tuple[Node, Node, Proxy, str], tmp_path: Path
) -> None:
    one, two, _, _ = detoured
    dials = len(one.metrics.peer("n2").handshakes)
    write(tmp_path / "routes", "no routes")
    with capture_logs() as logs:
        await one.transport.reload_routes()
        await one.transport.reload_routes()
    assert [entry["event"] for entry in logs] == ["routes.refused"]
    assert one.connected(two)
    assert len(one.metrics.peer("n2").handshakes) == dials


async def test_route_to_another_member_is_no_way_to_the_one_that_is_meant(
    detoured: tuple[Node, Node, Proxy, str], make_node: MakeNode, tmp_path: Path
) -> None:
    """The certificate decides who is there, not the address."""
    one, two, _, _ = detoured
    other = await make_node(3, "n3")
    write(tmp_path / "routes", f'{{"n2": "{other.address.address}"}}')
    await one.transport.reload_routes()
    await eventually(lambda: "wrong_name" in one.problem(two))
    one.transport.send([heartbeat(one.id, two.id, 1)])
    assert not one.connected(two)
    assert other.replica.messages == []


async def test_route_holds_for_a_member_that_is_met_later(
    detoured: tuple[Node, Node, Proxy, str], tmp_path: Path
) -> None:
    """The name alone decides: not the incarnation, nor where it says that it is."""
    one, two, proxy, address = detoured
    one.transport.set_peers([])
    write(tmp_path / "routes", f'{{"n2": "{address}"}}')
    await one.transport.reload_routes()
    one.transport.set_peers([PeerAddress(NodeId(two.id), "n2", "127.0.0.1:1")])
    await eventually(lambda: one.connected(two))
    assert proxy.connections == 1
