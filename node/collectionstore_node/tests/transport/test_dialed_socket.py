"""Descriptors of dialed connections: each is closed once, however early the peer resets the connection."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import struct

import aiohttp

from collectionstore_node.transport.addressing.dialed_socket import dialed_socket
from collectionstore_node.transport.addressing.peer_resolver import TcpConnector

DIALS = 200
"""With plain sockets about one of seventy is left with a descriptor that is not its own."""


def _reset_at_once(listening: socket.socket) -> None:
    accepted, _ = listening.accept()
    # Lingering for no time: the connection is reset instead of closed (SO_LINGER in socket(7)).
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()


async def test_a_reset_connection_closes_no_file_that_was_opened_since() -> None:
    opened = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        loop = asyncio.get_running_loop()
        loop.add_reader(listening, _reset_at_once, listening)
        address = f"wss://127.0.0.1:{listening.getsockname()[1]}/peer"
        context, refusals = ssl.create_default_context(), 0
        async with aiohttp.ClientSession(connector=TcpConnector()) as session:
            for _ in range(DIALS):
                try:
                    await session.ws_connect(address, ssl=context)
                except aiohttp.ClientConnectionError:
                    refusals += 1
                # It gets the lowest free number: that of the connection, once the loop has closed it.
                opened.append(os.open(os.devnull, os.O_RDONLY))
        loop.remove_reader(listening)
    gc.collect()
    assert refusals == DIALS
    try:
        assert {os.readlink(f"/proc/self/fd/{one}") for one in opened} == {os.devnull}
    finally:
        for one in opened:
            os.close(one)


def test_a_collected_socket_leaves_its_descriptor_to_its_owner() -> None:
    made = dialed_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)))
    number = made.fileno()
    del made
    gc.collect()
    os.fstat(number)
    os.close(number)
