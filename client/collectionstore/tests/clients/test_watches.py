"""Watches: against the engine in memory, and over lost connections against a server that does what a test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from collectionstore import AsyncClient, ChangeEvent
from collectionstore.errors import ClientClosed, HistoryLost, ImageNotKept, InvalidArgument, QueryFailed, Unauthorized
from collectionstore.testing import memory_store
from collectionstore.tests.fake_server import FakeServer, applied, problem


@pytest.fixture(params=["auto", "off"], ids=["streams", "pages"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    async with memory_store() as store, AsyncClient(store.url, stream=request.param) as made:
        yield made


async def take(watch: Any, count: int) -> list[ChangeEvent[Any]]:
    async with asyncio.timeout(20):
        return [await watch.next() for _ in range(count)]


async def test_changes_from_now_on(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    await people.put("before", {})
    async with people.watch() as watch:
        await people.put("a", {"n": 1})
        await people.update("a", {"$inc": {"n": 1}})
        await people.delete("a")
        events = await take(watch, 3)
    assert [one.operation for one in events] == ["insert", "update", "delete"]
    assert events[1].document == {"_id": "a", "n": 2}
    assert events[2].document is None
    assert watch.token == events[2].token
    with pytest.raises(ClientClosed):
        await watch.next()


async def test_filters_images_and_places(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    first = await people.put("a", {"n": 1})
    await people.put("a", {"n": 5})
    await people.put("b", {"n": 1})
    async with people.watch({"n": {"$gt": 3}}, before=True, start=first.revision) as watch:
        (event,) = await take(watch, 1)
        assert (event.id, event.before, event.document) == ("a", {"_id": "a", "n": 1}, {"_id": "a", "n": 5})
    async with people.watch(start=0, operations=["insert"]) as watch:
        events = await take(watch, 2)
    async with people.watch(start=events[0].token or "") as watch:
        assert (await take(watch, 1))[0].operation == "replace"


async def test_the_end_of_a_collection(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    async with people.watch() as watch:
        await people.drop()
        assert [one.kind async for one in watch] == ["change", "invalidate"]


async def test_buckets_and_everything(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    bucket = client.bucket("b")
    async with client.watch() as all_of_it, bucket.watch() as values:
        await people.put("a", {})
        await bucket.put("k", b"\x01")
        assert [(one.id, one.key) for one in await take(all_of_it, 2)] == [("a", None), (None, "k")]
        assert (await take(values, 1))[0].value == b"\x01"


async def test_consumers(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    await client.create_consumer("search", collection="people", start=0)
    await people.put("a", {})
    async with client.watch(consumer="search") as watch:
        events = await take(watch, 2)
    await client.acknowledge("search", events[0].token or "")
    async with client.watch(consumer="search") as watch:
        assert (await take(watch, 1))[0].id == "a"
    await client.delete_consumer("search")


async def test_a_snapshot_and_what_follows() -> None:
    async with memory_store() as store, AsyncClient(store.url) as client:
        people = await client.create_collection("people")
        for n in range(3):
            await people.put(f"{n}", {"n": n})
        async with people.watch({"n": {"$gt": 0}}, start="snapshot") as watch:
            events = await take(watch, 3)
            await people.put("9", {"n": 9})
            events += await take(watch, 1)
        assert [one.kind for one in events] == ["document", "document", "ready", "change"]
        assert [one.id for one in events] == ["1", "2", None, "9"]


async def test_more_changes_than_credit(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    async with people.watch() as watch:
        await people.import_documents({"_id": f"{n:05}"} for n in range(2_500))
        events = await take(watch, 2_500)
    assert [one.id for one in events] == [f"{n:05}" for n in range(2_500)]


async def test_places_that_are_wrong(client: AsyncClient) -> None:
    people = await client.create_collection("people")
    for start in (True, None, 1.5, ""):
        with pytest.raises(InvalidArgument):
            people.watch(start=start)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        people.watch([{"$match": {}}])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        client.watch(start="snapshot")


def change(revision: int, token: str, **more: Any) -> bytes:
    event = {"event": "change", "op": "insert", "collection": "c", "revision": revision, "token": token, **more}
    return msgspec.json.encode({"position": 0, "id": f"d{revision}", "document": {}, "last": True, **event})


def began(operation: dict[str, Any], *events: bytes, **more: Any) -> list[dict[str, Any]]:
    """Return the answer to a watch, and its first events."""
    body = msgspec.json.encode({"watch": operation["tag"], "token": "t0"})
    told = {"event": "changes", "watch": operation["tag"], "events": list(events), "token": "t", **more}
    return [applied(operation, body=body), *([told] if events else [])]


def wanted(operation: dict[str, Any]) -> Any:
    return msgspec.json.decode(operation["watch"])


async def test_a_lost_connection_goes_on_behind_the_last_event() -> None:
    def script(operation: dict[str, Any]) -> Any:
        if operation["op"] != "watch":
            return None
        place = wanted(operation)["from"]
        if place == "now":
            return began(operation, change(1, "t1"), change(2, "t2"))
        # It tells one again that was told: it is not told twice.
        return began(operation, change(2, "t2"), change(3, "t3"))

    async with FakeServer(script) as server, AsyncClient(server.url, discovery="off") as client:
        async with client.collection("c").watch() as watch:
            events = await take(watch, 2)
            await server.cut()
            events += await take(watch, 1)
        assert [one.revision for one in events] == [1, 2, 3]
        places = [wanted(one)["from"] for one in server.operations if one["op"] == "watch"]
        assert places == ["now", "t2"]


async def test_a_quiet_watch_goes_on_from_where_it_began() -> None:
    def script(operation: dict[str, Any]) -> Any:
        return began(operation, change(1, "t1")) if wanted(operation)["from"] == "t0" else began(operation)

    async with FakeServer(script) as server, AsyncClient(server.url, discovery="off") as client:  # noqa: SIM117
        async with client.collection("c").watch() as watch:
            await server.cut()
            assert [one.revision for one in await take(watch, 1)] == [1]


async def test_a_stopping_member_is_left() -> None:
    moved = msgspec.json.encode({"event": "moved", "token": "t1", "reason": "the member is stopping"})

    def script(operation: dict[str, Any]) -> Any:
        if wanted(operation)["from"] == "now":
            return began(operation, change(1, "t1"), moved, ended=True)
        return began(operation, change(2, "t2"))

    async with FakeServer(script) as server, AsyncClient(server.url, discovery="off") as client:  # noqa: SIM117
        async with client.collection("c").watch() as watch:
            assert [one.revision for one in await take(watch, 2)] == [1, 2]


@pytest.mark.parametrize("on_gap", ["raise", "resync"])
async def test_a_gap_is_final_or_begins_anew(on_gap: Any) -> None:
    gone = msgspec.json.encode({"event": "gone", "kept_after": 9, "restart": "t9"})
    ready = msgspec.json.encode({"event": "ready", "token": "t10", "revision": 10})
    document = msgspec.json.encode({"event": "document", "collection": "c", "id": "x", "revision": 4, "document": {}})

    def script(operation: dict[str, Any]) -> Any:
        if wanted(operation)["from"] == "snapshot":
            return began(operation, document, ready, change(11, "t11"))
        return began(operation, change(1, "t1"), gone, ended=True)

    async with FakeServer(script) as server, AsyncClient(server.url, discovery="off") as client:  # noqa: SIM117
        async with client.collection("c").watch(on_gap=on_gap) as watch:
            assert (await take(watch, 1))[0].revision == 1
            if on_gap == "raise":
                with pytest.raises(HistoryLost) as caught:
                    await take(watch, 1)
                assert caught.value.details == {"kept_after": 9, "restart": "t9"}
                assert not caught.value.retryable
            else:
                kinds = [one.kind for one in await take(watch, 4)]
                assert kinds == ["resync", "document", "ready", "change"]


async def test_a_place_that_is_gone_is_refused_at_once() -> None:
    def script(operation: dict[str, Any]) -> Any:
        return applied(operation, 410, body=problem(410, "history_gone", kept_after=5, restart="t5"))

    async with FakeServer(script) as server, AsyncClient(server.url, discovery="off") as client:
        with pytest.raises(HistoryLost):
            async with client.collection("c").watch(start=1):
                pass


async def test_a_filter_that_fails_ends_the_watch() -> None:
    failed = msgspec.json.encode({"event": "failed", "token": "t1", "code": "query_too_costly", "detail": "too much"})

    async with (
        FakeServer(lambda one: began(one, failed, ended=True)) as server,
        AsyncClient(server.url, discovery="off") as client,
        client.collection("c").watch() as watch,
    ):
        with pytest.raises(QueryFailed):
            await take(watch, 1)


async def test_a_cancelled_wait_loses_nothing() -> None:
    async with memory_store() as store, AsyncClient(store.url) as client:
        people = await client.create_collection("people")
        async with people.watch() as watch:
            waiting = asyncio.create_task(watch.next())
            while not watch._feed._wake._waiters:  # noqa: ASYNC110
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await people.put("a", {})
            assert (await take(watch, 1))[0].id == "a"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"return_document": "before"}, {"_id": "a", "n": 1, "m": 2}),
        ({"return_document": "after"}, {"_id": "a", "n": 2, "m": 2}),
        ({"return_document": "after", "projection": ["n"]}, {"_id": "a", "n": 2}),
    ],
)
async def test_the_document_of_an_answer_that_was_lost(call: dict[str, Any], expected: dict[str, Any]) -> None:
    """The first attempt is applied and its answer lost; the second one is answered without the document."""
    async with memory_store() as store, AsyncClient(store.url) as client:
        people = await client.create_collection("people")
        await people.put("a", {"n": 1, "m": 2})
        await people.put("b", {"n": 9})
        operations = client._runtime._parts.calls  # type: ignore[union-attr]
        once = operations.operation

        async def twice(operation: Any, timeout_s: float) -> Any:
            await once(operation, timeout_s)
            await people_of(client)
            return await once(operation, timeout_s)

        async def people_of(other: AsyncClient) -> None:
            # Others write meanwhile, and the document changes again.
            await other.request("PATCH", "/collections/people/documents/a", {"$set": {"n": 100}})

        operations.operation = twice  # type: ignore[method-assign]
        assert await people.find_one_and_update({"n": 1}, {"$inc": {"n": 1}}, **call) == expected
        operations.operation = once  # type: ignore[method-assign]
        assert await people.find_one("a") == {"_id": "a", "n": 100, "m": 2}


async def test_a_document_that_is_not_kept_is_an_error_that_says_so() -> None:
    def script(operation: dict[str, Any]) -> Any:
        body = b'{"id":null,"created":false,"modified":true,"document":null,"revision":5}'
        return applied(operation, replayed=True, body=body)

    async with FakeServer(script) as server, AsyncClient(server.url, discovery="off") as client:
        server.on_request = lambda request, body: web.Response(status=410, body=problem(410, "history_gone"))
        with pytest.raises(ImageNotKept) as caught:
            await client.collection("c").find_one_and_update({"n": 1}, {"$inc": {"n": 1}})
        assert (caught.value.outcome, caught.value.revision) == ("applied", 5)


async def test_an_export_that_was_cut_goes_on_in_the_same_state() -> None:
    lines = [b'{"_id":"a","_revision":1}\n', b'{"_id":"b","_revision":1}\n']

    def export(request: web.Request, body: bytes) -> web.StreamResponse:
        after = msgspec.json.decode(body).get("after")
        digest = hashlib.sha256(lines[1] if after else b"").hexdigest()
        trailer = b'{"_trailer":{"count":1,"sha256":"' + digest.encode() + b'","revision":9}}\n'
        # The first part ends behind a line, without its trailer.
        text = lines[1] + trailer if after else lines[0]
        return web.Response(body=text, headers={"X-Revision": "9"}, content_type="application/x-ndjson")

    async with FakeServer() as server, AsyncClient(server.url, discovery="off") as client:
        server.on_request = export
        found = [one async for one in client.collection("c").export_lines()]
        assert [one + b"\n" for one in found] == lines
        assert [path.partition("?")[2] for _, path in server.requests] == ["", "at_revision=9"]


async def test_credentials_that_are_revoked_end_a_watch() -> None:
    async with FakeServer(began) as server, AsyncClient(server.url, discovery="off", token="t") as client:  # noqa: SIM117
        async with client.collection("c").watch() as watch:
            server.refuse_streams = 401
            await server.cut()
            with pytest.raises(Unauthorized):
                await take(watch, 1)
