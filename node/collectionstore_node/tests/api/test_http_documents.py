"""Documents over HTTP: create, replace, read, delete, list, conditions and idempotency."""

from __future__ import annotations

import uuid

import pytest

from collectionstore_node.statemachine.commands import Put
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

PEOPLE = "/api/v1/collections/people/documents"


async def test_put_answers_201_when_new_and_200_when_replaced(people: Client) -> None:
    """The answer to a write is its id and revision; the ETag is the revision."""
    first = await people.put(f"{PEOPLE}/ada", {"name": "Ada"})
    second = await people.put(f"{PEOPLE}/ada", {"name": "Ada L."})

    assert (first.status, first.json) == (201, {"id": "ada", "revision": 2})
    assert (second.status, second.json) == (200, {"id": "ada", "revision": 3})
    assert second.headers["ETag"] == '"3"'
    assert second.headers["X-Revision"] == "3"


async def test_get_returns_the_document_alone_with_its_facts_in_headers(people: Client) -> None:
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"})
    await people.put(f"{PEOPLE}/bob", {"name": "Bob"})

    reply = await people.get(f"{PEOPLE}/ada")

    assert (reply.status, reply.body) == (200, b'{"name":"Ada"}')
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["ETag"] == '"2"'
    assert reply.headers["X-Revision"] == "3"


async def test_head_answers_as_get_without_the_body(people: Client) -> None:
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"})

    reply = await people.send("HEAD", f"{PEOPLE}/ada")

    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(len(b'{"name":"Ada"}'))
    assert reply.headers["ETag"] == '"2"'


async def test_documents_are_stored_without_white_space(people: Client) -> None:
    """The order of keys, the text of numbers and escapes are kept."""
    body = b'{ "z": 1, "a": [1.50, 1e3, " \\u00e9"],\n"big": 18446744073709551615, "d": 1234567890.1234567890 }'
    await people.send("PUT", f"{PEOPLE}/x", body, JSON)

    reply = await people.get(f"{PEOPLE}/x")

    assert reply.body == b'{"z":1,"a":[1.50,1e3," \\u00e9"],"big":18446744073709551615,"d":1234567890.1234567890}'


async def test_post_makes_a_uuid7_and_tells_where_it_is(people: Client) -> None:
    reply = await people.post(PEOPLE, {"name": "Ada"})

    made = reply.json["id"]
    assert reply.status == 201
    assert uuid.UUID(made).version == 7
    assert reply.headers["Location"] == f"{PEOPLE}/{made}"
    assert (await people.get(reply.headers["Location"])).body == b'{"name":"Ada"}'


async def test_post_with_a_key_is_repeated_without_a_second_document(people: Client) -> None:
    """The repetition gets the same id, revision and Location as the first answer."""
    first = await people.post(PEOPLE, {"name": "Ada"}, Idempotency_Key="k-1")
    again = await people.send("POST", PEOPLE, b'{ "name": "Ada" }', JSON | {"Idempotency-Key": "k-1"})

    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status, again.json) == (first.status, first.json)
    assert again.headers["Location"] == first.headers["Location"]
    assert len((await people.get(PEOPLE)).json["documents"]) == 1


async def test_post_does_not_overwrite_what_a_forgotten_key_made(people: Client, replica: MemoryReplica) -> None:
    first = await people.post(PEOPLE, {"name": "Ada"}, Idempotency_Key="k-1")
    for key in [key for key in replica.view.values if key.startswith(b"\x05")]:
        del replica.view.values[key]

    again = await people.post(PEOPLE, {"name": "Eve"}, Idempotency_Key="k-1")

    assert again.problem(409, "document_exists")["id"] == first.json["id"]


async def test_a_key_with_another_request_is_422(people: Client) -> None:
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"}, Idempotency_Key="k-1")

    reply = await people.put(f"{PEOPLE}/ada", {"name": "Eve"}, Idempotency_Key="k-1")

    assert reply.problem(422, "idempotency_key_reused")["outcome"] == "not_applied"


async def test_delete_answers_with_the_revision_and_then_404(people: Client) -> None:
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"})

    gone = await people.delete(f"{PEOPLE}/ada")
    again = await people.delete(f"{PEOPLE}/ada")

    assert (gone.status, gone.json) == (200, {"id": "ada", "revision": 3})
    assert again.problem(404, "document_not_found")["revision"] == 4
    (await people.get(f"{PEOPLE}/ada")).problem(404, "document_not_found")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"2"'}, 200),
        ({"If-Match": '"9", "2"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"9"'}, 412),
        ({"If-Match": 'W/"2"'}, 412),
        ({"If-Match": '"of-another-make"'}, 412),
        ({"If-None-Match": "*"}, 412),
    ],
)
async def test_put_heeds_preconditions(people: Client, headers: dict[str, str], status: int) -> None:
    """RFC 9110 13.1: weak tags never match in If-Match; a failed condition returns the current revision."""
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"})

    reply = await people.send("PUT", f"{PEOPLE}/ada", b'{"name":"Eve"}', JSON | headers)

    assert reply.status == status
    if status == 412:
        assert reply.problem(412, "precondition_failed")["current_revision"] == 2
        assert (await people.get(f"{PEOPLE}/ada")).body == b'{"name":"Ada"}'


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"If-None-Match": "*"}, 201), ({"If-Match": "*"}, 412), ({"If-Match": '"1"'}, 412)],
)
async def test_put_of_a_new_document_heeds_preconditions(people: Client, headers: dict[str, str], status: int) -> None:
    reply = await people.send("PUT", f"{PEOPLE}/ada", b"{}", JSON | headers)

    assert reply.status == status
    if status == 412:
        assert reply.problem(412, "precondition_failed")["current_revision"] == 0


async def test_delete_heeds_preconditions(people: Client) -> None:
    await people.put(f"{PEOPLE}/ada", {})

    (await people.delete(f"{PEOPLE}/ada", If_Match='"1"')).problem(412, "precondition_failed")
    assert (await people.delete(f"{PEOPLE}/ada", If_Match='"2"')).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"2"'}, 304),
        ({"If-None-Match": 'W/"2"'}, 304),
        ({"If-None-Match": '"1", W/"2"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"1"'}, 200),
        ({"If-Match": '"2"'}, 200),
        ({"If-Match": '"1"'}, 412),
        ({"If-Match": '"1"', "If-None-Match": '"2"'}, 412),
    ],
)
async def test_get_heeds_conditions(people: Client, headers: dict[str, str], status: int) -> None:
    """RFC 9110 13.2.2: If-Match before If-None-Match; If-None-Match compares weakly. 304 has no body."""
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"})

    reply = await people.send("GET", f"{PEOPLE}/ada", headers=headers)

    assert reply.status == status
    if status == 304:
        assert (reply.body, reply.headers["ETag"]) == (b"", '"2"')


async def test_refused_write_tells_its_own_revision_also_when_it_is_repeated(people: Client) -> None:
    """A refused write is a command too: the answer has its own revision, not the node's."""
    await people.put(f"{PEOPLE}/ada", {"name": "Ada"})
    create = {"If-None-Match": "*", "Idempotency-Key": "once"}
    first = await people.put(f"{PEOPLE}/ada", {"name": "Eve"}, **create)
    await people.put(f"{PEOPLE}/bob", {"name": "Bob"})
    again = await people.put(f"{PEOPLE}/ada", {"name": "Eve"}, **create)
    gone = await people.delete(f"{PEOPLE}/nobody")

    assert [first.status, again.status, gone.status] == [412, 412, 404]
    assert [first.headers["X-Revision"], again.headers["X-Revision"]] == ["3", "3"]
    assert first.json["revision"] == again.json["revision"] == 3
    assert gone.headers["X-Revision"] == str(gone.json["revision"])


async def test_ids_are_any_text(people: Client) -> None:
    """Percent-decoded once; a slash inside an id is %2F."""
    for target, expected in [("a%2Fb", "a/b"), ("%C3%A9", "é"), ("%25", "%"), ("a+b", "a+b"), ("a%20b", "a b")]:
        assert (await people.put(f"{PEOPLE}/{target}", {})).json["id"] == expected
        assert (await people.get(f"{PEOPLE}/{target}")).status == 200
    listed = (await people.get(PEOPLE)).json["documents"]
    assert [one["id"] for one in listed] == sorted(["a/b", "é", "%", "a+b", "a b"])


async def test_list_pages_in_order_and_ends_with_a_null_cursor(people: Client) -> None:
    for name in "dbaec":
        await people.put(f"{PEOPLE}/{name}", {"name": name})

    seen, target, pages = [], f"{PEOPLE}?limit=2", 0
    while target:
        page = (await people.get(target)).json
        seen += [(one["id"], one["document"]) for one in page["documents"]]
        pages += 1
        target = f"{PEOPLE}?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""

    assert seen == [(name, {"name": name}) for name in "abcde"]
    assert pages == 3


async def test_list_is_bounded_in_bytes(people: Client) -> None:
    """A page ends before the bound, and always holds at least one document."""
    for name in "abc":
        await people.put(f"{PEOPLE}/{name}", {"text": "x" * 6_000})

    page = (await people.get(PEOPLE)).json

    assert [one["id"] for one in page["documents"]] == ["a"]
    assert page["next_cursor"]


async def test_list_by_prefix(people: Client) -> None:
    for name in ("a1", "a2", "b1"):
        await people.put(f"{PEOPLE}/{name}", {})

    page = (await people.get(f"{PEOPLE}?prefix=a")).json

    assert [one["id"] for one in page["documents"]] == ["a1", "a2"]
    assert page["revision"] == 4


async def test_a_cursor_fits_only_its_own_listing(people: Client) -> None:
    for name in "ab":
        await people.put(f"{PEOPLE}/{name}", {})
    cursor = (await people.get(f"{PEOPLE}?limit=1")).json["next_cursor"]
    await people.send("PUT", "/api/v1/collections/other", b"")

    for target in (
        f"/api/v1/collections/other/documents?cursor={cursor}",
        f"{PEOPLE}?prefix=a&cursor={cursor}",
        f"/api/v1/kv/people?cursor={cursor}",
        f"/api/v1/collections?cursor={cursor}",
    ):
        (await people.get(target)).problem(400, "invalid_cursor")


async def test_commands_carry_the_fingerprint_only_with_a_key(people: Client, replica: MemoryReplica) -> None:
    await people.put(f"{PEOPLE}/a", {})
    await people.put(f"{PEOPLE}/a", {}, Idempotency_Key="k")

    plain, keyed = replica.proposed[-2:]

    assert plain.idempotency is None
    assert isinstance(keyed.action, Put)
    assert keyed.idempotency is not None
    assert (keyed.idempotency.key, len(keyed.idempotency.fingerprint)) == ("k", 32)
