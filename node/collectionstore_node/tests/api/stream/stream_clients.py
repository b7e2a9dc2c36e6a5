"""A client of streams for tests, in both forms of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
import orjson

MSGPACK = "collectionstore.v1.msgpack"
JSON = "collectionstore.v1.json"
PATIENCE_S = 10.0
"""For what must come; it never passes in a test that succeeds."""


class StreamClient:
    """One stream; operations are given and answers returned as dictionaries, documents as values in both forms."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.json = socket.protocol == JSON
        self.messages = 0
        """Messages that have arrived."""
        self._items: list[dict[str, Any]] = []

    def encode(self, *operations: Mapping[str, Any]) -> bytes:
        """Return a message of operations."""
        if self.json:
            return b"\n".join(map(orjson.dumps, operations))
        return msgspec.msgpack.encode([_texts(one) for one in operations])

    async def send(self, *operations: Mapping[str, Any]) -> None:
        await self.send_message(self.encode(*operations))

    async def send_message(self, message: bytes) -> None:
        if self.json:
            await self.socket.send_str(message.decode())
        else:
            await self.socket.send_bytes(message)

    async def item(self) -> dict[str, Any]:
        """Return the next answer or event."""
        while not self._items:
            async with asyncio.timeout(PATIENCE_S):
                message = await self.socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                raise ConnectionResetError(f"{message.type.name} {self.socket.close_code} {message.extra or ''}")
            self.messages += 1
            self._items = self._decode(message.data)
        return self._items.pop(0)

    async def answers(self, count: int) -> dict[int, dict[str, Any]]:
        """Return the next answers by tag."""
        found = [await self.item() for _ in range(count)]
        by_tag = {one["tag"]: one for one in found}
        assert len(by_tag) == count
        return by_tag

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one operation and return its answer, the body decoded."""
        await self.send({"op": op, "tag": 7, **fields})
        answer = await self.item()
        assert answer["tag"] == 7
        return answer

    async def closed(self) -> tuple[int | None, str]:
        """Return the code and the reason with which the server closes; answers before it are left out."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    return message.data, message.extra or ""
                if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR):
                    return self.socket.close_code, ""

    async def close(self) -> None:
        await self.socket.close()

    def _decode(self, data: bytes | str) -> list[dict[str, Any]]:
        if isinstance(data, str):
            return [orjson.loads(line) for line in data.split("\n")]
        items: list[dict[str, Any]] = msgspec.msgpack.decode(data)
        for one in items:
            if "body" in one:
                one["body"] = orjson.loads(one["body"])
        return items


async def connect(
    session: aiohttp.ClientSession, port: int, protocol: str = MSGPACK, headers: Mapping[str, str] | None = None
) -> StreamClient:
    """Open a stream and read its hello. Raises `aiohttp.WSServerHandshakeError`."""
    socket = await session.ws_connect(
        f"http://127.0.0.1:{port}/api/v1/stream", protocols=(protocol,), headers=headers, max_msg_size=0, autoping=True
    )
    stream = StreamClient(socket)
    stream.hello = await stream.item()
    return stream


def _texts(operation: Mapping[str, Any]) -> dict[str, Any]:
    """In msgpack documents and bodies travel as text."""
    return {name: _text(operation, value) if name in _TEXTS else value for name, value in operation.items()}


_TEXTS = frozenset(("document", "transaction", "body", "when", "array_filters"))


def _text(operation: Mapping[str, Any], value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if operation["op"] == "bulk" and isinstance(value, list):
        return b"\n".join(map(orjson.dumps, value))
    return orjson.dumps(value)
