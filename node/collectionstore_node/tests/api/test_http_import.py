"""Imports over HTTP: batches, modes, mistakes by line, resuming, and what an export and an import make together."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectionstore_node.api import ApiServer, make_client_server
from collectionstore_node.errors import OutcomeUnknown, Overloaded
from collectionstore_node.service import Store, imports
from collectionstore_node.service.imports import BATCH_LINES, IMPORTS_MAX
from collectionstore_node.statemachine.commands import Transaction
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.http_clients import Client, RawClient, read_head
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.api.test_http_export import parsed
from collectionstore_node.tests.api.test_http_indexes import built
from collectionstore_node.tests.documents.json_values import VALUES

PEOPLE = "/api/v1/collections/people"
IMPORT = f"{PEOPLE}:import"
NDJSON = {"Content-Type": "application/x-ndjson"}
CSV = {"Content-Type": "text/csv"}


def lines(*documents: Any) -> bytes:
    return b"".join(orjson.dumps(one) + b"\n" for one in documents)


async def stored(client: Client, collection: str = "people") -> dict[str, Any]:
    """Return all documents by ID."""
    found, _ = parsed((await client.get(f"/api/v1/collections/{collection}:export")).body)
    return {one.pop("_id"): {name: one[name] for name in one if name != "_revision"} for one in found}


async def test_lines_become_documents(people: Client) -> None:
    body = lines({"_id": "ada", "name": "Ada"}, {"_id": "alan", "_revision": 77, "born": 1912}, {"name": "new"})

    reply = await people.send("POST", IMPORT, body, NDJSON)

    assert reply.status == 200
    assert reply.json == {
        "lines": 3,
        "inserted": 3,
        "replaced": 0,
        "skipped": 0,
        "failed": 0,
        "errors": [],
        "revision": 2,
    }
    found = await stored(people)
    assert {name: found.pop(name) for name in ("ada", "alan")} == {"ada": {"name": "Ada"}, "alan": {"born": 1912}}
    assert list(found.values()) == [{"name": "new"}]


async def test_a_batch_is_one_command(people: Client, replica: MemoryReplica) -> None:
    body = lines(*({"_id": f"d{at:04}", "n": at} for at in range(2 * BATCH_LINES + 1)))

    assert (await people.send("POST", IMPORT, body, NDJSON)).json["inserted"] == 2 * BATCH_LINES + 1
    actions = [command.action for command in replica.proposed[1:]]
    assert [len(one.then) for one in actions if isinstance(one, Transaction)] == [BATCH_LINES, BATCH_LINES, 1]


@pytest.mark.parametrize(
    ("mode", "status", "counts", "documents"),
    [
        ("insert", 207, (1, 0, 0, 1), {"a": {"old": 1}, "b": {"new": 2}}),
        ("skip", 200, (1, 0, 1, 0), {"a": {"old": 1}, "b": {"new": 2}}),
        ("upsert", 200, (1, 1, 0, 0), {"a": {"new": 1}, "b": {"new": 2}}),
        ("replace", 207, (0, 1, 0, 1), {"a": {"new": 1}}),
    ],
)
async def test_modes(
    people: Client, mode: str, status: int, counts: tuple[int, ...], documents: dict[str, Any]
) -> None:
    await people.put(f"{PEOPLE}/documents/a", {"old": 1})

    reply = await people.send(
        "POST", f"{IMPORT}?mode={mode}", lines({"_id": "a", "new": 1}, {"_id": "b", "new": 2}), NDJSON
    )

    assert reply.status == status
    assert tuple(reply.json[name] for name in ("inserted", "replaced", "skipped", "failed")) == counts
    assert await stored(people) == documents
    codes = {"insert": [(1, "a", "document_exists", 409)], "replace": [(2, "b", "document_not_found", 404)]}
    assert [(one["line"], one["id"], one["code"], one["status"]) for one in reply.json["errors"]] == codes.get(mode, [])


async def test_the_same_id_twice_is_written_twice_in_order(people: Client) -> None:
    body = lines({"_id": "a", "n": 1}, {"_id": "b"}, {"_id": "a", "n": 2})

    assert (await people.send("POST", f"{IMPORT}?mode=upsert", body, NDJSON)).json["replaced"] == 1
    assert await stored(people) == {"a": {"n": 2}, "b": {}}
    assert (await people.send("POST", IMPORT, body, NDJSON)).json["failed"] == 3


MISTAKES = [
    (b"{broken", "malformed_json"),
    (b"[1]", "not_an_object"),
    (b'{"a":1,"a":2}', "duplicate_key"),
    (b'{"a":1e999}', "number_out_of_range"),
    (b'{"_x":1}', "reserved_field"),
    (b'{"_id":7}', "invalid_body"),
    (b'{"_id":""}', "invalid_name"),
    (b'{"_id":"a\\u0000b"}', "invalid_name"),
    (b'{"_id":".."}', "invalid_name"),
    (b'{"a":' + b"[" * 101 + b"]" * 101 + b"}", "nesting_too_deep"),
    (b'{"a":"' + b"x" * (64 << 10) + b'"}', "too_large"),
    (b'{"a":"\xff"}', "malformed_json"),
]


@pytest.mark.parametrize(("line", "code"), MISTAKES, ids=[code for _, code in MISTAKES])
async def test_a_line_with_a_mistake_fails_alone(people: Client, line: bytes, code: str) -> None:
    body = lines({"_id": "a"}) + line + b"\n" + lines({"_id": "b"})

    reply = await people.send("POST", IMPORT, body, NDJSON)

    assert (reply.status, reply.json["inserted"], reply.json["failed"]) == (207, 2, 1)
    (error,) = reply.json["errors"]
    assert (error["line"], error["code"]) == (2, code)
    assert "line 1" not in error["detail"]


async def test_more_mistakes_than_allowed_end_an_import(people: Client) -> None:
    body = lines({"_id": "a"}) + b"x\n" * 3 + lines({"_id": "b"}) * 1

    problem = (await people.send("POST", f"{IMPORT}?max_errors=2", body, NDJSON)).problem(422, "too_many_errors")
    assert (problem["failed"], problem["inserted"], len(problem["errors"])) == (3, 0, 3)
    assert problem["outcome"] == "not_applied"
    assert (await people.send("POST", f"{IMPORT}?max_errors=0", lines({"_id": "a"}), NDJSON)).status == 200
    problem = (await people.send("POST", f"{IMPORT}?max_errors=0", lines({"_id": "a"}), NDJSON)).problem(
        422, "too_many_errors"
    )
    assert problem["errors"][0]["code"] == "document_exists"


async def test_indexes_refuse_lines_by_name(people: Client, replica: MemoryReplica) -> None:
    await people.post(f"{PEOPLE}/indexes", {"name": "by_name", "fields": {"name": 1}, "unique": True})
    await built(replica)
    await people.put(f"{PEOPLE}/documents/old", {"name": "Ada"})

    body = lines({"_id": "a", "name": "Ada"}, {"_id": "b", "name": "Bob"}, {"_id": "c", "name": "Bob"})
    reply = await people.send("POST", IMPORT, body, NDJSON)

    assert (reply.status, reply.json["inserted"], reply.json["failed"]) == (207, 1, 2)
    assert sorted((one["line"], one["code"], one["index"]) for one in reply.json["errors"]) == [
        (1, "unique_violation", "by_name"),
        (3, "unique_violation", "by_name"),
    ]


async def test_a_schema_refuses_lines_and_says_where(people: Client) -> None:
    schema = {"schema": {"document": {"properties": {"n": {"type": "integer"}}}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    assert (await people.send("PATCH", PEOPLE, orjson.dumps(schema), merge)).status == 200

    body = lines({"_id": "a", "n": 1}, {"_id": "b", "n": "x"}, {"_id": "c"})
    reply = await people.send("POST", IMPORT, body, NDJSON)

    assert (reply.status, reply.json["inserted"]) == (207, 2)
    (error,) = reply.json["errors"]
    assert (error["line"], error["id"], error["code"]) == (2, "b", "schema_violation")
    assert error["errors"][0]["pointer"] == "/n"


@pytest.mark.parametrize(("ids", "named"), [("sequence", False), ("client", True)])
async def test_who_makes_the_ids(people: Client, *, ids: str, named: bool) -> None:
    merge = {"Content-Type": "application/merge-patch+json"}
    assert (await people.send("PATCH", PEOPLE, orjson.dumps({"ids": ids}), merge)).status == 200

    reply = await people.send("POST", IMPORT, lines({"_id": "a"}, {"n": 1}), NDJSON)

    assert (reply.status, reply.json["inserted"]) == (207, int(named))
    assert {one["code"] for one in reply.json["errors"]} == {"id_not_allowed"}


async def test_csv_becomes_documents(people: Client) -> None:
    body = (
        b"\xef\xbb\xbf_id,name,home.city,zip,tags,_revision\r\n"
        b'ada,"Ada, ""the"" Countess",London,0012,"[1,2]",9\r\n'
        b"\r\n"
        b'alan,"two\r\nlines",,12,,\r\n'
        b",generated,,true,,"
    )

    reply = await people.send("POST", f"{IMPORT}?types=zip:string", body, CSV)

    assert (reply.status, reply.json["inserted"], reply.json["lines"]) == (200, 3, 5)
    found = await stored(people)
    assert found.pop("ada") == {
        "name": 'Ada, "the" Countess',
        "home": {"city": "London"},
        "zip": "0012",
        "tags": [1, 2],
    }
    assert found.pop("alan") == {"name": "two\r\nlines", "zip": "12"}
    assert list(found.values()) == [{"name": "generated", "zip": "true"}]


@pytest.mark.parametrize(
    ("body", "query", "code"),
    [
        (b"", "", "invalid_body"),
        (b"a,a\r\n1,2\r\n", "", "invalid_body"),
        (b"a\r\n1\r\n", "?types=b:number", "invalid_parameter"),
        (b"a\r\n1\r\n", "?types=a:date", "invalid_parameter"),
        (b"a\r\n1\r\n", "?types=a", "invalid_parameter"),
        (b'a\r\n"1\r\n', "", "invalid_body"),
        (b"a\r\n" + b"x" * (90 << 10), "", "too_large"),
    ],
)
async def test_csv_that_is_none_is_refused(people: Client, body: bytes, query: str, code: str) -> None:
    reply = await people.send("POST", IMPORT + query, body, CSV)

    assert (reply.json["code"], reply.status) == (code, 413 if code == "too_large" else 400)


async def test_rows_with_mistakes_fail_alone(people: Client) -> None:
    body = b'_id,n\r\na,1\r\nb,1,2\r\nc,x\r\nd,"2"\r\n'

    reply = await people.send("POST", f"{IMPORT}?types=n:number", body, CSV)

    assert (reply.status, reply.json["inserted"]) == (207, 2)
    assert [(one["line"], one["code"]) for one in reply.json["errors"]] == [(3, "invalid_body"), (4, "invalid_body")]
    assert await stored(people) == {"a": {"n": 1}, "d": {"n": 2}}


# The trailer


async def test_a_trailer_is_checked(people: Client, client: Client) -> None:
    await client.send("PUT", "/api/v1/collections/copy", b"")
    await people.send("POST", IMPORT, lines({"_id": "a", "n": 1}, {"_id": "b", "n": 2}), NDJSON)
    exported = (await people.get(f"{PEOPLE}:export")).body
    copy = "/api/v1/collections/copy:import?mode=upsert"

    assert (await client.send("POST", copy, exported, NDJSON)).json["inserted"] == 2
    assert (await client.send("POST", copy, exported.replace(b"\n", b"\r\n"), NDJSON)).status == 200
    changed = (await client.send("POST", copy, exported.replace(b'"n":1', b'"n":3'), NDJSON)).problem(
        422, "trailer_mismatch"
    )
    assert (changed["replaced"], changed["outcome"]) == (2, "applied")
    short = exported.split(b"\n", 1)[1]
    (await client.send("POST", copy, short, NDJSON)).problem(422, "trailer_mismatch")
    cut = exported.rpartition(b'{"_trailer"')[0]
    assert (await client.send("POST", copy, cut, NDJSON)).status == 200
    (await client.send("POST", f"{copy}&trailer=required", cut, NDJSON)).problem(422, "trailer_mismatch")
    assert (await client.send("POST", f"{copy}&trailer=required", exported, NDJSON)).status == 200
    behind = await client.send("POST", copy, exported + lines({"_id": "c"}), NDJSON)
    assert (behind.status, behind.json["failed"]) == (207, 1)


# Again


async def test_an_import_that_is_sent_again_applies_nothing_twice(people: Client, replica: MemoryReplica) -> None:
    """Init: an import of which the second batch has an unknown fate. Step: it is sent again. Check: each line once."""
    keyed = {**NDJSON, "Idempotency-Key": "import-1"}
    body = lines(*({"_id": f"d{at:04}"} for at in range(BATCH_LINES)), *({"n": at} for at in range(BATCH_LINES)))
    propose = replica.propose
    calls = 0

    async def lost(command: Any, *, timeout_s: float) -> Any:
        nonlocal calls
        calls += 1
        outcome = await propose(command, timeout_s=timeout_s)
        if calls == 2:
            raise OutcomeUnknown("lost")
        return outcome

    replica.propose = lost  # type: ignore[method-assign]
    problem = (await people.send("POST", IMPORT, body, keyed)).problem(504, "outcome_unknown")
    assert (problem["lines"], problem["inserted"], problem["retryable"]) == (BATCH_LINES, BATCH_LINES, True)
    replica.propose = propose  # type: ignore[method-assign]
    await people.delete(f"{PEOPLE}/documents/d0000")

    again = await people.send("POST", IMPORT, body, keyed)

    assert (again.status, again.json["inserted"], again.json["lines"]) == (200, 2 * BATCH_LINES, 2 * BATCH_LINES)
    found = await stored(people)
    assert "d0000" not in found
    assert len(found) == 2 * BATCH_LINES - 1
    rest = await people.send("POST", f"{IMPORT}?skip={BATCH_LINES}", body, keyed)
    assert (rest.json["inserted"], len(await stored(people))) == (BATCH_LINES, 2 * BATCH_LINES - 1)


async def test_lines_that_failed_before_are_counted_again(people: Client) -> None:
    keyed = {**NDJSON, "Idempotency-Key": "import-2"}
    await people.put(f"{PEOPLE}/documents/b", {"old": 1})
    await people.put(f"{PEOPLE}/documents/d", {"old": 1})
    body = lines(*({"_id": name} for name in "abcde"))

    first = await people.send("POST", IMPORT, body, keyed)
    again = await people.send("POST", IMPORT, body, keyed)

    assert (first.json["inserted"], [one["line"] for one in first.json["errors"]]) == (3, [2, 4])
    assert (again.status, again.json["inserted"], again.json["failed"], again.json["failed_before"]) == (207, 3, 2, 2)
    assert (await stored(people))["b"] == {"old": 1}


async def test_another_body_under_the_same_key_is_refused(people: Client) -> None:
    keyed = {**NDJSON, "Idempotency-Key": "import-3"}
    assert (await people.send("POST", IMPORT, lines({"_id": "a"}), keyed)).status == 200

    (await people.send("POST", IMPORT, lines({"_id": "b"}), keyed)).problem(422, "idempotency_key_reused")
    (await people.send("POST", f"{IMPORT}?mode=upsert", lines({"_id": "a"}), keyed)).problem(
        422, "idempotency_key_reused"
    )


# While it arrives


async def test_lines_of_progress_and_the_result(people: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectionstore_node.api.handlers.imports.PROGRESS_S", 0.0)
    body = lines(*({"_id": f"d{at:04}"} for at in range(BATCH_LINES + 1)))

    reply = await people.send("POST", f"{IMPORT}?progress=true", body, NDJSON)

    assert (reply.status, reply.headers["Content-Type"]) == (207, "application/x-ndjson")
    first, second, last = map(orjson.loads, reply.body.splitlines())
    assert (first["progress"]["lines"], second["progress"]["lines"]) == (BATCH_LINES, BATCH_LINES + 1)
    assert last["result"]["inserted"] == BATCH_LINES + 1
    failed = await people.send("POST", f"{IMPORT}?progress=true&max_errors=0", body, NDJSON)
    assert orjson.loads(failed.body.splitlines()[-1])["problem"]["code"] == "too_many_errors"


async def test_a_client_that_waits_for_it_is_told_to_send_before_the_answer_begins(
    people: Client, raw: RawClient
) -> None:
    body = lines({"_id": "a"})
    reader, writer = await raw.connect()
    writer.write(
        f"POST {IMPORT}?progress=true HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    assert await read_head(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)

    answer = await reader.read()

    writer.close()
    assert answer.startswith(b"HTTP/1.1 207")
    assert answer.count(b"HTTP/1.1") == 1
    assert b'{"result":{"lines":1,' in answer


async def test_a_client_may_close_its_side_behind_the_body(people: Client, raw: RawClient) -> None:
    body = lines(*({"_id": f"d{at:04}"} for at in range(3 * BATCH_LINES)))
    reader, writer = await raw.connect()
    head = f"POST {IMPORT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    writer.write_eof()

    answer = await reader.read()

    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert f'"inserted":{3 * BATCH_LINES},'.encode() in answer


async def test_batches_are_applied_while_the_body_arrives(
    people: Client, raw: RawClient, replica: MemoryReplica
) -> None:
    """A body without an end so far: what has arrived of it is applied."""
    reader, writer = await raw.connect()
    writer.write(
        f"POST {IMPORT}?progress=true HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
    )
    part = lines(*({"_id": f"d{at:04}"} for at in range(BATCH_LINES)))
    writer.write(b"%x\r\n%b\r\n" % (len(part), part))
    head = await read_head(reader)
    while len(replica.proposed) < 2:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)

    assert head.startswith(b"HTTP/1.1 207")
    assert len(await stored(people)) == BATCH_LINES
    writer.write(b"0\r\n\r\n")
    assert b'{"result":{"lines":100,' in await reader.read()
    writer.close()


async def test_a_body_that_ends_early_has_applied_whole_batches(
    people: Client, raw: RawClient, metrics: RecordedMetrics
) -> None:
    _, writer = await raw.connect()
    part = lines(*({"_id": f"d{at:04}"} for at in range(BATCH_LINES + 7)))
    writer.write(
        f"POST {IMPORT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        f"Content-Length: {len(part) + 100}\r\n\r\n".encode()
        + part
    )
    while len(await stored(people)) < BATCH_LINES:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    writer.transport.abort()
    while metrics.problems["client_closed"] == 0:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)

    assert len(await stored(people)) == BATCH_LINES


async def test_a_node_that_has_too_much_to_do_is_asked_again(
    people: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [Overloaded("full", retry_after_s=0.001)]
    propose = replica.propose

    async def full(command: Any, *, timeout_s: float) -> Any:
        if errors:
            raise errors.pop()
        return await propose(command, timeout_s=timeout_s)

    monkeypatch.setattr(replica, "propose", full)
    assert (await people.send("POST", IMPORT, lines({"_id": "a"}), NDJSON)).json["inserted"] == 1
    errors.append(Overloaded("full", retry_after_s=60.0))
    problem = (await people.send("POST", IMPORT, lines({"_id": "b"}), NDJSON)).problem(503, "overloaded")
    assert (problem["lines"], problem["outcome"]) == (0, "not_applied")


async def test_imports_at_a_time_are_bounded(people: Client, raw: RawClient) -> None:
    waiting = []
    for _ in range(IMPORTS_MAX):
        reader, writer = await raw.connect()
        head = f"POST {IMPORT} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nExpect: 100-continue\r\n"
        writer.write(f"{head}Content-Length: 5\r\n\r\n".encode())
        assert (await read_head(reader)).startswith(b"HTTP/1.1 100")
        waiting.append(writer)

    (await people.send("POST", IMPORT, lines({"_id": "a"}), NDJSON)).problem(503, "overloaded")
    waiting[0].transport.abort()
    while (await people.send("POST", f"{IMPORT}?mode=upsert", lines({"_id": "a"}), NDJSON)).status != 200:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    for writer in waiting:
        writer.transport.abort()


async def test_an_import_lasts_and_is_not_slow(
    people: Client, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = server._around.exchange
    slow: list[object] = []
    monkeypatch.setattr(exchange, "_slow_s", 0.0)
    monkeypatch.setattr(exchange, "_log_slow", lambda *given: slow.append(given[1].pattern))

    assert (await people.send("POST", IMPORT, lines({"_id": "a"}), NDJSON)).status == 200
    assert (await people.get(f"{PEOPLE}:export")).status == 200

    assert slow == ["/api/v1/collections/{collection}:export"]


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({}, "", 415, "unsupported_content_type"),
        ({"Content-Type": "application/json"}, "", 415, "unsupported_content_type"),
        (NDJSON, "?mode=merge", 400, "invalid_parameter"),
        (NDJSON, "?types=a:number", 400, "invalid_parameter"),
        (NDJSON, "?max_errors=1001", 400, "invalid_parameter"),
        (NDJSON, "?skip=-1", 400, "invalid_parameter"),
        (NDJSON | {"If-Match": "*"}, "", 400, "invalid_precondition"),
        (NDJSON | {"Idempotency-Key": "a b"}, "", 400, "invalid_idempotency_key"),
        (NDJSON | {"Content-Encoding": "gzip"}, "", 415, "unsupported_encoding"),
    ],
)
async def test_what_is_wrong_with_a_request_is_refused(
    people: Client, headers: dict[str, str], query: str, status: int, code: str
) -> None:
    (await people.send("POST", IMPORT + query, lines({"_id": "a"}), headers)).problem(status, code)


async def test_there_must_be_a_collection(client: Client) -> None:
    problem = (await client.send("POST", "/api/v1/collections/none:import", lines({"_id": "a"}), NDJSON)).problem(
        404, "collection_not_found"
    )
    assert problem["lines"] == 0


# Both together

NAMES = st.text(min_size=1, max_size=6).filter(lambda name: name[0] != "_")
COLUMN = st.sampled_from(["a", "b", "name", 'q"x', "e,f"])
TEXTS = st.one_of(VALUES, st.text(), st.sampled_from(["1", "true", "null", "", "[", '"', "1e5"]))
KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).filter(
    lambda key: key not in (".", "..") and "/" not in key
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(KEYS, st.dictionaries(NAMES, TEXTS, max_size=4), max_size=5))
def test_what_is_exported_and_imported_is_equal(documents: dict[str, dict[str, Any]]) -> None:
    async def both(client: Client) -> None:
        body = lines(*({"_id": name, **document} for name, document in documents.items()))
        assert (await client.send("POST", "/api/v1/collections/one:import", body, NDJSON)).json["failed"] == 0
        exported = (await client.get("/api/v1/collections/one:export")).body
        reply = await client.send("POST", "/api/v1/collections/two:import?trailer=required", exported, NDJSON)
        assert (reply.status, reply.json["inserted"]) == (200, len(documents))
        assert repr(await stored(client, "two")) == repr(
            dict(sorted(documents.items(), key=lambda one: one[0].encode()))
        )

    _served(both)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(KEYS, st.dictionaries(COLUMN, TEXTS, max_size=4), max_size=5))
def test_what_is_exported_and_imported_as_csv_is_equal(documents: dict[str, dict[str, Any]]) -> None:
    async def both(client: Client) -> None:
        body = lines(*({"_id": name, **document} for name, document in documents.items()))
        assert (await client.send("POST", "/api/v1/collections/one:import", body, NDJSON)).json["failed"] == 0
        fields = sorted({name for document in documents.values() for name in document}) or ["a"]
        exported = (await client.post("/api/v1/collections/one:export", {"format": "csv", "fields": fields})).body
        assert len(list(csv.reader(io.StringIO(exported.decode(), newline="")))) == 1 + len(documents)
        reply = await client.send("POST", "/api/v1/collections/two:import", exported, CSV)
        assert (reply.status, reply.json["inserted"]) == (200, len(documents)), reply.body
        assert await stored(client, "two") == documents

    _served(both)


def _served(work: Any) -> None:
    """Run `work` with a client of a new store that has two collections."""

    async def run() -> None:
        server = make_client_server(
            Store(MemoryReplica(), STORE_LIMITS),
            LIMITS,
            RecordedMetrics(),
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=False,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                client = Client(session, runner.addresses[0][1])
                for name in ("one", "two"):
                    assert (await client.send("PUT", f"/api/v1/collections/{name}", b"")).status == 201
                await work(client)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_what_one_batch_may_be_fits_into_a_transaction() -> None:
    assert STORE_LIMITS.transaction_items_max >= BATCH_LINES
    assert imports.BATCH_BYTES <= 1 << 20
