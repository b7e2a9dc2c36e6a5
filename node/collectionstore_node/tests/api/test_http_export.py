"""Exports over HTTP: all documents of one state, with a trailer; bounded, and visibly cut if not complete."""

from __future__ import annotations

import asyncio
import base64
import csv
import gc
import hashlib
import io
from typing import Any

import orjson
import pytest

from collectionstore_node.errors import ManyDeleted, NotLeader
from collectionstore_node.service import document_exports
from collectionstore_node.service.document_exports import EXPORTS_MAX, PIECE_BYTES
from collectionstore_node.tests.api.http_clients import JSON, Client, RawClient, read_head
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.test_http_indexes import built

PEOPLE = "/api/v1/collections/people"
EXPORT = f"{PEOPLE}:export"
DOCUMENTS = {
    "ada": {"name": "Ada", "born": 1815, "home": {"city": "London"}},
    "alan": {"name": "Alan", "born": 1912, "tags": ["maths", "codes"]},
    "grace": {"name": 'Grace "Amazing", RADM', "born": 1906.0},
}


@pytest.fixture
async def crowd(people: Client) -> Client:
    for name, document in DOCUMENTS.items():
        assert (await people.put(f"{PEOPLE}/documents/{name}", document)).status == 201
    return people


def parsed(body: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the documents and the trailer, which is that of the lines before it."""
    *lines, last, end = body.split(b"\n")
    assert end == b""
    trailer: dict[str, Any] = orjson.loads(last)["_trailer"]
    before = b"".join(line + b"\n" for line in lines)
    assert trailer["count"] == len(lines)
    assert trailer["sha256"] == hashlib.sha256(before).hexdigest()
    return [orjson.loads(line) for line in lines], trailer


async def test_all_documents_come_by_id_with_a_trailer(crowd: Client) -> None:
    reply = await crowd.get(EXPORT)

    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert reply.headers["Trailer"] == "Content-Digest, X-Count"
    assert reply.headers["X-Revision"] == "4"
    found, trailer = parsed(reply.body)
    assert found == [{"_id": name, "_revision": at, **DOCUMENTS[name]} for at, name in enumerate(DOCUMENTS, 2)]
    assert trailer["revision"] == 4


async def test_a_document_keeps_its_text(people: Client) -> None:
    await people.send("PUT", f"{PEOPLE}/documents/a", b'{"n": 1.00e2, "s": "\\u00e9"}', JSON)

    assert (await people.get(EXPORT)).body.startswith(b'{"_id":"a","_revision":2,"n":1.00e2,"s":"\\u00e9"}\n')


@pytest.mark.parametrize("post", [False, True])
async def test_filter_fields_and_where_to_begin(crowd: Client, *, post: bool) -> None:
    if post:
        body = {"filter": {"born": {"$gt": 1900}}, "fields": ["name", "home.city"], "after": "ada"}
        reply = await crowd.post(EXPORT, body)
    else:
        query = "filter=%7B%22born%22:%7B%22$gt%22:1900%7D%7D&fields=name,home.city&after_id=ada"
        reply = await crowd.get(f"{EXPORT}?{query}")

    found, _ = parsed(reply.body)
    assert found == [
        {"_id": name, "_revision": at, "name": DOCUMENTS[name]["name"]} for at, name in ((3, "alan"), (4, "grace"))
    ]


async def test_an_export_goes_on_behind_the_last_document(crowd: Client) -> None:
    """What came before a cut and what comes behind it are all documents."""
    whole, _ = parsed((await crowd.get(EXPORT)).body)

    rest, trailer = parsed((await crowd.get(f"{EXPORT}?after_id=ada")).body)

    assert rest == whole[1:]
    assert trailer["count"] == 2
    assert parsed((await crowd.get(f"{EXPORT}?after_id=zzz")).body)[0] == []


async def test_csv_has_the_fields_as_columns(crowd: Client) -> None:
    for reply in (
        await crowd.get(f"{EXPORT}?format=csv&fields=name,born,home.city,tags"),
        await crowd.send("GET", f"{EXPORT}?fields=name,born,home.city,tags", headers={"Accept": "text/csv"}),
        await crowd.post(f"{EXPORT}?format=csv", {"fields": ["name", "born", "home.city", "tags"]}),
        await crowd.post(EXPORT, {"format": "csv", "fields": ["name", "born", "home.city", "tags"]}),
    ):
        assert reply.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
        assert list(csv.reader(io.StringIO(reply.body.decode(), newline=""))) == [
            ["_id", "name", "born", "home.city", "tags"],
            ["ada", "Ada", "1815", "London", ""],
            ["alan", "Alan", "1912", "", '["maths","codes"]'],
            ["grace", 'Grace "Amazing", RADM', "1906.0", "", ""],
        ]
        assert reply.body.count(b"\r\n") == 4


@pytest.mark.parametrize("query", ["", "?format=csv&fields=name"])
async def test_number_and_hash_follow_the_body(crowd: Client, raw: RawClient, query: str) -> None:
    """Of CSV, too, which has no place for a trailer of its own."""
    answer = await raw.exchange(f"GET {EXPORT}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    _, _, chunked = answer.partition(b"\r\n\r\n")
    body = b""
    while True:
        size, _, chunked = chunked.partition(b"\r\n")
        if not int(size, 16):
            break
        body += chunked[: int(size, 16)]
        chunked = chunked[int(size, 16) + 2 :]

    digest = base64.b64encode(hashlib.sha256(body).digest())
    assert chunked == b"Content-Digest: sha-256=:%b:\r\nX-Count: 3\r\n\r\n" % digest
    assert body == (await crowd.get(EXPORT + query)).body


async def test_nothing_is_a_whole_export_too(people: Client) -> None:
    assert parsed((await people.get(EXPORT)).body) == (
        [],
        {"count": 0, "sha256": hashlib.sha256().hexdigest(), "revision": 1},
    )
    assert (await people.get(f"{EXPORT}?format=csv&fields=a")).body == b"_id,a\r\n"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?format=xml", 400, "invalid_parameter"),
        ("?format=csv", 400, "invalid_projection"),
        ("?format=csv&fields=a,a", 400, "invalid_projection"),
        ("?format=csv&fields=_id", 400, "invalid_projection"),
        ("?format=csv&fields=a..b", 400, "invalid_projection"),
        ("?fields=a..b", 400, "invalid_projection"),
        ("?filter=1", 400, "invalid_parameter"),
        ("?filter=%7B%22$foo%22:1%7D", 400, "invalid_filter"),
        ("?after_id=", 400, "invalid_name"),
        ("?hint=none", 400, "invalid_hint"),
        ("?sort=a", 400, "unknown_parameter"),
        ("?filter=%7B%22$expr%22:%7B%22$add%22:%5B%22$name%22,1%5D%7D%7D", 422, "expression_failed"),
    ],
)
async def test_what_is_wrong_is_refused_before_the_first_byte(
    crowd: Client, query: str, status: int, code: str
) -> None:
    (await crowd.get(EXPORT + query)).problem(status, code)


async def test_there_must_be_a_collection_and_a_leader(client: Client, people: Client, replica: MemoryReplica) -> None:
    (await client.get("/api/v1/collections/none:export")).problem(404, "collection_not_found")
    replica.read_error = NotLeader()
    (await people.get(EXPORT)).problem(503, "no_leader")
    reply = await people.get(f"{EXPORT}?consistency=stale")
    assert (reply.status, reply.headers["X-Served-By"]) == (200, "shop-0")


async def test_head_answers_the_head(crowd: Client) -> None:
    reply = await crowd.send("HEAD", EXPORT)

    assert (reply.status, reply.body, reply.headers["X-Revision"]) == (200, b"", "4")


async def test_an_index_finds_what_is_exported(crowd: Client, replica: MemoryReplica) -> None:
    await crowd.post(f"{PEOPLE}/indexes", {"name": "by_born", "fields": {"born": 1}})
    await built(replica)

    for hint in ("by_born", "scan"):
        found, _ = parsed((await crowd.post(EXPORT, {"filter": {"born": {"$gt": 1900}}, "hint": hint})).body)
        assert [one["_id"] for one in found] == ["alan", "grace"]


async def test_what_was_cut_goes_on_in_the_same_state(crowd: Client) -> None:
    """With the revision of the first part, whatever was written since."""
    whole, trailer = parsed((await crowd.get(EXPORT)).body)
    await crowd.put(f"{PEOPLE}/documents/alan", {"changed": True})
    await crowd.delete(f"{PEOPLE}/documents/grace")
    await crowd.put(f"{PEOPLE}/documents/zoe", {"new": True})

    reply = await crowd.get(f"{EXPORT}?after_id=ada&at_revision={trailer['revision']}")

    rest, again = parsed(reply.body)
    assert rest == whole[1:]
    assert (again["revision"], reply.headers["X-Revision"]) == (4, "4")
    assert [one["_id"] for one in parsed((await crowd.get(EXPORT)).body)[0]] == ["ada", "alan", "zoe"]


async def test_a_client_may_close_its_side_and_take_all(people: Client, raw: RawClient) -> None:
    await filled(people)
    reader, writer = await raw.connect()
    writer.write(f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    writer.write_eof()

    answer = await reader.read()

    writer.close()
    assert b'{"_trailer":{"count":40,' in answer


async def filled(client: Client, count: int = 40) -> None:
    for number in range(count):
        body = b'{"text": "%s"}' % (b"x" * 20_000)
        assert (await client.send("PUT", f"{PEOPLE}/documents/{number:03}", body, JSON)).status == 201


async def test_an_export_is_of_one_state(people: Client, raw: RawClient, replica: MemoryReplica) -> None:
    """Init: many documents. Step: begin to read, then change them all. Check: the rest is as it was."""
    await filled(people)
    reader, writer = await raw.connect()
    writer.write(f"GET {EXPORT} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    await read_head(reader)
    for number in range(40):
        assert (await people.put(f"{PEOPLE}/documents/{number:03}", {"changed": True})).status == 200

    found, trailer = parsed(await reader.read())

    writer.close()
    assert [set(one) for one in found] == [{"_id", "_revision", "text"}] * 40
    assert trailer["revision"] == 41


async def test_exports_at_a_time_are_bounded_and_their_places_come_back(people: Client, raw: RawClient) -> None:
    """Init: as many clients as may read, none of which takes what it asked for. Check: another one is refused."""
    await filled(people, 400)
    slow = [await raw.connect() for _ in range(EXPORTS_MAX)]
    for reader, writer in slow:
        writer.write(f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await read_head(reader)

    (await people.get(EXPORT)).problem(503, "overloaded")
    for _, writer in slow:
        writer.transport.abort()
    while (await people.get(f"{EXPORT}?after_id=999")).status != 200:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)


async def test_an_answer_that_is_never_sent_gives_its_place_back(people: Client) -> None:
    for _ in range(EXPORTS_MAX + 1):
        assert (await people.send("HEAD", EXPORT)).status == 200
    gc.collect()
    assert (await people.get(EXPORT)).status == 200


async def test_a_client_that_takes_too_little_is_cut(
    people: Client, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the end of the body, so that no part passes for all."""
    await filled(people, 400)
    monkeypatch.setattr(document_exports, "GRACE_S", -1.0)
    monkeypatch.setattr(document_exports, "RATE_MIN", 1 << 40)

    reader, writer = await raw.connect()
    writer.write(f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await read_head(reader)
    body = await reader.read()

    writer.close()
    assert not body.endswith(b"0\r\n\r\n")
    assert b"_trailer" not in body
    assert (await people.get(f"{EXPORT}?after_id=999")).status == 200


async def test_what_was_deleted_is_reclaimed_once(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = replica.view.scan
    gaps = [ManyDeleted(lo=b"a", hi=b"b")]

    def failing(lo: bytes, hi: bytes) -> Any:
        if gaps:
            raise gaps.pop()
        return scan(lo, hi)

    monkeypatch.setattr(replica.view, "scan", failing)

    assert len(parsed((await crowd.get(EXPORT)).body)[0]) == 3


async def test_a_document_that_does_not_fit_cuts_an_export(
    people: Client, raw: RawClient, metrics: RecordedMetrics
) -> None:
    """An expression of the filter fails at a document far behind the first piece: the status is sent by then."""
    await filled(people, 2 * PIECE_BYTES // 20_000)
    await people.put(f"{PEOPLE}/documents/zzz", {"text": 1})
    query = "filter=%7B%22$expr%22:%7B%22$gt%22:%5B%7B%22$strLenCP%22:%22$text%22%7D,1%5D%7D%7D"

    body = await raw.exchange(f"GET {EXPORT}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    assert body.startswith(b"HTTP/1.1 200")
    assert not body.endswith(b"0\r\n\r\n")
