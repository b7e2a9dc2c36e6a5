"""Limits and the audit log over HTTP, on the hot path and on the general one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.limits import CollectionLimits, UserLimits
from collectionstore_node.api.http.accounting import Accounting
from collectionstore_node.api.http.touched import TOUCHED_MAX
from collectionstore_node.audit.events import TOUCHED_MAX as RECORDED_MAX
from collectionstore_node.audit.rules import Rules, parse_rules
from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.tests.api.accounted import Accounts
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

PEOPLE = "/api/v1/collections/people/documents"
ADA = Caller("ada", Method.TOKEN, credential="t17", address="10.0.0.7")
EVE = Caller("eve", Method.TOKEN)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def accounting(accounts: Accounts) -> Accounting:
    return accounts.accounting


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.001)


def settled(accounts: Accounts) -> None:
    """Every place and reservation is given back."""
    assert [one.inflight for one in accounts.shares] == [0] * 4
    assert accounts.auditor._reserved == 0


async def test_a_write_says_who_did_what_to_which_document(people: Client, accounts: Accounts) -> None:
    accounts.caller = ADA
    trace = "0af7651916cd43dd8448eb211c80319c"
    await people.send(
        "PUT",
        f"{PEOPLE}/a%20b",
        b'{"n":1}',
        {**JSON, "X-Request-Id": "mine", "traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )
    event = accounts.events[-1]
    assert (event.user, event.method, event.credential, event.address) == ("ada", "token", "t17", "10.0.0.7")
    assert (event.verb, event.kind, event.resource, event.id) == ("write", "collection", "people", "a b")
    assert event.operation == "PUT /api/v1/collections/{collection}/documents/{id}"
    assert (event.outcome, event.status, event.code, event.revision) == ("ok", 201, "", 2)
    assert (event.request_id, event.trace_id, event.received_bytes) == ("mine", trace, 7)
    assert event.sent_bytes > 0
    assert event.latency_us > 0
    assert event.content == ""
    settled(accounts)


async def test_without_access_control_the_address_is_recorded(people: Client, accounts: Accounts) -> None:
    event = accounts.events[-1]
    assert (event.user, event.method, event.address) == ("", "", "127.0.0.1")
    assert (event.verb, event.resource, event.status) == ("create", "people", 201)


async def test_every_request_of_the_hot_routes_is_recorded_once(people: Client, accounts: Accounts) -> None:
    before = len(accounts.events)
    await people.put(f"{PEOPLE}/ada", {"n": 1})
    await people.get(f"{PEOPLE}/ada")
    await people.send("PUT", "/api/v1/kv/greetings/a/b", b"x")
    await people.get("/api/v1/kv/greetings/a/b")
    await people.get(f"{PEOPLE}/none")
    await people.get(f"{PEOPLE}/ada?consistency=stale")
    recorded = [(one.verb, one.kind, one.resource, one.id, one.status) for one in accounts.events[before:]]
    assert recorded == [
        ("write", "collection", "people", "ada", 201),
        ("read", "collection", "people", "ada", 200),
        ("write", "bucket", "greetings", "a/b", 201),
        ("read", "bucket", "greetings", "a/b", 200),
        ("read", "collection", "people", "none", 404),
        ("read", "collection", "people", "ada", 200),
    ]
    assert [one.code for one in accounts.events[before:]][4] == "document_not_found"
    settled(accounts)


async def test_a_refused_write_says_why_and_that_nothing_happened(people: Client, accounts: Accounts) -> None:
    await people.put(f"{PEOPLE}/ada", {"n": 1})
    await people.put(f"{PEOPLE}/ada", {"n": 2}, If_Match='"77"')
    event = accounts.events[-1]
    assert (event.status, event.code, event.outcome) == (412, "precondition_failed", "not_applied")
    assert event.revision == 3
    assert event.request_id


async def test_an_unknown_outcome_is_recorded_as_unknown(
    people: Client, replica: MemoryReplica, accounts: Accounts
) -> None:
    replica.write_error = OutcomeUnknown("the leader is gone")
    await people.put(f"{PEOPLE}/ada", {"n": 1})
    event = accounts.events[-1]
    assert (event.status, event.code, event.outcome) == (504, "outcome_unknown", "unknown")
    settled(accounts)


async def test_probes_and_paths_that_are_none_are_not_recorded(people: Client, accounts: Accounts) -> None:
    before = len(accounts.events)
    for path in ("/livez", "/metrics", "/status", "/nothing", "/api/v2/x"):
        await people.get(path)
    assert len(accounts.events) == before
    await people.get("/debug/raft")
    assert accounts.events[-1].operation == "GET /debug/raft"


async def test_a_bad_body_is_recorded_without_its_content(people: Client, accounts: Accounts) -> None:
    await people.send("PUT", f"{PEOPLE}/ada", b'{"secret":', JSON)
    event = accounts.events[-1]
    assert (event.status, event.code) == (400, "malformed_json")
    assert "secret" not in repr(event)


class TestContent:
    """A rule that asks for the content of requests."""

    @pytest.fixture
    def accounts(self) -> Accounts:
        return Accounts(rules=Rules(parse_rules('[{"resources": ["people"], "verbs": ["write"], "content": true}]')))

    async def test_the_body_is_recorded_where_a_rule_asks_for_it(self, people: Client, accounts: Accounts) -> None:
        await people.put(f"{PEOPLE}/ada", {"n": 1})
        assert accounts.events[-1].content == '{"n": 1}' or accounts.events[-1].content == '{"n":1}'
        await people.post(f"{PEOPLE}", {"n": 2})
        assert orjson.loads(accounts.events[-1].content) == {"n": 2}
        await people.send("PUT", "/api/v1/kv/b/k", b"private")
        assert accounts.events[-1].content == ""

    async def test_long_content_is_cut(self, people: Client, accounts: Accounts) -> None:
        await people.put(f"{PEOPLE}/ada", {"n": "é" * 9_000})
        content = accounts.events[-1].content
        assert len(content) == 4_097
        assert content.endswith("…")


class TestBlocking:
    """An audit log that refuses requests while a sink fails."""

    @pytest.fixture
    def accounts(self) -> Accounts:
        return Accounts(rules=Rules(reads=0.0), blocking="WhenFailing")

    async def test_a_request_is_refused_before_it_has_an_effect(
        self, people: Client, replica: MemoryReplica, accounts: Accounts
    ) -> None:
        accounts.feeder.error = "the disk is full"
        revision = replica.revision
        reply = await people.put(f"{PEOPLE}/ada", {"n": 1})
        problem = reply.problem(503, "audit_unavailable")
        assert (problem["outcome"], problem["retryable"]) == ("not_applied", True)
        assert "Retry-After" in reply.headers
        assert replica.revision == revision
        # What is not recorded is served, and so are the operator and what mends a cluster.
        assert (await people.get("/api/v1/cluster")).status == 200
        accounts.caller = Caller("operator-1", Method.CERTIFICATE, ("operator",))
        assert (await people.put(f"{PEOPLE}/operated", {"n": 1})).status == 201
        accounts.caller = None
        assert (await people.get("/api/v1/collections/people")).status == 200
        accounts.feeder.error = ""
        assert (await people.put(f"{PEOPLE}/ada", {"n": 1})).status == 201
        settled(accounts)


async def test_a_user_over_its_rate_gets_429_and_when_to_come_again(
    people: Client, replica: MemoryReplica, accounts: Accounts
) -> None:
    accounts.caller, accounts.revision = ADA, 1
    accounts.user_limits = UserLimits(requests_per_second=1)
    replies = [await people.put(f"{PEOPLE}/ada", {"n": 1}) for _ in range(3)]
    assert [one.status for one in replies] == [201, 200, 429]
    problem = replies[2].problem(429, "rate_limited")
    assert (problem["outcome"], problem["retryable"], problem["retry_after_ms"]) == ("not_applied", True, 1_000)
    assert (problem["scope"], problem["limit"], problem["value"]) == ("user", "requests_per_second", 1)
    assert replies[2].headers["Retry-After"] == "1"
    assert replica.revision == 3
    accounts.caller = EVE
    assert (await people.get(f"{PEOPLE}/ada")).status == 200
    accounts.caller = Caller("operator-1", Method.CERTIFICATE, ("operator",))
    assert {(await people.get(f"{PEOPLE}/ada")).status for _ in range(9)} == {200}
    settled(accounts)


async def test_a_collection_over_its_bytes_refuses_whoever_asks(people: Client, accounts: Accounts) -> None:
    accounts.revision = 1
    accounts.collection_limits["people"] = CollectionLimits("people", bytes_per_second=100)
    assert (await people.put(f"{PEOPLE}/ada", {"n": "x" * 1_000})).status == 201
    problem = (await people.get(f"{PEOPLE}/ada")).problem(429, "rate_limited")
    assert (problem["scope"], problem["limit"]) == ("collection", "bytes_per_second")
    assert (await people.send("PUT", "/api/v1/kv/people/k", b"x")).status == 201
    assert (await people.get("/api/v1/collections/people")).status == 429
    accounts.time.now += 60
    assert (await people.get(f"{PEOPLE}/ada")).status == 200


async def test_an_answer_that_is_streamed_is_charged_as_it_is_sent(crowd: Client, accounts: Accounts) -> None:
    accounts.caller, accounts.revision = ADA, 1
    accounts.user_limits = UserLimits(bytes_per_second=100)
    reply = await crowd.get("/api/v1/collections/people:export")
    assert reply.status == 200
    assert len(reply.body) > 300
    (await crowd.get(f"{PEOPLE}/d00")).problem(429, "rate_limited")


async def test_watches_are_streams_of_their_user(people: Client, accounts: Accounts) -> None:
    accounts.caller, accounts.revision = ADA, 1
    accounts.user_limits = UserLimits(streams=1)
    watching = asyncio.ensure_future(people.get("/api/v1/collections/people:watch?wait=10s"))
    await until(lambda: bool(accounts.limiter._streams))
    problem = (await people.get("/api/v1/collections/people:watch?wait=0s")).problem(429, "rate_limited")
    assert problem["limit"] == "streams"
    accounts.caller = EVE
    await people.put(f"{PEOPLE}/ada", {"n": 1})
    assert (await watching).status == 200
    await until(lambda: not accounts.limiter._streams)
    accounts.caller = ADA
    assert (await people.get("/api/v1/collections/people:watch?from=0&wait=0s")).status == 200
    settled(accounts)


class TestShares:
    """A member that does four things at a time."""

    @pytest.fixture
    def accounts(self) -> Accounts:
        return Accounts(places=4)

    async def test_a_user_with_its_share_in_flight_is_refused_and_another_one_served(
        self, people: Client, replica: MemoryReplica, accounts: Accounts
    ) -> None:
        accounts.caller = EVE
        assert (await people.put(f"{PEOPLE}/eve", {"n": 1})).status == 201
        accounts.caller = ADA
        replica.hold = asyncio.Event()
        waiting = [asyncio.ensure_future(people.put(f"{PEOPLE}/a{at}", {"n": 1})) for at in range(4)]
        await until(lambda: accounts.shares[0].refused >= 2)
        accounts.caller = EVE
        served = asyncio.ensure_future(people.put(f"{PEOPLE}/eve", {"n": 2}))
        await until(lambda: accounts.shares[1].inflight >= 3)
        replica.hold.set()
        replies = await asyncio.gather(*waiting)
        assert sorted(one.status for one in replies) == [201, 201, 503, 503]
        assert (await served).status == 200
        settled(accounts)


async def test_a_transaction_is_recorded_with_what_it_names(people: Client, accounts: Accounts) -> None:
    await people.send("PUT", "/api/v1/collections/books", b"")
    transaction = {
        "compare": [{"collection": "books", "id": "a", "field": "exists", "operand": False}],
        "then": [
            {"op": "put", "collection": "people", "id": "a", "document": {}},
            {"op": "put", "collection": "people", "id": "b", "document": {}},
        ],
        "else": [{"op": "get", "bucket": "greetings", "key": "k"}],
    }
    assert (await people.post("/api/v1/transactions", transaction)).status == 200
    event = accounts.events[-1]
    assert (event.verb, event.kind, event.resource) == ("transact", "cluster", "")
    assert event.touched == ("bucket:greetings", "collection:books", "collection:people")
    many = {"then": [{"op": "get", "bucket": f"b{at:02}", "key": "k"} for at in range(20)]}
    await people.post("/api/v1/transactions", many)
    assert len(accounts.events[-1].touched) == TOUCHED_MAX + 1 == RECORDED_MAX
    assert accounts.events[-1].touched[-1] == "..."
    commit = {"reads": [], "writes": [{"op": "put", "collection": "people", "id": "c", "document": {}}]}
    await people.post("/api/v1/transactions:commit", commit)
    assert accounts.events[-1].touched == ("collection:people",)
    await people.put(f"{PEOPLE}/ada", {"n": 1})
    assert not accounts.events[-1].touched
