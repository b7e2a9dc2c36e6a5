"""The pages of a member that go into a report, and how one is fetched over plain HTTP on this machine."""

from __future__ import annotations

from typing import Final

import aiohttp

from collectionstore_local.report.items import ITEM_BYTES_MAX, NotHad, Shape

MEMBER_PAGES: Final[tuple[tuple[str, str, Shape], ...]] = (
    ("status", "status.json", "json"),
    ("readyz", "readyz.json", "json"),
    ("livez", "livez.json", "json"),
    ("metrics", "metrics.txt", "text"),
    ("debug/raft", "raft.json", "json"),
    ("debug/tasks", "tasks.json", "json"),
)
"""Path on the metrics port, file in the report, and how it is redacted."""

OPERATOR_PAGES: Final[tuple[tuple[str, str, Shape], ...]] = (
    ("livez", "livez.json", "json"),
    ("readyz", "readyz.json", "json"),
    ("metrics", "metrics.txt", "text"),
    ("debug/tasks", "tasks.json", "json"),
    ("debug/clusters", "clusters.json", "json"),
)


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return what a URL answers, whatever its status: a probe that says no is what is looked for. Raises NotHad."""
    try:
        async with session.get(url, allow_redirects=False) as answer:
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) >= ITEM_BYTES_MAX:
                    break
    except (aiohttp.ClientError, OSError) as error:
        raise NotHad(str(error) or type(error).__name__) from error
    if answer.status == 404:
        raise NotHad("it has no such page: it may be of an older version")
    return bytes(content)
