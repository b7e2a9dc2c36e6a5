"""Collections over HTTP."""

from __future__ import annotations

from collectionstore_node.tests.api.http_clients import Client

COLLECTIONS = "/api/v1/collections"


async def test_put_creates_and_accepts_an_existing_one(client: Client) -> None:
    new = await client.send("PUT", f"{COLLECTIONS}/people", b"")
    old = await client.send("PUT", f"{COLLECTIONS}/people", b"")

    assert (new.status, new.json) == (201, {"name": "people", "revision": 1})
    assert (old.status, old.json) == (200, {"name": "people", "revision": 1})
    assert new.headers["Location"] == f"{COLLECTIONS}/people"
    assert old.headers["X-Revision"] == "2"


async def test_put_with_if_none_match_is_412_for_an_existing_one(client: Client) -> None:
    headers = {"If-None-Match": "*"}

    assert (await client.send("PUT", f"{COLLECTIONS}/people", b"", headers)).status == 201
    (await client.send("PUT", f"{COLLECTIONS}/people", b"", headers)).problem(412, "precondition_failed")


async def test_post_creates_and_is_409_for_an_existing_one(client: Client) -> None:
    new = await client.post(COLLECTIONS, {"name": "people"})

    assert (new.status, new.json) == (201, {"name": "people", "revision": 1})
    (await client.post(COLLECTIONS, {"name": "people"})).problem(409, "collection_exists")


async def test_post_refuses_other_fields(client: Client) -> None:
    reply = await client.post(COLLECTIONS, {"name": "people", "nmae": 1})

    assert "nmae" in reply.problem(400, "invalid_body")["detail"]


async def test_get_and_list(client: Client) -> None:
    for name in ("b", "a", "c"):
        await client.send("PUT", f"{COLLECTIONS}/{name}", b"")

    first = (await client.get(f"{COLLECTIONS}?limit=2")).json
    rest = (await client.get(f"{COLLECTIONS}?limit=2&cursor={first['next_cursor']}")).json

    assert first["collections"] == [{"name": "a", "revision": 2}, {"name": "b", "revision": 1}]
    assert (rest["collections"], rest["next_cursor"]) == ([{"name": "c", "revision": 3}], None)
    assert (await client.get(f"{COLLECTIONS}/a")).json == {"name": "a", "revision": 2}
    (await client.get(f"{COLLECTIONS}/z")).problem(404, "collection_not_found")


async def test_drop_takes_the_documents_along(people: Client) -> None:
    await people.put(f"{COLLECTIONS}/people/documents/ada", {})

    dropped = await people.delete(f"{COLLECTIONS}/people")

    assert (dropped.status, dropped.json) == (200, {"name": "people", "revision": 3})
    (await people.delete(f"{COLLECTIONS}/people")).problem(404, "collection_not_found")
    (await people.get(f"{COLLECTIONS}/people/documents/ada")).problem(404, "collection_not_found")
    (await people.get(f"{COLLECTIONS}/people/documents")).problem(404, "collection_not_found")
    (await people.put(f"{COLLECTIONS}/people/documents/ada", {})).problem(404, "collection_not_found")


async def test_preconditions_that_mean_nothing_here_are_refused(people: Client) -> None:
    """Ignoring them would drop what the client wanted to keep."""
    for method, headers in (("PUT", {"If-Match": '"1"'}), ("DELETE", {"If-Match": '"1"'})):
        reply = await people.send(method, f"{COLLECTIONS}/people", b"", headers)
        reply.problem(400, "invalid_precondition")
    (await people.post(COLLECTIONS, {"name": "new"}, If_None_Match="*")).problem(400, "invalid_precondition")
    assert (await people.get(f"{COLLECTIONS}/people")).status == 200
