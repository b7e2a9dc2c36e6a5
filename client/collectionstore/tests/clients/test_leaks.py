"""What is left half done leaves nothing behind: warnings of resources are errors here."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from collectionstore import AsyncClient, Client, Document
from collectionstore.errors import CollectionStoreError, ConfigurationError, InvalidArgument
from collectionstore.testing import memory_store, running_memory_store


async def test_half_read_streams_of_an_async_client() -> None:
    async with memory_store() as store:
        async with AsyncClient(store.url) as client:
            people = await client.create_collection("people")
            await people.import_documents({"_id": f"{n:05}", "text": "x" * 200} for n in range(3_000))
            async for _ in people.export_lines():
                break
            async for _ in people.find(batch_size=5):
                break
            watch = people.watch(start=0)
            assert await watch.next() is not None
            cancelled = asyncio.create_task(people.aggregate([{"$group": {"_id": "$text"}}]))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        gc.collect()
        await asyncio.sleep(0)
    assert [one.get_name() for one in asyncio.all_tasks() if one.get_name().startswith("collectionstore")] == []


def test_half_read_streams_of_a_blocking_client() -> None:
    with running_memory_store() as store:
        with Client(store.url) as client:
            people = client.create_collection("people")
            people.import_documents({"_id": f"{n:05}", "text": "x" * 200} for n in range(3_000))
            for _ in people.export_lines():
                break
            for _ in people.find(batch_size=5):
                break
            with people.watch(start=0) as watch:
                assert watch.next() is not None
            watching = people.watch(start=0)
            assert watching.next() is not None
        gc.collect()
        with pytest.raises(CollectionStoreError):
            watching.next()


async def test_a_client_that_is_never_used_opens_nothing() -> None:
    client = AsyncClient("http://127.0.0.1:1")
    assert "127.0.0.1:1" in repr(client)
    await client.close()


@pytest.mark.parametrize("wrong", [5, b"x", [], {}, "", None])
async def test_names_that_are_no_texts(wrong: Any) -> None:
    client = AsyncClient("http://127.0.0.1:1")
    with pytest.raises(InvalidArgument):
        client.collection(wrong)
    with pytest.raises(InvalidArgument):
        client.bucket(wrong)
    with pytest.raises(InvalidArgument):
        client.lock(wrong)
    with pytest.raises(InvalidArgument):
        await client["c"].get(wrong)
    await client.close()


@pytest.mark.parametrize("timeout", [0, -1, "soon", "1y", True, [], float("nan"), 1e9])
async def test_deadlines_that_are_none(timeout: Any) -> None:
    client = AsyncClient("http://127.0.0.1:1")
    with pytest.raises(ConfigurationError):
        await client["c"].get("a", timeout=timeout)
    with pytest.raises(ConfigurationError):
        client.with_options(timeout=timeout)
    with pytest.raises(ConfigurationError):
        AsyncClient("http://127.0.0.1:1", timeout=timeout)
    await client.close()


def test_documents_keep_their_revision() -> None:
    document = Document({"_id": "a", "n": 1}, revision=4)
    assert (document.id, document.revision, document) == ("a", 4, {"_id": "a", "n": 1})
    with pytest.raises(KeyError):
        _ = Document().id
