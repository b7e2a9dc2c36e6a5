"""`WebhookSink`: records as lines of JSON, sent to a URL in batches.

A batch is one POST of `application/x-ndjson`; any status of 2xx says that the receiver has it. Its lines are chained,
and the first one of a process is a header. A batch whose answer was lost is sent again with the same lines and the same
`Idempotency-Key`, so a receiver can tell a repetition from a record.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_node.audit.chain import Origin, Position, append, begin_file
from collectionstore_node.audit.events import Entry
from collectionstore_node.audit.sinks import SinkFailed

TIMEOUT_S: Final = 10.0
"""For the whole exchange: a receiver that hangs, or answers byte by byte, is as one that is not there."""
TOKEN_BYTES_MAX: Final = 16 << 10


class WebhookSink:
    """Implements `Sink`. Belongs to one event loop."""

    linger_s = 0.0

    def __init__(
        self,
        url: str,
        origin: Origin,
        *,
        chain: str,
        wall_ms: Callable[[], int],
        token_file: Path | None = None,
        ca: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`token_file` and `ca` are read again for every batch and every session: both are exchanged now and then."""
        self._url = url
        self._origin = origin
        self._wall_ms = wall_ms
        self._token_file = token_file
        self._ca = ca
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._position = Position(chain)
        self._session: aiohttp.ClientSession | None = None

    @property
    def position(self) -> Position:
        """Where the chain stands."""
        return self._position

    async def send(self, entries: Sequence[Entry]) -> None:
        """Send a batch. Raises `SinkFailed`."""
        position, lines = self._position, []
        if not position.file:
            line, position = begin_file(position, self._origin, self._wall_ms())
            lines.append(line)
        for entry in entries:
            line, position = append(position, entry)
            lines.append(line)
        headers = {
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": f"{position.chain}-{self._position.sequence + 1}",
        }
        try:
            token = await asyncio.to_thread(_read_token, self._token_file)
            if token:
                headers["Authorization"] = f"Bearer {token}"
            session = await self._opened()
            async with session.post(
                self._url, data=b"".join(lines), headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # Of the error its kind alone: the text of some has the URL, whose query may be a secret.
            raise SinkFailed(f"the webhook cannot be reached: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise SinkFailed(f"the webhook answered {status}")
        self._position = position

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._ca is not None:
                context = await asyncio.to_thread(ssl.create_default_context, cafile=str(self._ca))
            connector = aiohttp.TCPConnector(limit=1, ssl=context)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)
        return self._session


def _read_token(file: Path | None) -> str:
    if file is None:
        return ""
    with file.open("rb") as opened:
        text = opened.read(TOKEN_BYTES_MAX).decode().strip()
    if not text.isprintable():
        raise ValueError("the token is not one line of text")
    return text
