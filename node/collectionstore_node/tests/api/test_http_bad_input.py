"""Every invalid request has its status and code, and none is proposed."""

from __future__ import annotations

import gc

import pytest

from collectionstore_node.api.http.json_windows import Scanner
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

ADA = "/api/v1/collections/people/documents/ada"
KEY = "/api/v1/kv/b/k"
DEEP = b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"

BODIES = [
    (b"", "malformed_json"),
    (b"{", "malformed_json"),
    (b'{"a":}', "malformed_json"),
    (b'{"a":1}x', "malformed_json"),
    (b"{'a':1}", "malformed_json"),
    (b'{"a":NaN}', "malformed_json"),
    (b'{"a":Infinity}', "malformed_json"),
    (b'{"a":-Infinity}', "malformed_json"),
    (b'{"a":"\\ud800"}', "malformed_json"),
    (b'{"\\udfff":1}', "malformed_json"),
    (b'{"a":"\xff"}', "malformed_json"),
    (b'\xef\xbb\xbf{"a":1}', "malformed_json"),
    ('{"a":1}'.encode("utf-16"), "malformed_json"),
    (b'{"a":1,"a":2}', "duplicate_key"),
    (b'{"a":[{"b":1,"c":2,"b":1}]}', "duplicate_key"),
    (b'{"a":1,"\\u0061":2}', "duplicate_key"),
    (b'{"a":18446744073709551616}', "number_out_of_range"),
    (b'{"a":-9223372036854775809}', "number_out_of_range"),
    (b'{"a":' + b"9" * 500 + b"}", "number_out_of_range"),
    (b'{"a":1e999}', "number_out_of_range"),
    (b"[]", "not_an_object"),
    (b"null", "not_an_object"),
    (b'"text"', "not_an_object"),
    (DEEP, "nesting_too_deep"),
    (b"[" * 5_000, "nesting_too_deep"),
    (b'{"_id":1}', "reserved_field"),
    (b'{"\\u005fid":1}', "reserved_field"),
]


@pytest.mark.parametrize(("body", "code"), BODIES)
async def test_an_invalid_document_is_400(people: Client, replica: MemoryReplica, body: bytes, code: str) -> None:
    before = len(replica.proposed)

    reply = await people.send("PUT", ADA, body, JSON)

    fields = reply.problem(400, code)
    assert (fields["retryable"], fields["outcome"]) == (False, "not_applied")
    assert len(replica.proposed) == before


async def test_a_malformed_document_is_refused_with_its_position(people: Client) -> None:
    fields = (await people.send("PUT", ADA, b'{"a": 1,\n "b": NaN}', JSON)).problem(400, "malformed_json")

    assert (fields["line"], fields["column"]) == (2, 7)
    assert "NaN" in fields["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_a_document_of_another_type_is_415(people: Client, content_type: str) -> None:
    reply = await people.send("PUT", ADA, b"{}", {"Content-Type": content_type})

    reply.problem(415, "unsupported_content_type")
    assert reply.headers["Accept"] == "application/json"


async def test_a_document_without_a_type_is_415(people: Client) -> None:
    """A page of another origin can send a request without a type without a CORS preflight, but not application/json."""
    (await people.send("PUT", ADA, b"{}")).problem(415, "unsupported_content_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/ld+json"],
)
async def test_types_that_are_json(people: Client, content_type: str) -> None:
    assert (await people.send("PUT", ADA, b"{}", {"Content-Type": content_type})).status == 201


async def test_another_charset_or_encoding_is_415(people: Client) -> None:
    latin = {"Content-Type": "application/json; charset=latin-1"}
    (await people.send("PUT", ADA, b"{}", latin)).problem(415, "unsupported_content_type")
    packed = JSON | {"Content-Encoding": "gzip"}
    (await people.send("PUT", ADA, b"{}", packed)).problem(415, "unsupported_encoding")
    (await people.send("PUT", KEY, b"x" * 70_000, packed)).problem(415, "unsupported_encoding")


@pytest.mark.parametrize(
    ("method", "target", "size"),
    [
        ("PUT", ADA, STORE_LIMITS.document_bytes_max),
        ("POST", "/api/v1/collections/people/documents", STORE_LIMITS.document_bytes_max),
        ("PUT", KEY, STORE_LIMITS.value_bytes_max),
        ("POST", "/api/v1/collections", LIMITS.control_bytes_max),
        ("POST", "/api/v1/transactions", LIMITS.transaction_bytes_max),
        ("POST", "/api/v1/cluster/members", LIMITS.control_bytes_max),
    ],
)
async def test_too_large_is_413_and_says_the_limit(people: Client, method: str, target: str, size: int) -> None:
    reply = await people.send(method, target, b"x" * (size + 1), JSON)

    assert reply.problem(413, "too_large")["limit_bytes"] == size


async def test_the_largest_document_and_value_fit(people: Client) -> None:
    document = b'{"a":"' + b"x" * (STORE_LIMITS.document_bytes_max - 8) + b'"}'

    assert (await people.send("PUT", ADA, document, JSON)).status == 201
    assert (await people.get(ADA)).body == document
    assert (await people.send("PUT", KEY, b"x" * STORE_LIMITS.value_bytes_max)).status == 201


async def test_what_is_read_can_be_written_back(people: Client) -> None:
    """Written out, a number like 1e15 would be longer than it was sent."""
    body = b'{ "a": [' + b", ".join([b"1e15"] * 10_000) + b"]}"
    assert (await people.send("PUT", ADA, body, JSON)).status == 201
    stored = (await people.get(ADA)).body

    assert (await people.send("PUT", ADA, stored, JSON)).status == 200
    assert (await people.get(ADA)).body == stored == body.replace(b" ", b"")


async def test_the_deepest_document_fits(people: Client) -> None:
    """The limit counts nesting, not brackets in strings or side by side."""
    deepest = b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"
    wide = b'{"a":[' + b",".join([b"{}"] * 500) + b'],"b":"' + b"[" * 500 + b'\\""}'

    assert (await people.send("PUT", ADA, deepest, JSON)).status == 201
    assert (await people.send("PUT", ADA, wide, JSON)).status == 200


async def test_an_unknown_collection_is_404(client: Client) -> None:
    for reply in (
        await client.get(ADA),
        await client.put(ADA, {}),
        await client.delete(ADA),
        await client.get("/api/v1/collections/people"),
        await client.get("/api/v1/collections/people/documents"),
        await client.post("/api/v1/collections/people/documents", {}),
        await client.delete("/api/v1/collections/people"),
    ):
        reply.problem(404, "collection_not_found")


@pytest.mark.parametrize("name", ["People", "-a", "_a", "a.b", "a%20b", "%C3%A9", "a" * 64, "%00", "..", "a%2Fb"])
async def test_a_bad_collection_or_bucket_name_is_400(client: Client, name: str) -> None:
    for method, target in (
        ("PUT", f"/api/v1/collections/{name}"),
        ("GET", f"/api/v1/collections/{name}/documents"),
        ("GET", f"/api/v1/collections/{name}/documents/a"),
        ("GET", f"/api/v1/kv/{name}"),
        ("PUT", f"/api/v1/kv/{name}/k"),
    ):
        body = b"" if method == "PUT" else None
        (await client.send(method, target, body)).problem(400, "invalid_name")


@pytest.mark.parametrize(
    "text", ["%00", "a%0A", "%7F", ".", "..", "a%2F..%2Fb", "%zz", "%", "%ff", "%ED%A0%80", "a" * 1025, "%C3%A9" * 513]
)
async def test_a_bad_id_or_key_is_400(people: Client, text: str) -> None:
    (await people.get(f"/api/v1/collections/people/documents/{text}")).problem(400, "invalid_name")
    (await people.send("PUT", f"/api/v1/kv/b/{text}", b"x")).problem(400, "invalid_name")


async def test_the_longest_id_fits(people: Client) -> None:
    for text, expected in (("a" * 1024, "a" * 1024), ("%C3%A9" * 512, "é" * 512)):
        reply = await people.put(f"/api/v1/collections/people/documents/{text}", {})
        assert reply.json["id"] == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("timeuot=2s", "unknown_parameter"),
        ("=", "unknown_parameter"),
        ("pretty", "unknown_parameter"),
        ("limit=5", "unknown_parameter"),
        ("timeout=2", "invalid_parameter"),
        ("timeout=0s", "invalid_parameter"),
        ("timeout=-1s", "invalid_parameter"),
        ("timeout=61s", "invalid_parameter"),
        ("timeout=1m", "invalid_parameter"),
        ("timeout=1e3ms", "invalid_parameter"),
        ("timeout=%D9%A1s", "invalid_parameter"),
        ("timeout=1s&timeout=2s", "invalid_parameter"),
        ("redirect=yes", "invalid_parameter"),
        ("consistency=eventual", "invalid_parameter"),
        ("%ff=1", "invalid_parameter"),
        ("&".join(["timeout=1s"] * 17), "invalid_parameter"),
    ],
)
async def test_a_bad_query_is_400(people: Client, query: str, code: str) -> None:
    (await people.get(f"{ADA}?{query}")).problem(400, code)


async def test_an_unknown_parameter_is_answered_with_the_known_ones(client: Client) -> None:
    fields = (await client.get("/api/v1/collections?prefx=a")).problem(400, "unknown_parameter")

    assert "consistency, cursor, limit, max_staleness, min_revision, prefix, redirect, timeout" in fields["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=", "prefix=%00", "values=1", "cursor=%21"]
)
async def test_a_bad_listing_is_400(client: Client, query: str) -> None:
    reply = await client.get(f"/api/v1/kv/b?{query}")

    reply.problem(400, reply.json["code"])
    assert reply.json["code"] in ("invalid_parameter", "invalid_name", "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "1001", "1234567"])
async def test_a_limit_out_of_range_is_answered_with_the_range(client: Client, limit: str) -> None:
    fields = (await client.get(f"/api/v1/kv/b?limit={limit}")).problem(400, "invalid_parameter")

    assert fields["detail"] == f"limit is {limit}; allowed are 1 to 1000"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"If-Match": "7"}, "invalid_precondition"),
        ({"If-Match": ""}, "invalid_precondition"),
        ({"If-Match": '"7",'}, "invalid_precondition"),
        ({"If-Match": '*, "7"'}, "invalid_precondition"),
        ({"If-Match": 'w/"7"'}, "invalid_precondition"),
        ({"If-Match": ",".join(['"7"'] * 65)}, "invalid_precondition"),
        ({"If-None-Match": '"7"'}, "invalid_precondition"),
        ({"If-None-Match": "*", "If-Match": "*"}, "invalid_precondition"),
        ({"Idempotency-Key": ""}, "invalid_idempotency_key"),
        ({"Idempotency-Key": "a b"}, "invalid_idempotency_key"),
        ({"Idempotency-Key": "é"}, "invalid_idempotency_key"),
        ({"Idempotency-Key": "k" * 256}, "invalid_idempotency_key"),
    ],
)
async def test_a_bad_header_is_400(people: Client, headers: dict[str, str], code: str) -> None:
    (await people.send("PUT", ADA, b"{}", JSON | headers)).problem(400, code)


@pytest.mark.parametrize("content_type", ["nothing", "/x", "a/", "é/x", "a/" + "b" * 254])
async def test_a_content_type_that_cannot_be_sent_in_a_response_is_400(client: Client, content_type: str) -> None:
    (await client.send("PUT", KEY, b"x", {"Content-Type": content_type})).problem(400, "invalid_header")


@pytest.mark.parametrize(
    "target",
    ["/api", "/api/v2/collections", "/api/v1/collections/", "/api/v1/kv", "/api/v1/kv/b/", "//livez", "/livez/x"],
)
async def test_an_unknown_path_is_404(client: Client, target: str) -> None:
    (await client.get(target)).problem(404, "unknown_route")


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", ADA, "DELETE, GET, HEAD, PATCH, PUT"),
        ("OPTIONS", "/api/v1/collections", "GET, HEAD, POST"),
        ("GET", "/api/v1/transactions", "POST"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
async def test_another_method_is_405_with_the_allowed_ones(
    client: Client, method: str, target: str, allowed: str
) -> None:
    reply = await client.send(method, target)

    reply.problem(405, "method_not_allowed")
    assert reply.headers["Allow"] == allowed


async def test_a_long_target_is_414(client: Client) -> None:
    """Over the limit by a little, and by so much that the parser aborts."""
    for size in (9_000, 40_000):
        (await client.get(f"/api/v1/kv/b/{'a' * size}")).problem(414, "target_too_long")


async def test_a_long_header_is_431(client: Client) -> None:
    (await client.get("/livez", X_Long="x" * 9_000)).problem(431, "header_too_large")


async def test_messages_do_not_quote_values(people: Client) -> None:
    """The content of a document may be secret: field names may appear, values must not."""
    for body in (b'{"a":"secret",}', b'{"a":"secret","a":"secret"}', b'{"_x":"secret"}', b'["secret"]'):
        assert b"secret" not in (await people.send("PUT", ADA, body, JSON)).body
    reply = await people.post("/api/v1/transactions", {"then": [{"op": "get", "collection": {"x": "secret"}}]})
    assert b"secret" not in reply.body


async def test_a_refused_body_leaves_no_cycle_behind(people: Client) -> None:
    """Only the collector, which runs seldom, would free it; large bodies would fill the memory meanwhile."""
    body = b'{"a":' + b"[" * 60_000
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            assert (await people.send("PUT", ADA, body, JSON)).status == 400
        kept = [one for one in gc.get_objects() if isinstance(one, Scanner)]
        assert kept == []
    finally:
        gc.enable()
