"""Fixtures for nodes that talk over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import uvloop

from collectionstore_node.tests.transport.doubles import CLUSTER, QUICK, Authority, Node, Proxy, eventually
from collectionstore_node.transport import TlsFiles, TransportSettings


class MakeNode(Protocol):
    """Starts a node that stops with the test."""

    async def __call__(
        self,
        node_id: int,
        name: str,
        *,
        settings: TransportSettings = ...,
        cluster_id: str = ...,
        tls: TlsFiles | None = ...,
        port: int = ...,
    ) -> Node: ...


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of this folder on the loop that a node runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Return the cluster's CA."""
    return Authority()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Yield what closes everything at the end of the test, in reverse order."""
    async with AsyncExitStack() as exits:
        yield exits


@pytest.fixture(params=["stream", "websocket"])
def streams(request: pytest.FixtureRequest) -> bool:
    """Return whether nodes leave the WebSocket for a stream: each test runs with both."""
    return bool(request.param == "stream")


@pytest.fixture
def make_node(authority: Authority, tmp_path: Path, stack: AsyncExitStack, *, streams: bool) -> MakeNode:
    """Return a function that starts nodes."""
    made = 0

    async def make(
        node_id: int,
        name: str,
        *,
        settings: TransportSettings = QUICK,
        cluster_id: str = CLUSTER,
        tls: TlsFiles | None = None,
        port: int = 0,
    ) -> Node:
        nonlocal made
        made += 1
        directory = tmp_path / f"{made}-{name}"
        files = tls or authority.issue(directory / "tls", name, cluster_id=cluster_id)
        settings = dataclasses.replace(settings, streams=settings.streams and streams)
        node = Node(node_id, name, files, directory / "spool", settings=settings, cluster_id=cluster_id, port=port)
        await node.transport.start()
        stack.push_async_callback(node.transport.close)
        return node

    return make


@pytest.fixture
def make_proxy(stack: AsyncExitStack) -> Callable[[Node], Awaitable[tuple[Proxy, str]]]:
    """Return a function that puts a proxy before a node and returns it with its address."""

    async def make(node: Node) -> tuple[Proxy, str]:
        proxy = Proxy(("127.0.0.1", node.transport.port))
        address = await proxy.start()
        stack.push_async_callback(proxy.close)
        return proxy, address

    return make


@pytest.fixture
async def pair(make_node: MakeNode) -> tuple[Node, Node]:
    """Return two nodes that are connected both ways."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    one.transport.set_peers([one.address, two.address])
    two.transport.set_peers([one.address, two.address])
    await eventually(lambda: one.connected(two) and two.connected(one))
    return one, two
