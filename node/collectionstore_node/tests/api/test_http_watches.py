"""Watches over HTTP: lines, server-sent events and pages; how they begin, go on and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from collectionstore_node.api import ApiServer
from collectionstore_node.api.handlers import watch_answers
from collectionstore_node.changes import Position, Tokens
from collectionstore_node.ports import LOOPBACK
from collectionstore_node.service import Store, watches
from collectionstore_node.statemachine.header import read_header, write_header
from collectionstore_node.statemachine.levels import ENGINE
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.api.http_clients import Client, RawClient
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.watch_clients import SSE, WatchClients

PEOPLE = "/api/v1/collections/people"
TOKENS = Tokens("shop")


@pytest.fixture
async def open_watch(port: int) -> AsyncIterator[WatchClients]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield WatchClients(session, port)


async def put(client: Client, name: str, /, **fields: Any) -> int:
    reply = await client.put(f"{PEOPLE}/documents/{name}", fields)
    assert reply.status in (200, 201)
    revision: int = reply.json["revision"]
    return revision


def forget(replica: MemoryReplica, kept_after: int) -> None:
    """Have the history begin behind a revision, as if the rest had been too old."""
    overlay = Overlay(replica.view)
    header = read_header(overlay)
    assert header.history is not None
    header.history.kept_after = kept_after
    write_header(overlay, header)
    replica.view.commit(overlay.writes)


async def settled(condition: Any) -> None:
    """Return in a turn of the loop in which something holds that must come."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)


# What is told


@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson", SSE])
async def test_changes_come_as_they_are_made(people: Client, open_watch: WatchClients, accept: str) -> None:
    async with open_watch.open("collections/people:watch", Accept=accept) as watch:
        assert watch.sse == (accept == SSE)
        await put(people, "ada", name="Ada")
        first = await watch.event()
        await people.delete(f"{PEOPLE}/documents/ada")
        second = await watch.event()

    assert (first["op"], first["id"], first["document"], first["revision"]) == ("insert", "ada", {"name": "Ada"}, 2)
    assert (second["op"], second["revision"], second["last"]) == ("delete", 3, True)
    assert TOKENS.decode(second["token"]) == Position(3)
    if watch.sse:
        assert watch.id == second["token"]


async def test_a_body_says_what_is_watched(people: Client, open_watch: WatchClients) -> None:
    body = {"filter": {"born": {"$lt": 1900}}, "ops": ["insert", "update"], "fields": {"born": 1}, "before": True}
    async with open_watch.open("collections/people:watch", body) as watch:
        await put(people, "alan", born=1912)
        await put(people, "ada", born=1815, name="Ada")
        await put(people, "ada", born=1816, name="Ada")
        await people.send(
            "PATCH", f"{PEOPLE}/documents/ada", b'{"$inc":{"born":100}}', {"Content-Type": "application/json"}
        )
        first, second = await watch.events(2)

    assert (first["op"], first["document"]) == ("insert", {"born": 1815})
    assert (second["op"], second["document"], second["before"]) == ("update", {"born": 1916}, {"born": 1816})
    assert second["left"] is True


async def test_a_url_can_say_the_same(people: Client, open_watch: WatchClients) -> None:
    given = quote('{"born":{"$lt":1900}}')
    target = f"collections/people:watch?filter={given}&ops=insert,delete&fields=born&before=true&from=0"
    async with open_watch.open(target) as watch:
        await put(people, "ada", born=1815, name="Ada")
        first = await watch.event()

    assert first["document"] == {"born": 1815}


async def test_values_and_everything_are_watched(people: Client, open_watch: WatchClients) -> None:
    async with open_watch.open("kv/greetings:watch") as bucket, open_watch.open(":watch") as everything:
        await put(people, "ada", name="Ada")
        await people.send("PUT", "/api/v1/kv/greetings/hello", b"world")
        value = await bucket.event()
        found = await everything.events(2)

    assert (value["bucket"], value["key"], value["value"]) == ("greetings", "hello", "d29ybGQ=")
    assert [one.get("id") or one.get("key") for one in found] == ["ada", "hello"]


async def test_a_transaction_comes_in_one_piece(people: Client, open_watch: WatchClients) -> None:
    async with open_watch.open("collections/people:watch") as watch:
        steps = [{"op": "put", "collection": "people", "id": f"p{n}", "document": {}} for n in range(3)]
        await people.post("/api/v1/transactions", {"then": steps})
        found = await watch.events(3)

    assert [(one["id"], one["position"], one.get("last", False)) for one in found] == [
        ("p0", 0, False),
        ("p1", 1, False),
        ("p2", 2, True),
    ]
    assert len({one["revision"] for one in found}) == 1


async def test_initial_documents_then_ready_then_changes(people: Client, open_watch: WatchClients) -> None:
    for name in ("ada", "alan"):
        await put(people, name, name=name)
    async with open_watch.open("collections/people:watch?from=snapshot") as watch:
        await put(people, "grace", name="grace")
        found = await watch.events(4)

    assert [(one["event"], one.get("id")) for one in found] == [
        ("document", "ada"),
        ("document", "alan"),
        ("ready", None),
        ("change", "grace"),
    ]


# Where it begins


async def test_it_goes_on_behind_a_token_and_behind_a_revision(people: Client, open_watch: WatchClients) -> None:
    revisions = [await put(people, f"p{number}", n=number) for number in range(5)]
    async with open_watch.open("collections/people:watch?from=0") as watch:
        found = await watch.events(6)
    assert [one["op"] for one in found] == ["create_collection"] + ["insert"] * 5

    async with open_watch.open(f"collections/people:watch?from={found[2]['token']}") as watch:
        assert [one["id"] for one in await watch.events(3)] == ["p2", "p3", "p4"]
    async with open_watch.open("collections/people:watch", {"from": revisions[2]}) as watch:
        assert [one["id"] for one in await watch.events(2)] == ["p3", "p4"]
    async with open_watch.open(
        "collections/people:watch?from=now", Accept=SSE, Last_Event_ID=found[3]["token"]
    ) as watch:
        assert [one["id"] for one in await watch.events(2)] == ["p3", "p4"]


async def test_a_place_ahead_of_this_member_waits_for_what_is_confirmed(
    people: Client, open_watch: WatchClients, replica: MemoryReplica
) -> None:
    """A token of the leader may be ahead of a follower: only what the cluster has not reached is refused."""
    replica.behind = 2
    revision = await put(people, "ada", n=1)
    confirm = replica.read_barrier

    async def catch_up(*, timeout_s: float) -> None:
        await confirm(timeout_s=timeout_s)
        replica.behind, replica.revision = 0, revision

    replica.read_barrier = catch_up  # type: ignore[method-assign]
    async with open_watch.open(f"collections/people:watch?from={revision}") as watch:
        await put(people, "alan", n=1)
        assert (await watch.event())["id"] == "alan"
    problem = (await people.get(f"{PEOPLE}:watch?from={revision + 50}&wait=0s")).problem(400, "future_revision")
    assert problem["retryable"] is False


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("collections/none:watch", 404, "collection_not_found"),
        ("collections/none:watch?from=snapshot", 404, "collection_not_found"),
        ("collections/Nope:watch", 400, "invalid_name"),
        ("collections/people:watch?from=yesterday", 400, "invalid_token"),
        ("collections/people:watch?from=-1", 400, "invalid_token"),
        ("collections/people:watch?from=99999999999999999999", 400, "invalid_token"),
        ("collections/people:watch?from=9999999999999999999", 400, "invalid_parameter"),
        ("collections/people:watch?from=", 400, "invalid_token"),
        ("collections/people:watch?from=" + "A" * 36, 400, "invalid_token"),
        ("collections/people:watch?from=1&from=2", 400, "invalid_parameter"),
        ("collections/people:watch?from=" + Tokens("other").encode(Position(1)), 410, "foreign_token"),
        ("collections/people:watch?filter=x", 400, "invalid_parameter"),
        ("collections/people:watch?filter=" + quote('{"$where":"1"}'), 400, "invalid_filter"),
        ("collections/people:watch?ops=insert,upsert", 400, "invalid_body"),
        ("collections/people:watch?fields=_id", 400, "invalid_projection"),
        ("collections/people:watch?before=yes", 400, "invalid_parameter"),
        ("collections/people:watch?wait=61s", 400, "invalid_parameter"),
        ("collections/people:watch?wait=soon", 400, "invalid_parameter"),
        ("collections/people:watch?wait=0s&from=snapshot", 400, "invalid_parameter"),
        ("collections/people:watch?limit=3", 400, "unknown_parameter"),
        ("collections/people:watch?consumer=none", 404, "consumer_not_found"),
        ("kv/greetings:watch?filter={}", 400, "invalid_body"),
        (":watch?from=snapshot", 400, "invalid_parameter"),
    ],
)
async def test_odd_requests_are_refused(people: Client, target: str, status: int, code: str) -> None:
    (await people.get(f"/api/v1/{target}")).problem(status, code)
    assert (await people.get(PEOPLE)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"from": 1.5},
        {"from": True},
        {"filter": []},
        {"ops": "insert"},
        {"unknown": True},
        {"from": -1},
        {"consumer": "x"},
    ],
)
async def test_odd_bodies_are_refused(people: Client, body: object) -> None:
    reply = await people.post(f"{PEOPLE}:watch?wait=0s", body)

    assert reply.status == 400, reply.body


@pytest.mark.parametrize("token", ["x", "A" * 36, "A" * 4_000, "%0d%0aX-Injected:%201", "\xff\xfe"])
async def test_a_smuggled_event_id_is_refused(people: Client, raw: RawClient, token: str) -> None:
    reply = await raw.exchange(
        b"GET /api/v1/collections/people:watch?wait=0s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Last-Event-ID: %s\r\n\r\n" % token.encode("latin-1")
    )

    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"invalid_token" in body
    assert b"X-Injected" not in reply


async def test_a_cluster_of_an_earlier_level_has_no_history(client: Client, replica: MemoryReplica) -> None:
    """Not a watch that tells nothing: the client would take its silence for peace."""
    replica.level = ENGINE
    assert (await client.send("PUT", PEOPLE, b"")).status == 201

    (await client.get(f"{PEOPLE}:watch?wait=0s")).problem(503, "upgrade_pending")


# Pages


async def test_a_page_comes_as_soon_as_there_is_something(people: Client) -> None:
    asked = asyncio.create_task(people.get(f"{PEOPLE}:watch?wait=30s"))
    watching = people.get(f"{PEOPLE}:watch?wait=0s")
    token = (await watching).json["token"]
    await put(people, "ada", n=1)
    page = (await people.get(f"{PEOPLE}:watch?wait=30s&from={token}")).json
    asked.cancel()

    assert [one["id"] for one in page["events"]] == ["ada"]
    assert TOKENS.decode(page["token"]) == Position(2)
    empty = await people.get(f"{PEOPLE}:watch?wait=1ms&from={page['token']}")
    assert (empty.json["events"], empty.headers["X-Revision"]) == ([], "2")


async def test_a_page_that_waits_takes_no_place_of_a_request(people: Client, store: Store) -> None:
    """Eight requests may be in flight here; twenty wait."""
    waiting = [asyncio.create_task(people.get(f"{PEOPLE}:watch?wait=30s")) for _ in range(20)]
    await settled(lambda: len(store.watches) == 20)

    assert store.inflight == 0
    await put(people, "ada", n=1)
    pages = await asyncio.gather(*waiting)
    assert [[one["id"] for one in page.json["events"]] for page in pages] == [["ada"]] * 20
    await settled(lambda: len(store.watches) == 0)


async def test_the_token_of_an_empty_page_moves_on(people: Client) -> None:
    """Otherwise a watch of a quiet collection would fall out of the history."""
    token = (await people.get(f"{PEOPLE}:watch?wait=0s")).json["token"]
    await people.send("PUT", "/api/v1/kv/b/k", b"x")
    await people.send("PUT", "/api/v1/kv/b/k", b"y")

    page = (await people.get(f"{PEOPLE}:watch?wait=0s&from={token}")).json

    assert page["events"] == []
    assert TOKENS.decode(page["token"]) == Position(3)


async def test_only_json_is_asked_for(people: Client) -> None:
    """With `Accept: application/json` alone it is a page."""
    await put(people, "ada", n=1)

    page = await people.get(f"{PEOPLE}:watch?from=1", Accept="application/json")

    assert page.headers["Content-Type"] == "application/json"
    assert len(page.json["events"]) == 1


async def test_heads_have_no_body_and_leave_nothing_open(people: Client, store: Store) -> None:
    for target in (f"{PEOPLE}:watch", f"{PEOPLE}:watch?wait=30s"):
        reply = await people.send("HEAD", target)
        assert (reply.status, reply.body) == (200, b"")
    await settled(lambda: len(store.watches) == 0)


# Silence


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches say at every sweep where they are."""
    monkeypatch.setattr(watches, "HEARTBEAT_S", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("accept", ["*/*", SSE])
async def test_a_quiet_watch_says_where_it_is(
    people: Client, open_watch: WatchClients, store: Store, accept: str
) -> None:
    async with open_watch.open("collections/people:watch", Accept=accept) as watch:
        await people.send("PUT", "/api/v1/kv/b/k", b"x")
        (one,) = store.watches._open
        await settled(lambda: one.position == Position(2))
        store.watches.sweep(asyncio.get_running_loop().time())
        progress = await watch.event()

    assert progress["event"] == "progress"
    assert TOKENS.decode(progress["token"]) == Position(2)


async def test_a_client_that_has_gone_is_found(people: Client, open_watch: WatchClients, store: Store) -> None:
    async with open_watch.open("collections/people:watch"):
        assert len(store.watches) == 1
    (one,) = store.watches._open
    await settled(one.gone)
    store.watches.sweep(asyncio.get_running_loop().time())

    await settled(lambda: len(store.watches) == 0)
    assert store.watches.ended["left"] == 1


# Ends


async def test_a_history_that_is_not_kept_is_gone(
    people: Client, open_watch: WatchClients, replica: MemoryReplica
) -> None:
    for number in range(4):
        await put(people, f"p{number}", n=number)
    forget(replica, 3)

    problem = (await people.get(f"{PEOPLE}:watch?from=2")).problem(410, "history_gone")

    assert problem["kept_after"] == 3
    assert problem["retryable"] is False
    assert TOKENS.decode(problem["restart"]) == Position(3)
    async with open_watch.open(f"collections/people:watch?from={problem['restart']}") as watch:
        assert [one["id"] for one in await watch.events(2)] == ["p2", "p3"]


@pytest.mark.parametrize("accept", ["*/*", SSE])
async def test_a_watch_whose_history_goes_under_it_ends(
    people: Client, open_watch: WatchClients, replica: MemoryReplica, store: Store, accept: str
) -> None:
    """As when a member installs a snapshot that has less of the history than the watch needs.

    A browser connects again by itself, with the last id: it must be that of what came before.
    """
    async with open_watch.open("collections/people:watch", Accept=accept) as watch:
        await put(people, "ada", n=1)
        told = await watch.event()
        overlay = Overlay(replica.view)
        header = read_header(overlay)
        header.revision = 50
        assert header.history is not None
        header.history.kept_after = 50
        write_header(overlay, header)
        replica.view.commit(overlay.writes)
        replica.revision = 50
        await put(people, "alan", n=1)
        gone = await watch.event()
        rest = await watch.rest()

    assert (gone["event"], gone["kept_after"], rest) == ("gone", 50, b"")
    assert watch.id == (told["token"] if watch.sse else "")
    assert TOKENS.decode(gone["restart"]) == Position(50)
    assert "token" not in gone
    assert store.watches.ended["gone"] == 1


async def test_a_dropped_collection_invalidates(people: Client, open_watch: WatchClients) -> None:
    async with open_watch.open("collections/people:watch", Accept=SSE) as watch:
        await people.delete(PEOPLE)
        dropped, invalid = await watch.events(2)
        assert await watch.rest() == b""

    assert (dropped["op"], invalid["event"]) == ("drop_collection", "invalidate")
    # Its token still tells how it ended, although the collection is not there any more.
    page = await people.get(f"{PEOPLE}:watch?wait=0s&from=1")
    assert [one["event"] for one in page.json["events"]] == ["change", "invalidate"]


async def test_a_stopping_node_says_so(
    people: Client, open_watch: WatchClients, server: ApiServer, store: Store
) -> None:
    async with open_watch.open("collections/people:watch") as watch:
        await put(people, "ada", n=1)
        told = await watch.event()
        server.pre_shutdown()
        moved = await watch.event()
        assert await watch.rest() == b""

    assert (moved["event"], moved["token"]) == ("moved", told["token"])
    assert store.watches.ended["moved"] == 1


async def test_a_filter_that_fails_ends_the_watch(people: Client, open_watch: WatchClients) -> None:
    body = {"filter": {"$expr": {"$gt": [{"$divide": [1, "$n"]}, 0]}}}
    async with open_watch.open("collections/people:watch", body) as watch:
        await put(people, "one", n=1)
        await put(people, "zero", n=0)
        first, failed = await watch.events(2)

    assert first["id"] == "one"
    assert (failed["event"], failed["code"], failed["token"]) == ("failed", "expression_failed", first["token"])


# Slow clients


async def test_a_client_that_does_not_read_is_told_and_cut(
    people: Client, port: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Init: a client that reads the head and nothing more. Step: more changes than any buffer holds.

    Check: what it reads then ends with `slow`, whose token goes on exactly behind all that it was sent.
    """
    monkeypatch.setattr(watch_answers, "SLOW_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
    writer.write(b"GET /api/v1/collections/people:watch HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    text = "x" * 60_000
    with capture_logs() as lines:
        for number in range(400):
            await put(people, f"p{number % 7}", text=text, n=number)
            if store.watches.ended["slow"]:
                break
        await settled(lambda: store.watches.ended["slow"])
    events = [orjson.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()

    assert [one["event"] for one in events[-2:]] == ["change", "slow"]
    assert events[-1]["token"] == events[-2]["token"]
    assert [one["revision"] for one in events[:-1]] == list(range(2, len(events) + 1))
    assert [line["event"] for line in lines] == ["watch.slow"]


# Bounds


async def test_watches_are_bounded(
    people: Client, open_watch: WatchClients, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(watches, "WATCHES_MAX", 2)
    async with open_watch.open("collections/people:watch"), open_watch.open("collections/people:watch"):
        problem = (await people.get(f"{PEOPLE}:watch?wait=0s")).problem(503, "overloaded")
        assert problem["retryable"] is True
    for one in tuple(store.watches._open):
        await settled(one.gone)
    store.watches.sweep(0)
    assert (await people.get(f"{PEOPLE}:watch?wait=0s")).status == 200


async def test_an_address_has_a_share(
    people: Client, open_watch: WatchClients, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "OWNER_WATCHES_MAX", 1)
    async with open_watch.open("collections/people:watch"), open_watch.open("collections/people:watch"):
        clients = {connection.client for connection in server.connections}  # type: ignore[attr-defined]
        assert {one.network for one in clients} == {LOOPBACK}
        for one in clients:
            one.network = "192.0.2.1"
        async with open_watch.open("collections/people:watch"):
            (await people.get(f"{PEOPLE}:watch?wait=0s")).problem(503, "overloaded")


async def test_few_watches_hold_a_view_of_the_state(
    people: Client, open_watch: WatchClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "BEGINNING_MAX", 0)

    (await people.get(f"{PEOPLE}:watch?from=snapshot")).problem(503, "overloaded")
    async with open_watch.open("collections/people:watch"):
        pass


async def test_the_status_tells_of_watches_and_of_the_history(people: Client, open_watch: WatchClients) -> None:
    async with open_watch.open("collections/people:watch"):
        await put(people, "ada", n=1)
        shown = (await people.get("/status")).json["watches"]

    assert (shown["open"], shown["kept_after"]) == (1, 0)
    assert shown["history_bytes"] > 0


# Consumers

CONSUMER = "/api/v1/consumers/mails"


async def test_a_consumer_goes_on_where_it_acknowledged(people: Client, open_watch: WatchClients) -> None:
    made = await people.put(CONSUMER, {"collection": "people", "filter": {"n": {"$gt": 0}}})
    again = await people.put(CONSUMER, {"collection": "people", "filter": {"n": {"$gt": 0}}})
    assert (made.status, again.status) == (201, 200)
    assert made.json["created_revision"] == again.json["created_revision"] == 2
    for number in range(4):
        await put(people, f"p{number}", n=number)

    async with open_watch.open(":watch?consumer=mails") as watch:
        found = await watch.events(3)
    assert [one["id"] for one in found] == ["p1", "p2", "p3"]
    acked = await people.post(f"{CONSUMER}:ack", {"token": found[1]["token"]})
    assert acked.status == 200
    async with open_watch.open("collections/people:watch?consumer=mails") as watch:
        assert (await watch.event())["id"] == "p3"
    # An older one changes nothing.
    assert (await people.post(f"{CONSUMER}:ack", {"token": found[0]["token"]})).status == 200

    shown = (await people.get(CONSUMER)).json
    assert (shown["token"], shown["collection"], shown["filter"]) == (found[1]["token"], "people", {"n": {"$gt": 0}})
    assert shown["lag"] == (await people.get("/api/v1/consumers")).json["revision"] - found[1]["revision"]
    assert shown["gone"] is False
    assert [one["name"] for one in (await people.get("/api/v1/consumers")).json["consumers"]] == ["mails"]
    assert (await people.delete(CONSUMER)).status == 200
    (await people.get(CONSUMER)).problem(404, "consumer_not_found")


async def test_a_consumer_behind_the_history_is_gone(people: Client, replica: MemoryReplica) -> None:
    await people.put(CONSUMER, {"collection": "people", "from": 0})
    for number in range(4):
        await put(people, f"p{number}", n=number)
    forget(replica, 3)

    assert (await people.get(CONSUMER)).json["gone"] is True
    (await people.get(f"{PEOPLE}:watch?consumer=mails")).problem(410, "history_gone")


async def test_odd_consumers_are_refused(people: Client) -> None:
    (await people.put("/api/v1/consumers/No", {})).problem(400, "invalid_name")
    (await people.put(CONSUMER, {"collection": "people", "bucket": "b"})).problem(400, "invalid_body")
    (await people.put(CONSUMER, {"bucket": "b", "filter": {"n": 1}})).problem(400, "invalid_body")
    (await people.put(CONSUMER, {"from": "snapshot"})).problem(400, "invalid_consumer")
    (await people.put(CONSUMER, {"from": 1_000})).problem(409, "invalid_position")
    (await people.put(CONSUMER, {"filter": {"$where": 1}})).problem(400, "invalid_filter")
    (await people.put(CONSUMER, {"filter": {"a": "x" * 20_000}})).problem(400, "invalid_consumer")
    (await people.put(CONSUMER, {}, If_Match='"1"')).problem(400, "invalid_precondition")
    (await people.post(f"{CONSUMER}:ack", {"token": TOKENS.encode(Position(1))})).problem(404, "consumer_not_found")
    assert (await people.put(CONSUMER, {"collection": "people"})).status == 201
    (await people.put(CONSUMER, {"collection": "films"})).problem(409, "consumer_exists")
    (await people.post(f"{CONSUMER}:ack", {"token": "x"})).problem(400, "invalid_token")
    (await people.post(f"{CONSUMER}:ack", {"token": TOKENS.encode(Position(9_999))})).problem(409, "invalid_position")
    (await people.get("/api/v1/kv/b:watch?consumer=mails")).problem(400, "invalid_parameter")
    (await people.get(f"{PEOPLE}:watch?consumer=mails&before=true")).problem(400, "invalid_parameter")
    (await people.get(f"{PEOPLE}:watch?consumer=mails&from=1")).problem(400, "invalid_parameter")


async def test_consumers_are_bounded(people: Client) -> None:
    for number in range(64):
        assert (await people.put(f"/api/v1/consumers/c{number}", {})).status == 201

    (await people.put("/api/v1/consumers/more", {})).problem(422, "too_many_consumers")
    assert (await people.put("/api/v1/consumers/c1", {})).status == 200
