"""Why connections close: with a close code and a text for the other side, or because the socket broke."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import ClientWebSocketResponse
from aiohttp.web import WebSocketResponse

from collectionstore_node.transport.wire.close_codes import CloseCode, close_text

WebSocket: TypeAlias = ClientWebSocketResponse[Any] | WebSocketResponse[Any]


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a connection closed. `code` is None when the socket broke without a close frame."""

    code: int | None
    detail: str
    by_peer: bool

    @property
    def graceful(self) -> bool:
        """Whether it closed as part of normal operation."""
        return self.code in (CloseCode.DONE, CloseCode.SHUTTING_DOWN, CloseCode.ROTATED, CloseCode.SUPERSEDED)

    def __str__(self) -> str:
        if self.code is None:
            return self.detail
        return f"{close_code_name(self.code)}: {self.detail}" if self.detail else close_code_name(self.code)


def close_code_name(code: int) -> str:
    """Return the name of a close code for logs and metrics."""
    try:
        return CloseCode(code).name.lower()
    except ValueError:
        return f"websocket_{code}"


def close_reason_of(task: asyncio.Task[CloseReason]) -> CloseReason:
    """Return the result of a finished `Connection.run`, also when its task was cancelled."""
    return CloseReason(None, "cancelled", by_peer=False) if task.cancelled() else task.result()


async def close_socket(socket: WebSocket, code: CloseCode, detail: str, timeout_s: float) -> None:
    """Send a close frame and close; after `timeout_s` the socket is closed without the peer's answer."""
    try:
        async with asyncio.timeout(timeout_s):
            await socket.close(code=code, message=close_text(detail))
    except TimeoutError:
        # The peer reads nothing any more; aiohttp has closed the TCP transport when it was cancelled.
        return
