"""A WebSocket client that sends what no library would."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from contextlib import suppress

from collectionstore_node.tests.api.http_clients import RawClient, read_head
from collectionstore_node.tests.api.stream.stream_clients import MSGPACK, PATIENCE_S

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
FIN = 0x80
RSV1 = 0x40


def handshake(protocol: str = MSGPACK, *, without: str = "", **changed: str) -> bytes:
    """Return the opening request; headers are changed by name with underscores, or left out."""
    headers = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Protocol": protocol,
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    headers.pop(without, None)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET /api/v1/stream HTTP/1.1\r\n{lines}\r\n".encode()


def frame(opcode: int, payload: bytes = b"", *, first: int = FIN, size: int | None = None) -> bytes:
    """Return a masked frame; `size` is the size that it announces, if that is another one."""
    mask = os.urandom(4)
    length = len(payload) if size is None else size
    if length < 126:
        head = bytes((first | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((first | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    stretched = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(len(payload), "big")
    return head + mask + masked


class RawStream:
    """One stream as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *data: bytes) -> None:
        for one in data:
            self.writer.write(one)
            await self.writer.drain()

    async def frame(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame. Raises `IncompleteReadError` at the end."""
        async with asyncio.timeout(PATIENCE_S):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def closed(self) -> tuple[int, str]:
        """Return the code and the reason of the server's close frame; what comes before it is left out."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def ended(self) -> None:
        """Return when the server has closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.reader.read(1 << 16):
                pass

    async def abort(self) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


async def raw_stream(raw: RawClient, protocol: str = MSGPACK) -> RawStream:
    """Open a stream and read its hello."""
    reader, writer = await raw.connect()
    stream = RawStream(reader, writer)
    await stream.send(handshake(protocol))
    assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
    await stream.frame()
    return stream


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds, after some turn of the loop."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0)
