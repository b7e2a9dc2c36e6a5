"""A member that has moved is found where it dials from, though the name service still says otherwise or nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import Authority, Node, eventually
from collectionstore_node.transport import PeerAddress
from collectionstore_node.transport.addressing.peer_resolver import PeerResolver

HOST = "demo-1.demo-peers.shop.invalid"


class NameService(AbstractResolver):
    """Gives these addresses; without any it fails, and it may be silent."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.silent = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self.silent:
            await asyncio.Event().wait()
        if not self.addresses:
            raise OSError("Name or service not known")
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in self.addresses
        ]

    async def close(self) -> None:
        """Hold nothing."""


async def addresses(resolver: PeerResolver) -> list[str]:
    return [one["host"] for one in await resolver.resolve(HOST, 7401)]


async def test_member_that_was_never_met_is_where_the_name_service_says() -> None:
    assert await addresses(PeerResolver(NameService("10.0.0.1", "10.0.0.2"))) == ["10.0.0.1", "10.0.0.2"]
    with pytest.raises(OSError, match="not known"):
        await addresses(PeerResolver(NameService()))


async def test_address_it_dialed_from_is_tried_first_and_the_others_after_it() -> None:
    resolver = PeerResolver(NameService("10.0.0.1", "10.0.0.9"))
    resolver.learn(HOST, "10.0.0.9")
    assert await addresses(resolver) == ["10.0.0.9", "10.0.0.1"]
    resolver.learn(HOST, "fd00::9")
    (first, *_) = await resolver.resolve(HOST, 7401)
    assert (first["host"], first["family"], first["port"]) == ("fd00::9", socket.AF_INET6, 7401)


async def test_name_service_that_fails_or_is_silent_keeps_nobody_from_a_member_that_was_met() -> None:
    service = NameService()
    resolver = PeerResolver(service)
    resolver.learn(HOST, "10.0.0.9")
    assert await addresses(resolver) == ["10.0.0.9"]
    service.silent = True
    assert await addresses(resolver) == ["10.0.0.9"]


async def named_node(stack: AsyncExitStack, authority: Authority, folder: Path, *, node_id: int, host: str) -> Node:
    """Start a node that others know by a name no service resolves."""
    node = Node(
        node_id,
        f"n{node_id}",
        authority.issue(folder / f"n{node_id}", f"n{node_id}"),
        folder / "spool",
        advertise=f"{host}:0",
    )
    stack.push_async_callback(node.transport.close)
    await node.transport.start()
    return node


async def test_member_under_a_name_that_does_not_resolve_is_found_when_it_dials(
    make_node: MakeNode, authority: Authority, tmp_path: Path, stack: AsyncExitStack
) -> None:
    """Its dial is all that is needed; who it is, the certificate says."""
    one = await make_node(1, "n1")
    two = await named_node(stack, authority, tmp_path, node_id=2, host=HOST)
    named = dataclasses.replace(two.address, address=f"{HOST}:{two.transport.port}")
    one.transport.set_peers([named])
    await eventually(lambda: one.problem(two) != "")
    two.transport.set_peers([one.address])
    await eventually(lambda: one.connected(two))


async def test_member_cannot_say_where_another_one_is(
    make_node: MakeNode, authority: Authority, tmp_path: Path, stack: AsyncExitStack
) -> None:
    """One that says another's name is its own is not believed: the membership tells which name is whose."""
    one = await make_node(1, "n1")
    liar = await named_node(stack, authority, tmp_path, node_id=3, host=HOST)
    one.transport.set_peers(
        [
            PeerAddress(NodeId(2), "n2", f"{HOST}:{liar.transport.port}"),
            PeerAddress(liar.id, liar.name, f"demo-2.demo-peers.shop.invalid:{liar.transport.port}"),
        ]
    )
    liar.transport.set_peers([one.address])
    await eventually(lambda: liar.connected(one))
    resolver = one.transport._dialer._resolver
    assert resolver is not None
    with pytest.raises(OSError, match="not known"):
        await resolver.resolve(HOST)
