"""Watches on a stream: many on one connection, each within its credit."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import create_autospec

import orjson
import pytest

from collectionstore_node.api import ApiServer
from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.flight import Stream
from collectionstore_node.api.stream.watching import StreamWatch
from collectionstore_node.changes import Position, Scope, Selection, Tokens
from collectionstore_node.service import Consistency, Store
from collectionstore_node.service.operations import WatchChanges
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.stream.conftest import Open
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK, PATIENCE_S, StreamClient

TOKENS = Tokens("shop")


def watch(stream: StreamClient, tag: int, body: object, **more: object) -> dict[str, Any]:
    """Return the operation that opens a watch."""
    return {"op": "watch", "tag": tag, "watch": body if stream.json else orjson.dumps(body), **more}


def events_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [one if isinstance(one, dict) else orjson.loads(one) for one in item["events"]]


async def told(stream: StreamClient, count: int) -> list[dict[str, Any]]:
    """Return the next events of a stream, of any watch."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        item = await stream.item()
        if item.get("event") == "changes":
            found += [{"watch": item["watch"], **one} for one in events_of(item)]
    return found


async def put(client: Client, name: str, n: int = 1) -> None:
    assert (await client.put(f"/api/v1/collections/people/documents/{name}", {"n": n})).status in (200, 201)


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_several_watches_share_a_stream(people: Client, open_stream: Open, protocol: str) -> None:
    stream = await open_stream(protocol)
    await stream.send(watch(stream, 1, {"collection": "people"}), watch(stream, 2, {"bucket": "b"}))
    answers = [await stream.item(), await stream.item()]
    await put(people, "ada")
    await people.send("PUT", "/api/v1/kv/b/k", b"x")

    found = await told(stream, 2)

    assert {(one["tag"], one["status"]) for one in answers} == {(1, 200), (2, 200)}
    assert {(one["watch"], one.get("id") or one.get("key")) for one in found} == {(1, "ada"), (2, "k")}


async def test_no_more_is_told_than_was_granted(people: Client, stream: StreamClient, store: Store) -> None:
    await stream.send(watch(stream, 1, {"collection": "people"}, credit=1))
    await stream.item()
    await put(people, "a")
    assert [one["id"] for one in await told(stream, 1)] == ["a"]
    await put(people, "b")
    # An answer behind it: nothing of the watch came before.
    got = await stream.ask("get_document", collection="people", id="b")
    assert got["status"] == 200

    await stream.send({"op": "grant_watch", "tag": 9, "watch": 1, "credit": 5})
    items = [await stream.item(), await stream.item()]

    assert {"event", "tag"} <= {name for one in items for name in one}
    (changes,) = [one for one in items if "events" in one]
    assert [one["id"] for one in events_of(changes)] == ["b"]
    assert TOKENS.decode(changes["token"]) == Position(3)


async def test_a_watch_is_ended_by_its_client(people: Client, stream: StreamClient, store: Store) -> None:
    await stream.send(watch(stream, 1, {"collection": "people"}))
    await stream.item()
    await stream.send({"op": "unwatch", "tag": 2, "watch": 1}, {"op": "unwatch", "tag": 3, "watch": 77})

    assert {(await stream.item())["status"], (await stream.item())["status"]} == {200}
    await put(people, "ada")
    assert (await stream.ask("get_document", collection="people", id="ada"))["status"] == 200
    assert len(store.watches) == 0


async def test_its_connection_ends_its_watches(people: Client, open_stream: Open, store: Store) -> None:
    stream = await open_stream()
    await stream.send(*(watch(stream, tag, {"collection": "people"}, credit=1) for tag in range(5)))
    await stream.answers(5)
    await put(people, "ada")
    await put(people, "alan")
    await told(stream, 5)

    await stream.socket.close()

    async with asyncio.timeout(PATIENCE_S):
        while len(store.watches):  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)


async def test_an_end_is_told(people: Client, stream: StreamClient) -> None:
    await stream.send(watch(stream, 1, {"collection": "people"}))
    await stream.item()
    await people.delete("/api/v1/collections/people")

    item = await stream.item()

    assert [one["event"] for one in events_of(item)] == ["change", "invalidate"]
    assert item["ended"] is True


async def test_a_stopping_node_tells_every_watch_before_it_closes(
    people: Client, stream: StreamClient, server: ApiServer
) -> None:
    """Also one without credit."""
    await stream.send(watch(stream, 1, {"collection": "people"}), watch(stream, 2, {"collection": "people"}, credit=1))
    await stream.answers(2)
    await put(people, "ada")
    await told(stream, 2)
    server.pre_shutdown()

    kinds: list[str] = []
    while len(kinds) < 3:
        item = await stream.item()
        kinds += [one["event"] for one in events_of(item)] if "events" in item else [item["event"]]
    assert await stream.closed() == (1001, "the node is stopping")
    assert sorted(kinds) == ["draining", "moved", "moved"]


@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        ({"collection": "none"}, {}, "collection_not_found"),
        ({"collection": "No"}, {}, "invalid_name"),
        ({"collection": "people", "bucket": "b"}, {}, "invalid_body"),
        ({"collection": "people", "from": "x"}, {}, "invalid_token"),
        ({"from": "snapshot"}, {}, "invalid_parameter"),
        ({"collection": "people", "filter": {"$where": 1}}, {}, "invalid_filter"),
        ({"collection": "people", "unknown": 1}, {}, "invalid_body"),
        ({"consumer": "none"}, {}, "consumer_not_found"),
        ({"collection": "people"}, {"credit": 0}, "invalid_body"),
        ({"collection": "people"}, {"credit": -1}, "invalid_body"),
        ({"collection": "people"}, {"credit": 1 << 40}, "invalid_body"),
        ([], {}, "not_an_object"),
    ],
)
async def test_odd_watches_are_refused(
    people_stream: StreamClient, body: object, more: dict[str, Any], code: str
) -> None:
    await people_stream.send(watch(people_stream, 1, body, **more))

    answer = await people_stream.item()

    assert answer["body"]["code"] == code


async def test_watches_of_a_stream_are_bounded(people_stream: StreamClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STREAM_WATCHES_MAX", 2)
    for tag in range(2):
        await people_stream.send(watch(people_stream, tag, {"collection": "people"}))
        assert (await people_stream.item())["status"] == 200

    await people_stream.send(watch(people_stream, 5, {"collection": "people"}))

    assert (await people_stream.item())["status"] == 400


async def test_watches_that_are_opened_together_are_bounded(
    people_stream: StreamClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "STREAM_WATCHES_MAX", 2)
    await people_stream.send(*(watch(people_stream, tag, {"collection": "people"}) for tag in range(5)))

    answers = await people_stream.answers(5)

    assert sorted(one["status"] for one in answers.values()) == [200, 200, 400, 400, 400]
    assert len(store.watches) == 2


async def test_a_watch_that_ends_before_its_first_step_leaves_nothing(people: Client, store: Store) -> None:
    opened = await store.watches.open(
        WatchChanges(Selection(Scope("collection", "people"))), consistency=Consistency.STALE, timeout_s=PATIENCE_S
    )
    stream = create_autospec(Stream, instance=True)

    StreamWatch(stream, 7, opened, credit=1).end()
    async with asyncio.timeout(PATIENCE_S):
        while not stream.watch_ended.called:  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)

    stream.watch_ended.assert_called_once_with(7)
    assert len(store.watches) == 0
