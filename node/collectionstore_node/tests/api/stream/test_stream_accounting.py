"""Limits and the audit log of the operations of pipelined streams."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.limits import CollectionLimits, UserLimits
from collectionstore_node.api.http.accounting import Accounting
from collectionstore_node.audit.rules import Rules, parse_rules
from collectionstore_node.tests.api.accounted import Accounts
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.stream.conftest import Open

ADA = Caller("ada", Method.TOKEN)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts(rules=Rules(parse_rules('[{"resources": ["secret"], "content": true}]'), reads=1.0))


@pytest.fixture
def accounting(accounts: Accounts) -> Accounting:
    return accounts.accounting


async def test_every_operation_is_recorded_with_its_outcome(
    people: Client, open_stream: Open, accounts: Accounts
) -> None:
    accounts.caller = ADA
    stream = await open_stream()
    before = len(accounts.events)
    await stream.ask("put_document", collection="people", id="ada", document={"n": 1}, request_id="mine")
    await stream.ask("get_document", collection="people", id="ada")
    await stream.ask("get_document", collection="people", id="none")
    await stream.ask("put_value", bucket="b", key="k", value=b"x")
    await stream.ask("create_collection", collection="books")
    await stream.ask("transaction", transaction={"then": [{"op": "get", "collection": "people", "id": "ada"}]})
    events = accounts.events[before:]
    assert [(one.operation, one.verb, one.resource, one.id, one.status) for one in events] == [
        ("stream put_document", "write", "people", "ada", 201),
        ("stream get_document", "read", "people", "ada", 200),
        ("stream get_document", "read", "people", "none", 404),
        ("stream put_value", "write", "b", "k", 201),
        ("stream create_collection", "create", "books", "", 201),
        ("stream transaction", "transact", "", "", 200),
    ]
    assert (events[0].user, events[0].request_id, events[0].revision, events[0].outcome) == ("ada", "mine", 2, "ok")
    assert (events[2].code, events[2].outcome) == ("document_not_found", "not_applied")
    assert not any(one.content for one in events)
    assert [one.touched for one in events] == [(), (), (), (), (), ("collection:people",)]
    assert [one.inflight for one in accounts.shares] == [0] * 4


@pytest.mark.parametrize("protocol", ["collectionstore.v1.msgpack", "collectionstore.v1.json"])
async def test_content_is_recorded_where_a_rule_asks_for_it(
    people: Client, open_stream: Open, accounts: Accounts, protocol: str
) -> None:
    await people.send("PUT", "/api/v1/collections/secret", b"")
    stream = await open_stream(protocol)
    await stream.ask("put_document", collection="secret", id="a", document={"n": 1})
    assert accounts.events[-1].content.replace(" ", "") == '{"n":1}'


async def test_an_operation_over_a_limit_is_refused_and_the_stream_goes_on(
    people: Client, open_stream: Open, accounts: Accounts
) -> None:
    accounts.revision = 1
    accounts.collection_limits["people"] = CollectionLimits("people", requests_per_second=1)
    stream = await open_stream()
    answers = [await stream.ask("put_document", collection="people", id="a", document={}) for _ in range(3)]
    assert [one["status"] for one in answers] == [201, 200, 429]
    assert answers[2]["body"]["code"] == "rate_limited"
    assert (await stream.ask("put_value", bucket="b", key="k", value=b"x"))["status"] == 201


async def test_streams_of_a_user_are_counted_until_they_end(
    people: Client, open_stream: Open, accounts: Accounts
) -> None:
    accounts.caller, accounts.revision = ADA, 1
    accounts.user_limits = UserLimits(streams=1)
    first = await open_stream()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await open_stream()
    assert refused.value.status == 429
    await first.close()
    async with asyncio.timeout(10):
        while accounts.limiter._streams:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.001)
    assert (await (await open_stream()).ask("get_collection", collection="people"))["status"] == 200
