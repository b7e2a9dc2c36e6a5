"""Pipelined streams that are abused: answers not read, more operations than fit, bytes that are no messages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

from collectionstore_attack.attacks import large_values
from collectionstore_attack.field import Address, Attack, Field
from collectionstore_attack.raw import CLOSED, REFUSED, SILENT, Connection, connected, request

CREDITS: Final = 1_024
READERS: Final = 60
FLOODING: Final = 12
BATCH: Final = 256
ANSWER_TIMEOUT_S: Final = 10.0
RECONNECT_PAUSE_S: Final = 0.1

_TEXT, _BINARY, _CLOSE, _PING, _CONTINUATION = 1, 2, 8, 9, 0
_FIN, _RSV1 = 0x80, 0x40
_HANDSHAKE: Final = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    "Sec-WebSocket-Protocol": "collectionstore.v1.json",
}


def frame(opcode: int, payload: bytes = b"", *, first: int = _FIN, size: int | None = None) -> bytes:
    """Return a frame, masked with zeros; `size` is what it announces, if that is something else."""
    length = len(payload) if size is None else size
    if length < 126:
        head = bytes((first | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((first | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, 0xFF)) + length.to_bytes(8, "big")
    return head + bytes(4) + payload


def message(operations: list[dict[str, object]]) -> bytes:
    """Return a message of operations."""
    return frame(_TEXT, b"\n".join(json.dumps(one).encode() for one in operations))


@asynccontextmanager
async def opened(field: Field, address: Address) -> AsyncIterator[Connection | None]:
    """Open a stream and read its hello; None when it is refused, which is counted."""
    async with connected(address) as connection:
        refusal = REFUSED if connection is None else await _handshake(connection, address)
        if refusal:
            field.count(refusal)
            await asyncio.sleep(RECONNECT_PAUSE_S)
        yield None if refusal else connection


async def _handshake(connection: Connection, address: Address) -> str:
    """Return the status of a refusal, or CLOSED; empty when the stream is open."""
    reader, writer = connection
    writer.write(request("GET", "/api/v1/stream", address, _HANDSHAKE))
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                return head[9:12].decode("latin-1")
            await read_frame(reader)
    except (OSError, EOFError, TimeoutError):
        return CLOSED
    return ""


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the opcode and the payload of the next frame. Raises OSError or EOFError."""
    first, size = await reader.readexactly(2)
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first & 0x0F, await reader.readexactly(size)


async def never_read(field: Field) -> None:
    """Ask for large values on many streams, with all credits, and read nothing."""

    async def one(address: Address) -> None:
        while field.remaining():
            async with opened(field, address) as stream:
                if stream is None:
                    continue
                field.count("opened")
                _, writer = stream
                # uvloop's transports are none of asyncio's by inheritance.
                cast(asyncio.ReadTransport, writer.transport).pause_reading()
                writer.write(
                    message(
                        [
                            {"op": "get_value", "tag": tag, "bucket": large_values.BUCKET, "key": large_values.key(tag)}
                            for tag in range(CREDITS)
                        ]
                    )
                )
                try:
                    async with asyncio.timeout(field.remaining()):
                        await writer.wait_closed()
                    field.count("closed by the server")
                except TimeoutError:
                    field.count("held to the end")
                except OSError:
                    field.count("reset by the server")

    await asyncio.gather(*(one(address) for address in field.clients for _ in range(READERS // len(field.clients))))


async def flood(field: Field) -> None:
    """Write with all credits on several streams: what is refused is refused by operation, with the time to wait."""

    async def one(address: Address, number: int) -> None:
        while field.remaining():
            async with opened(field, address) as stream:
                if stream is None:
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(field.remaining()):
                        await _keep_in_flight(field, stream, number)

    await asyncio.gather(*(one(field.clients[number % len(field.clients)], number) for number in range(FLOODING)))


async def _keep_in_flight(field: Field, stream: Connection, number: int) -> None:
    reader, writer = stream
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        operations: list[dict[str, object]] = [
            {"op": "put_value", "tag": tag, "bucket": "attack", "key": f"s{number}-{tag % 500}", "value": "eA=="}
            for tag in range(sent, sent + count)
        ]
        sent += count
        writer.write(message(operations))

    for _ in range(CREDITS // BATCH):
        send(BATCH)
    answered = 0
    while True:
        opcode, payload = await read_frame(reader)
        if opcode == _CLOSE:
            field.count(f"closed {int.from_bytes(payload[:2], 'big')}")
            field.broken.append("a stream within its credits was closed")
            return
        if opcode != _TEXT:
            continue
        for line in payload.split(b"\n"):
            answer = json.loads(line)
            field.count(answer["status"])
            answered += 1
            if answer["status"] == 503 and "retry_after_ms" not in answer["body"]:
                field.broken.append("an operation was refused without a time to wait")
        if answered >= BATCH:
            # Slower than one can be refused, so that the attack does not become a test of that.
            await asyncio.sleep(0.01)
            send(answered)
            answered = 0


def _cases() -> list[tuple[str, bytes, str]]:
    """Return (what, bytes, right close codes)."""
    get = b'{"op":"get_value","tag":1,"bucket":"b","key":"k"}'
    write = b'{"op":"delete_value","tag":1,"bucket":"b","key":"k"}'
    fragments = frame(_TEXT, b"{", first=0) + frame(_CONTINUATION, b"x" * 60_000, first=0) * 80
    many = b"\n".join(get.replace(b":1,", b":%d," % tag) for tag in range(CREDITS + 1))
    return [
        ("noise", bytes(range(256)) * 16, "1002 1009"),
        ("a compressed frame", frame(_TEXT, get, first=_FIN | _RSV1), "1002"),
        ("a continuation of nothing", frame(_CONTINUATION, get), "1002"),
        ("a message of 1 TiB announced", frame(_TEXT, b"{", size=1 << 40), "1009"),
        ("fragments without an end", fragments, "1009 1013"),
        ("a binary message", frame(_BINARY, get), "1003"),
        ("no JSON", frame(_TEXT, b"[" * 100_000), "1007"),
        ("half a million lines", frame(_TEXT, b"{}\n" * 500_000), "4000"),
        ("a line of 2 MB", frame(_TEXT, b'{"tag":' + b" " * 2_000_000), "1007"),
        ("one tag twice", frame(_TEXT, write + b"\n" + write), "4001"),
        ("more than the credits", frame(_TEXT, many), "4000"),
        ("100,000 pings", frame(_PING) * 100_000 + frame(_CLOSE), "1000"),
    ]


async def garbage(field: Field) -> None:
    """Send what is no message, or one that breaks a rule, and check the code of the close frame."""
    cases = _cases()

    async def one(number: int) -> None:
        at = number
        while field.remaining():
            what, data, right = cases[at % len(cases)]
            code = await _closed(field, field.clients[at % len(field.clients)], data)
            at += 1
            if code is None:
                continue
            field.count(code)
            if code not in (*right.split(), CLOSED, "1013"):
                field.broken.append(f"{what} was closed with {code}")

    await asyncio.gather(*(one(number) for number in range(6)))


async def _closed(field: Field, address: Address, data: bytes) -> str | None:
    """Return the code of the server's close frame; CLOSED without one, SILENT after a while, None if refused."""
    async with opened(field, address) as stream:
        if stream is None:
            return None
        reader, writer = stream
        sending = asyncio.ensure_future(_send(writer, data))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while True:
                    opcode, payload = await read_frame(reader)
                    if opcode == _CLOSE:
                        return str(int.from_bytes(payload[:2], "big"))
        except TimeoutError:
            return SILENT
        except (OSError, EOFError):
            return CLOSED
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    # A server may close before it has read everything: its close frame is what counts.
    with contextlib.suppress(OSError):
        writer.write(data)
        await writer.drain()


ATTACKS: Final = (
    Attack(
        "stream-never-read",
        f"{READERS} streams ask for {CREDITS:,} MiB each and never read",
        never_read,
        large_values.store,
    ),
    Attack("stream-flood", f"{FLOODING} streams write with all their credits", flood),
    Attack("stream-garbage", "streams with bytes that are no messages, or break a rule", garbage),
)
