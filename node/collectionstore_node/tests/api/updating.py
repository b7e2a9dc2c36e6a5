"""What the tests of updates share: the collection, and requests that change it."""

from __future__ import annotations

from typing import Any

import orjson

from collectionstore_node.statemachine.commands import Command, Outcome
from collectionstore_node.tests.api.http_clients import JSON, Client, Reply
from collectionstore_node.tests.api.memory_replica import MemoryReplica

COLLECTION = "/api/v1/collections/people"
ADA = f"{COLLECTION}/documents/ada"
MERGE = {"Content-Type": "application/merge-patch+json"}
PATCH = {"Content-Type": "application/json-patch+json"}
LINES = {"Content-Type": "application/x-ndjson"}


async def patch(client: Client, body: Any, query: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.send("PATCH", ADA + query, orjson.dumps(body), JSON | named)


async def document(client: Client, target: str = ADA) -> Any:
    return (await client.get(target)).json


async def numbers(client: Client) -> list[int]:
    found = await client.post(f"{COLLECTION}:find", {"limit": 100})
    return [one["document"]["n"] for one in found.json["documents"]]


class Breaker:
    """Lets some commands through, then applies one and loses its outcome."""

    def __init__(self, replica: MemoryReplica, good: int, error: Exception) -> None:
        self._propose = replica.propose
        self._good = good
        self._error = error

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        outcome = None
        if self._good >= 0:
            outcome = await self._propose(command, timeout_s=timeout_s)
        self._good -= 1
        if outcome is None or self._good < 0:
            raise self._error
        return outcome
