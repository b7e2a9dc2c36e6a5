"""Requests as bytes, sent as no library would send them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from collectionstore_attack.field import SOURCE, Address

CONNECT_TIMEOUT_S: Final = 5.0
HEAD_BYTES_MAX: Final = 1 << 20

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

REFUSED: Final = "refused"
CLOSED: Final = "closed"
SILENT: Final = "silent"


def request(
    method: str, target: str, address: Address, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """Return a request as bytes; Content-Length is added for a body unless `headers` frame it."""
    fields = {"Host": str(address), **(headers or {})}
    if body is not None and not {"content-length", "transfer-encoding"} & {name.lower() for name in fields}:
        fields["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


async def connect(address: Address, *, source: str = SOURCE) -> Connection | None:
    """Open a connection from `source`; None if it is refused or not accepted in time."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(
                address.host, address.port, local_addr=(source, 0), limit=HEAD_BYTES_MAX
            )
    except (OSError, TimeoutError):
        return None


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Connection | None]:
    """Open a connection, and reset it at the end of the block; None if it is refused."""
    connection = await connect(address)
    try:
        yield connection
    finally:
        if connection is not None:
            connection[1].transport.abort()


async def status(reader: asyncio.StreamReader, timeout_s: float) -> str:
    """Return the status code of the next answer; CLOSED if the server closed first, SILENT after the timeout."""
    try:
        async with asyncio.timeout(timeout_s):
            line = await reader.readline()
    except TimeoutError:
        return SILENT
    except (OSError, ValueError):
        return CLOSED
    words = line.split()
    return words[1].decode("latin-1") if len(words) >= 2 else CLOSED


async def exchange(address: Address, content: bytes, timeout_s: float) -> str:
    """Send bytes on a connection of their own; return the status of the answer, REFUSED, CLOSED or SILENT."""
    async with connected(address) as connection:
        if connection is None:
            return REFUSED
        reader, writer = connection
        writer.write(content)
        # A server may answer and close before it has read everything: its answer is what counts.
        with contextlib.suppress(OSError):
            await writer.drain()
        return await status(reader, timeout_s)
