"""The documents that all programs write and read, and how they are written for the first time."""

from __future__ import annotations

import random
import ssl
from collections.abc import Mapping, Sequence

import aiohttp

from collectionstore_bench.load.http_load import Target, encode_request, send_each_once
from collectionstore_testkit.clusters.errors import ClusterFailed

COLLECTION = "bench"
LOAD_CONNECTIONS = 32
LOAD_TIMEOUT_S = 120.0
SEED = 20_240_607


def make_documents(count: int, size_bytes: int, prefix: str = "document-") -> list[tuple[str, bytes]]:
    """Return `count` (id, JSON object of exactly `size_bytes`) in random order; the same ones in every run."""
    chance = random.Random(SEED)
    documents = []
    for number in range(count):
        head = b'{"number":%d,"text":"' % number
        filling = chance.randbytes(size_bytes).hex().encode()[: size_bytes - len(head) - 2]
        documents.append((f"{prefix}{number:08d}", head + filling + b'"}'))
    chance.shuffle(documents)
    return documents


def make_requests(
    targets: Sequence[Target], documents: Sequence[tuple[str, bytes]], headers: Mapping[str, str] | None = None
) -> dict[str, dict[Target, list[bytes]]]:
    """Return the encoded requests of each workload for each target."""
    path = f"/api/v1/collections/{COLLECTION}/documents"
    content_type = {"Content-Type": "application/json", **(headers or {})}
    return {
        "write": {
            target: [encode_request("PUT", target, f"{path}/{one}", body, content_type) for one, body in documents]
            for target in targets
        },
        "read": {
            target: [encode_request("GET", target, f"{path}/{one}", headers=headers) for one, _ in documents]
            for target in targets
        },
    }


async def create_collection(session: aiohttp.ClientSession, url: str) -> None:
    """Create the collection unless it exists. Raises ClusterFailed."""
    async with session.put(f"{url}/api/v1/collections/{COLLECTION}") as response:
        if response.status not in (200, 201):
            raise ClusterFailed(f"creating a collection was answered with {response.status}: {await response.text()}")


async def fill(
    session: aiohttp.ClientSession,
    url: str,
    *,
    size: int,
    count: int,
    prefix: str,
    context: ssl.SSLContext | None = None,
) -> None:
    """Create the collection and `count` documents of `size` bytes through the node at `url`. Raises ClusterFailed."""
    await create_collection(session, url)
    target = Target.parse(url)
    writes = make_requests([target], make_documents(count, size, prefix))["write"]
    await send_each_once([target], writes, connections=LOAD_CONNECTIONS, timeout_s=LOAD_TIMEOUT_S, context=context)
