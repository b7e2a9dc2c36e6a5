"""Probes by TLS find a node that waits for its certificate."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from collectionstore_node.security.temporary_certificate import temporary_context


async def test_a_probe_that_verifies_nothing_gets_through_and_no_key_stays_on_the_disk(tmp_path: Path) -> None:
    context = temporary_context(tmp_path / "tls")
    assert list((tmp_path / "tls").iterdir()) == []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"alive")
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        probe = ssl.create_default_context()
        probe.check_hostname = False
        probe.verify_mode = ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], ssl=probe)
        assert await reader.read() == b"alive"
        writer.close()
