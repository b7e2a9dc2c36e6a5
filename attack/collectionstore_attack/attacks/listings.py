"""Reads that are large, and reads that find nothing after a long search."""

from __future__ import annotations

from typing import Final

from collectionstore_attack.attacks.large_values import BUCKET, store
from collectionstore_attack.attacks.transactions import transaction
from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import Request, each, flood

CONCURRENCY: Final = 30
TOMBSTONES: Final = 20_000
COLLECTIONS: Final = 2_000
_PER_TRANSACTION: Final = 100


async def lists(field: Field) -> None:
    await flood(field, CONCURRENCY, lambda _: Request("GET", "/api/v1/collections/attack-pages/documents?limit=1000"))


async def store_pages(field: Field) -> None:
    """Store documents that fill a page of 4 MiB."""
    document = b'{"a":"' + b"x" * 32_000 + b'"}'
    requests = [
        Request(
            "PUT",
            f"/api/v1/collections/attack-pages/documents/{number:04}",
            document,
            {"Content-Type": "application/json"},
        )
        for number in range(200)
    ]
    await each(field, [Request("PUT", "/api/v1/collections/attack-pages")])
    await each(field, requests)


async def lists_of_values(field: Field) -> None:
    await flood(field, CONCURRENCY, lambda _: Request("GET", f"/api/v1/kv/{BUCKET}?values=true&limit=1000"))


async def store_tombstones(field: Field) -> None:
    """Write and delete many keys under one prefix."""
    for operation in ({"op": "put", "value": "eA=="}, {"op": "delete"}):
        batches = [
            transaction(
                [],
                [
                    operation | {"bucket": "attack-gone", "key": f"gone/{first + index}"}
                    for index in range(_PER_TRANSACTION)
                ],
            )
            for first in range(0, TOMBSTONES, _PER_TRANSACTION)
        ]
        await each(field, batches, concurrency=8)


async def lists_of_nothing(field: Field) -> None:
    await flood(field, CONCURRENCY, lambda _: Request("GET", "/api/v1/kv/attack-gone?prefix=gone/&limit=1000"))


async def store_collections(field: Field) -> None:
    """Create many collections."""
    await each(
        field, [Request("PUT", f"/api/v1/collections/attack-{number}") for number in range(COLLECTIONS)], concurrency=16
    )


async def status_pages(field: Field) -> None:
    pages = ("/status", "/metrics", "/api/v1/cluster", "/api/v1/collections?limit=1000", "/debug/raft", "/debug/tasks")
    await flood(field, CONCURRENCY, lambda number: Request("GET", pages[number % len(pages)]))


async def stale_reads(field: Field) -> None:
    await flood(
        field, 64, lambda number: Request("GET", f"/api/v1/kv/{BUCKET}/large-{number % 32:03}?consistency=stale")
    )


ATTACKS: Final = (
    Attack("lists", f"{CONCURRENCY} clients read pages of 4 MiB", lists, store_pages),
    Attack("lists-of-values", f"{CONCURRENCY} clients read pages of values in base64", lists_of_values, store),
    Attack("lists-of-nothing", f"lists over {TOMBSTONES:,} deleted keys", lists_of_nothing, store_tombstones),
    Attack(
        "status-pages", f"status, metrics and debug pages; {COLLECTIONS:,} collections", status_pages, store_collections
    ),
    Attack("large-reads", "64 clients read 1 MiB values", stale_reads, store),
)
