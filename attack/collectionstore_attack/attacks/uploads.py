"""Requests that arrive slowly, or are never finished."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_attack.attacks.connections import hold
from collectionstore_attack.field import Address, Attack, Field
from collectionstore_attack.raw import Connection, request

ANNOUNCED: Final = 64
SLOW: Final = 1_024
PATH: Final = "/api/v1/kv/attack/slow?timeout=60s"


async def _trickle(connection: Connection, content: bytes, pause_s: float) -> None:
    _, writer = connection
    for byte in content:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(pause_s)


async def _announce(connection: Connection, address: Address) -> None:
    _, writer = connection
    writer.write(request("PUT", PATH, address, {"Content-Length": str(1 << 20)}))
    await writer.drain()
    await _trickle(connection, b"x" * 1_000, 1.0)


async def _two_bytes(connection: Connection, address: Address) -> None:
    _, writer = connection
    writer.write(request("PUT", PATH, address, {"Content-Length": "2"}))
    await writer.drain()
    await _trickle(connection, b"x", 30.0)


async def _slow_head(connection: Connection, address: Address) -> None:
    await _trickle(connection, request("GET", "/status", address, {"X-A": "a" * 4_000}), 0.5)


async def _chunks(connection: Connection, address: Address) -> None:
    _, writer = connection
    writer.write(request("PUT", PATH, address, {"Transfer-Encoding": "chunked"}))
    for _ in range(10_000):
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.5)


async def _extensions(connection: Connection, address: Address) -> None:
    _, writer = connection
    writer.write(request("PUT", PATH, address, {"Transfer-Encoding": "chunked"}))
    while True:
        writer.write(b"1;" + b"e" * 60_000 + b"\r\nx\r\n")
        await writer.drain()


async def _abort(connection: Connection, address: Address) -> None:
    _, writer = connection
    writer.write(request("PUT", PATH, address, {"Content-Length": "1000000"}) + b"x" * 100_000)
    await writer.drain()
    writer.transport.abort()


async def announced(field: Field) -> None:
    await hold(field, field.clients, ANNOUNCED, _announce)


async def slow_puts(field: Field) -> None:
    await hold(field, field.clients, SLOW // len(field.clients), _two_bytes)


async def slow_puts_from_many(field: Field) -> None:
    await hold(field, field.clients, SLOW // len(field.clients), _two_bytes, sources=40)


async def slow_heads(field: Field) -> None:
    await hold(field, field.clients, 100, _slow_head)


async def slow_chunks(field: Field) -> None:
    await hold(field, field.clients, 100, _chunks)


async def chunk_extensions(field: Field) -> None:
    await hold(field, field.clients, 4, _extensions)


async def aborted(field: Field) -> None:
    await hold(field, field.clients, 8, _abort)


ATTACKS: Final = (
    Attack(
        "announced-uploads", f"{ANNOUNCED} connections per member announce 1 MiB and send a byte a second", announced
    ),
    Attack("slow-puts", f"{SLOW:,} PUTs whose second byte never comes", slow_puts),
    Attack("slow-puts-from-many", "the same from 40 addresses", slow_puts_from_many),
    Attack("slow-heads", "100 connections per member send a header in pieces of one byte", slow_heads),
    Attack("slow-chunks", "100 connections per member send chunks of one byte", slow_chunks),
    Attack("chunk-extensions", "chunks with 60 kB of extensions each", chunk_extensions),
    Attack("aborted-uploads", "uploads that are reset in the middle", aborted),
)
