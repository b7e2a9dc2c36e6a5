"""Watches that are abused: hundreds that are never read, costly filters, places that are none."""

from __future__ import annotations

import asyncio
import json
from typing import Final
from urllib.parse import quote

from collectionstore_attack.field import Address, Attack, Field
from collectionstore_attack.flood import Request, each, flood
from collectionstore_attack.raw import REFUSED, connected, request, status

COLLECTION: Final = "/api/v1/collections/attack-watches"
JSON: Final = {"Content-Type": "application/json"}
WATCHES: Final = 600
CONCURRENCY: Final = 30
DOCUMENTS: Final = 40
DOCUMENT_BYTES: Final = 200_000
ANSWER_TIMEOUT_S: Final = 10.0
PAUSE_S: Final = 0.1


async def store_large(field: Field) -> None:
    """Make a history that no buffer of a connection holds."""
    await each(field, [Request("PUT", COLLECTION)])
    document = json.dumps({"text": "x" * DOCUMENT_BYTES, "n": [1] * 2_000}).encode()
    await each(
        field, [Request("PUT", f"{COLLECTION}/documents/{number}", document, JSON) for number in range(DOCUMENTS)]
    )


async def _open(field: Field, address: Address, target: str) -> None:
    """Open a watch, read its status, and nothing more until the attack is over or it is cut."""
    async with connected(address) as connection:
        if connection is None:
            field.count(REFUSED)
            await asyncio.sleep(PAUSE_S)
            return
        reader, writer = connection
        writer.write(request("GET", target, address))
        answer = await status(reader, ANSWER_TIMEOUT_S)
        field.count(answer)
        if answer != "200":
            await asyncio.sleep(PAUSE_S)
            return
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # the reader would take as much as it may
        ended = asyncio.ensure_future(writer.wait_closed())
        await asyncio.wait((ended,), timeout=field.remaining())
        ended.cancel()


async def _hold(field: Field, targets: list[str]) -> None:
    async def one(number: int) -> None:
        while field.remaining():
            await _open(field, field.clients[number % len(field.clients)], targets[number % len(targets)])

    await asyncio.gather(*(one(number) for number in range(WATCHES)))


async def unread(field: Field) -> None:
    await _hold(
        field, [f"{COLLECTION}:watch?from=snapshot", f"{COLLECTION}:watch?from=0", "/api/v1/:watch?from=0&before=true"]
    )


async def costly(field: Field) -> None:
    filters: list[dict[str, object]] = [
        {"$or": [{"text": {"$regex": f"(x|y)*{at}z"}} for at in range(16)]},
        {"$nor": [{"n": at} for at in range(2, 100)]},
        {"n": {"$elemMatch": {"$gt": 5, "$lt": 2}}},
        {"$expr": {"$gt": [{"$size": {"$ifNull": ["$n", []]}}, 9_999]}},
    ]
    await _hold(field, [f"{COLLECTION}:watch?from=0&filter={quote(json.dumps(one))}" for one in filters])


async def places(field: Field) -> None:
    token = "A" * 36
    headers = [{"Last-Event-ID": text} for text in (token, "x", "A" * 8_000, "0", "-1")]
    texts = (token, "9" * 19, "9" * 30, "%00", "%0d%0aX: y", "now%20", "-1", "1e9", "")
    asked = [
        *(Request("GET", f"{COLLECTION}:watch?wait=0s&from={text}") for text in texts),
        *(Request("GET", f"{COLLECTION}:watch?wait=0s", b"", one) for one in headers),
        Request("POST", "/api/v1/consumers/attack:ack", json.dumps({"token": token}).encode(), JSON),
        Request("PUT", "/api/v1/consumers/attack", json.dumps({"from": 1 << 60}).encode(), JSON),
    ]
    await flood(field, CONCURRENCY, lambda number: asked[number % len(asked)])


ATTACKS: Final = (
    Attack("unread-watches", f"{WATCHES} watches of all there was are never read", unread, store_large),
    Attack("costly-watches", f"{WATCHES} watches ask costly filters about large documents", costly, store_large),
    Attack("places", f"{CONCURRENCY} clients watch from places that are none", places, store_large),
)
