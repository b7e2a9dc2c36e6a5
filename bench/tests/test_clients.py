"""The benchmark of the Python client: a round against the engine in memory, and what is printed."""

from __future__ import annotations

import pytest

from collectionstore import AsyncClient
from collectionstore.testing import memory_store
from collectionstore_bench.clients.__main__ import KEYED, RAW, UNKEYED, shown
from collectionstore_bench.clients.python_load import ByMember, run_client_round
from collectionstore_bench.load.documents import COLLECTION


@pytest.mark.parametrize("workload", ["write", "read"])
async def test_a_round(workload: str) -> None:
    hooks = ByMember()
    documents: list[tuple[str, dict[str, object]]] = [(f"d{n}", {"n": n}) for n in range(10)]
    async with memory_store() as store, AsyncClient(store.url, hooks=hooks) as client:
        collection = await client.create_collection(COLLECTION)
        for name, document in documents:
            await collection.put(name, document)
        hooks.calls.clear()
        done = await run_client_round(client, workload, documents, 4, 0.05)
        assert done.operations > 0
        assert sum(hooks.calls.values()) == done.operations
        assert done.processor_us > 0


def test_what_is_printed() -> None:
    rounds = [
        (workload, name, speed, 5.0)
        for workload in ("write", "read")
        for name, speed in ((RAW, 1_000.0), (KEYED, 800.0), (UNKEYED, 900.0))
    ]
    text = shown(rounds, {"a": 100, "b": 110})
    assert "80 %" in text
    assert "reads by member: 100, 110; apart by 10 %" in text
