"""What a retry with the same key hears: the answer of the first attempt, of every status, marked as a replay."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import orjson
import pytest

from collectionstore_node.tests.api.http_clients import JSON, Client, RawClient
from collectionstore_node.tests.api.memory_replica import MemoryReplica

PEOPLE = "/api/v1/collections/people"
ADA = f"{PEOPLE}/documents/ada"
VALUE = "/api/v1/kv/b/k"
TRANSACTIONS = "/api/v1/transactions"
PUT_ADA = {"op": "put", "collection": "people", "id": "ada", "document": {"n": 2}}


@dataclass(frozen=True)
class Case:
    """A keyed request, what is there before it, and what changes before it is repeated."""

    status: int
    method: str
    target: str
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    after: tuple[tuple[str, str], ...] = (("DELETE", PEOPLE), ("DELETE", VALUE))


CASES = {
    "document created": Case(201, "PUT", ADA, {"n": 1}),
    "document replaced": Case(200, "PUT", ADA, {"n": 1}, before=(ADA,)),
    "document posted": Case(201, "POST", f"{PEOPLE}/documents", {"n": 1}),
    "document deleted": Case(200, "DELETE", ADA, before=(ADA,), after=(("PUT", ADA),)),
    "nothing to delete": Case(404, "DELETE", ADA, after=(("PUT", ADA),)),
    "document precondition": Case(412, "PUT", ADA, {"n": 1}, {"If-None-Match": "*"}, before=(ADA,)),
    "delete precondition": Case(412, "DELETE", ADA, None, {"If-Match": '"999"'}, before=(ADA,)),
    "no such collection": Case(
        404, "PUT", "/api/v1/collections/none/documents/a", {}, after=(("PUT", "/api/v1/collections/none"),)
    ),
    "value created": Case(201, "PUT", VALUE, b"1"),
    "value replaced": Case(200, "PUT", VALUE, b"1", before=(VALUE,)),
    "value deleted": Case(200, "DELETE", VALUE, before=(VALUE,), after=()),
    "value precondition": Case(412, "PUT", VALUE, b"1", {"If-None-Match": "*"}, before=(VALUE,)),
    "collection created": Case(201, "PUT", "/api/v1/collections/new", after=(("DELETE", "/api/v1/collections/new"),)),
    "collection exists": Case(200, "PUT", PEOPLE),
    "collection precondition": Case(412, "PUT", PEOPLE, None, {"If-None-Match": "*"}),
    "collection posted": Case(201, "POST", "/api/v1/collections", {"name": "new"}),
    "collection posted again": Case(409, "POST", "/api/v1/collections", {"name": "people"}),
    "collection dropped": Case(200, "DELETE", PEOPLE, after=(("PUT", PEOPLE),)),
    "transaction": Case(200, "POST", TRANSACTIONS, {"then": [PUT_ADA]}),
    "transaction refused": Case(
        412, "POST", TRANSACTIONS, {"then": [{**PUT_ADA, "if_exists": True}]}, after=(("PUT", ADA),)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_replay_answers_as_the_first_attempt_did_and_says_so(people: Client, case: Case) -> None:
    """Status, body, ETag and revision, whatever has become of the target since."""
    for target in case.before:
        assert (await people.put(target, {"n": 0})).status == 201
    raw = isinstance(case.body, bytes)
    body = case.body if isinstance(case.body, bytes) else orjson.dumps(case.body) if case.body is not None else b""
    headers = ({} if raw or case.body is None else JSON) | case.headers | {"Idempotency-Key": "once"}

    first = await people.send(case.method, case.target, body, headers)
    for method, target in case.after:
        await people.send(method, target, b"{}", JSON)
    again = await people.send(case.method, case.target, body, headers)

    assert (first.status, again.status) == (case.status, case.status), (first.body, again.body)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "X-Revision", "Location", "Content-Type"):
        assert again.headers.get(name) == first.headers.get(name), name
    one, other = first.json, again.json
    for each in (one, other):
        for name in ("instance", "request_id"):
            each.pop(name, None)
    assert one == other


async def test_a_replayed_transaction_says_revisions_and_leaves_values_out(people: Client) -> None:
    """Values are not kept, and those that are there now may be others: `document` and `value` are missing."""
    await people.put(ADA, {"n": 1})
    await people.send("PUT", VALUE, b"one")
    body = {
        "then": [
            {"op": "get", "collection": "people", "id": "ada"},
            {"op": "get", "bucket": "b", "key": "k"},
            {"op": "get", "bucket": "b", "key": "none"},
            {"op": "get", "collection": "people", "id": "none"},
            PUT_ADA,
        ]
    }

    first = await people.post(TRANSACTIONS, body, Idempotency_Key="t")
    again = await people.post(TRANSACTIONS, body, Idempotency_Key="t")

    absent = [{"revision": 0, "value": None}, {"revision": 0, "document": None}]
    written = {"revision": 4, "created": False}
    assert first.json["results"] == [
        {"revision": 2, "document": {"n": 1}},
        {"revision": 3, "value": base64.b64encode(b"one").decode()},
        *absent,
        written,
    ]
    assert again.json["results"] == [{"revision": 2}, {"revision": 3}, *absent, written]
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_two_keys_are_refused(people: Client, raw: RawClient, replica: MemoryReplica) -> None:
    """The first must not win: which is first is up to proxies."""
    proposed = len(replica.proposed)
    for second in (b"two", b"one", b""):
        answer = await raw.exchange(
            b"PUT /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n"
            b"Idempotency-Key: one\r\nIdempotency-Key: " + second + b"\r\n\r\n1"
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"invalid_idempotency_key"' in answer
    assert len(replica.proposed) == proposed


async def test_reads_ignore_the_key(people: Client) -> None:
    """They are safe to repeat; a client that sends the header with everything is served."""
    await people.put(ADA, {"n": 1})
    for key in ("k", "a b"):
        reply = await people.get(ADA, Idempotency_Key=key)
        assert (reply.status, reply.json) == (200, {"n": 1})
        assert "Idempotency-Replayed" not in reply.headers


async def test_a_transaction_that_reads_too_much_is_422_and_says_where(people: Client) -> None:
    """The problem names the operation and what is allowed; a retry with the key hears the same."""
    await people.send("PUT", VALUE, b"v" * (128 << 10))
    body = {"then": [{"op": "get", "bucket": "b", "key": "k"}] * 40}

    first = await people.post(TRANSACTIONS, body, Idempotency_Key="t")
    again = await people.post(TRANSACTIONS, body, Idempotency_Key="t")

    fields = first.problem(422, "transaction_too_large")
    assert fields["operation"] == "then[32]"
    assert str(4 << 20) in fields["detail"]
    assert (fields["outcome"], fields["retryable"]) == ("not_applied", False)
    assert again.problem(422, "transaction_too_large")["operation"] == "then[32]"
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("level", [1, 2])
async def test_collection_that_exists_at_every_level(people: Client, replica: MemoryReplica, level: int) -> None:
    """An outcome of level 1 does not hold its revision, and it is looked up."""
    replica.level = level
    reply = await people.send("PUT", PEOPLE, b"")
    assert (reply.status, reply.json, reply.headers["ETag"]) == (200, {"name": "people", "revision": 1}, '"1"')
