"""Connections that are held: idle, half open, or never read from."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, cast

from collectionstore_attack.attacks.listings import store_pages
from collectionstore_attack.field import Address, Attack, Field
from collectionstore_attack.raw import REFUSED, Connection, connect, request, status

IDLE: Final = 2_000
READERS: Final = 200
ADDRESSES: Final = 40
PIPELINED: Final = 500
LIST: Final = "/api/v1/collections/attack-pages/documents?limit=1000"
RECONNECT_PAUSE_S: Final = 0.2

Use = Callable[[Connection, Address], Awaitable[None]]


async def hold(field: Field, addresses: tuple[Address, ...], count: int, use: Use, *, sources: int = 1) -> None:
    """Hold `count` connections to each address; a connection that the server closes is opened again."""

    async def one(address: Address, source: str) -> None:
        while field.remaining():
            connection = await connect(address, source=source)
            if connection is None:
                field.count(REFUSED)
                await asyncio.sleep(RECONNECT_PAUSE_S)
                continue
            field.count("opened")
            reader, writer = connection
            try:
                async with asyncio.timeout(field.remaining()):
                    await use(connection, address)
                    while await reader.read(1 << 16):
                        pass
                field.count("closed by the server")
                await asyncio.sleep(RECONNECT_PAUSE_S)
            except TimeoutError:
                field.count("held to the end")
            except OSError:
                field.count("reset by the server")
                await asyncio.sleep(RECONNECT_PAUSE_S)
            finally:
                writer.transport.abort()

    names = [f"127.0.0.{2 + number}" for number in range(sources)]
    await asyncio.gather(*(one(address, names[number % sources]) for address in addresses for number in range(count)))


async def _say_nothing(_: Connection, __: Address) -> None:
    """Leave the connection idle."""


async def _never_read(connection: Connection, address: Address) -> None:
    _, writer = connection
    writer.write(request("GET", LIST, address))
    # The reader is paused: bytes stay in the kernel's buffers, then in those of the server.
    _stop_reading(writer)
    await asyncio.Event().wait()


def _stop_reading(writer: asyncio.StreamWriter) -> None:
    # uvloop's transports are none of asyncio's by inheritance.
    cast(asyncio.ReadTransport, writer.transport).pause_reading()


async def _read_slowly(connection: Connection, address: Address) -> None:
    reader, writer = connection
    writer.write(request("GET", LIST, address))
    while await reader.read(1_000):  # noqa: ASYNC110 - the pause is the attack
        await asyncio.sleep(0.5)


async def _pipeline(connection: Connection, address: Address) -> None:
    _, writer = connection
    _stop_reading(writer)
    with contextlib.suppress(OSError):
        for _ in range(PIPELINED):
            writer.write(request("GET", LIST, address))
        await writer.drain()
    await asyncio.Event().wait()


async def _half_close(connection: Connection, address: Address) -> None:
    reader, writer = connection
    writer.write(request("GET", "/api/v1/kv/attack/absent", address))
    writer.write_eof()
    await status(reader, 5)


async def idle(field: Field) -> None:
    await hold(field, field.clients, IDLE // len(field.clients), _say_nothing)


async def idle_from_many(field: Field) -> None:
    await hold(field, field.clients, IDLE // len(field.clients), _say_nothing, sources=ADDRESSES)


async def idle_metrics(field: Field) -> None:
    await hold(field, field.metrics, IDLE // len(field.metrics), _say_nothing)


async def idle_peers(field: Field) -> None:
    await hold(field, field.peers, IDLE // len(field.peers), _say_nothing)


async def never_read(field: Field) -> None:
    await hold(field, field.clients, READERS // len(field.clients), _never_read)


async def read_slowly(field: Field) -> None:
    await hold(field, field.clients, READERS // len(field.clients), _read_slowly)


async def pipelined(field: Field) -> None:
    await hold(field, field.clients, 10, _pipeline)


async def half_closed(field: Field) -> None:
    """Close the sending half after the request: RFC 9112 9.6 wants the answer all the same."""
    before = field.answers.total()
    await hold(field, field.clients, 20, _half_close)
    assert field.answers.total() > before


async def connection_churn(field: Field) -> None:
    """Open and reset connections as fast as possible."""

    async def one(address: Address) -> None:
        while field.remaining():
            connection = await connect(address)
            field.count("opened" if connection else REFUSED)
            if connection is not None:
                connection[1].transport.abort()
            else:
                await asyncio.sleep(RECONNECT_PAUSE_S)

    addresses = (*field.clients, *field.metrics, *field.peers)
    await asyncio.gather(*(one(address) for address in addresses for _ in range(4)))


async def strangers_at_the_peer_port(field: Field) -> None:
    """Speak TLS without a certificate, plain HTTP and noise on the peer port."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    noise = bytes(range(256)) * 64

    async def one(address: Address, number: int) -> None:
        while field.remaining():
            try:
                async with asyncio.timeout(min(5.0, field.remaining())):
                    reader, writer = await asyncio.open_connection(
                        address.host,
                        address.port,
                        ssl=context if number % 3 == 0 else None,
                        local_addr=("127.0.0.2", 0),
                    )
                    writer.write(request("GET", "/peer", address) if number % 3 < 2 else noise)
                    answer = await reader.read(100)
                    writer.transport.abort()
            except (OSError, TimeoutError):
                field.count("refused or closed")
                await asyncio.sleep(0.02)
                continue
            field.count("answered" if answer else "closed")
            if b"101 Switching" in answer:
                field.broken.append("the peer port welcomed a connection without a certificate")
            await asyncio.sleep(0.02)

    await asyncio.gather(*(one(address, number) for address in field.peers for number in range(9)))


ATTACKS: Final = (
    Attack("idle", f"{IDLE:,} idle connections to the client ports", idle),
    Attack("idle-from-many", f"the same from {ADDRESSES} addresses", idle_from_many),
    Attack("idle-metrics", f"{IDLE:,} idle connections to the metrics ports", idle_metrics),
    Attack("idle-peers", f"{IDLE:,} idle connections to the peer ports", idle_peers),
    Attack("never-read", f"{READERS} connections request 4 MiB and never read", never_read, store_pages),
    Attack("read-slowly", f"{READERS} connections read 4 MiB at 2 kB/s", read_slowly, store_pages),
    Attack("pipelined", f"30 connections send {PIPELINED} requests for 4 MiB without reading", pipelined, store_pages),
    Attack("half-closed", "clients close their sending half after the request", half_closed),
    Attack("churn", "connections to all ports are opened and reset", connection_churn),
    Attack(
        "strangers", "plain HTTP, noise and TLS without a certificate on the peer ports", strangers_at_the_peer_port
    ),
)
