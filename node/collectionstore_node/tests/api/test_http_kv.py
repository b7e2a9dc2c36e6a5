"""Raw values over HTTP."""

from __future__ import annotations

import base64

import pytest

from collectionstore_node.tests.api.http_clients import Client

BUCKET = "/api/v1/kv/settings"


async def test_bytes_come_back_as_they_went_in_with_their_type(client: Client) -> None:
    body = bytes(range(256))

    written = await client.send("PUT", f"{BUCKET}/blob", body, {"Content-Type": "image/png"})
    read = await client.get(f"{BUCKET}/blob")

    assert (written.status, written.json) == (201, {"key": "blob", "revision": 1})
    assert (read.status, read.body, read.headers["Content-Type"]) == (200, body, "image/png")
    assert read.headers["ETag"] == '"1"'


async def test_a_stored_page_cannot_run_in_a_browser(client: Client) -> None:
    await client.send("PUT", f"{BUCKET}/page", b"<script>", {"Content-Type": "text/html"})

    read = await client.get(f"{BUCKET}/page")

    assert read.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in read.headers["Content-Security-Policy"]


async def test_empty_value_without_a_type(client: Client) -> None:
    await client.send("PUT", f"{BUCKET}/empty", b"")

    read = await client.get(f"{BUCKET}/empty")

    assert (read.status, read.body, read.headers["Content-Type"]) == (200, b"", "application/octet-stream")


@pytest.mark.parametrize(
    ("target", "key"),
    [("a/b/c", "a/b/c"), ("a%2Fb", "a/b"), ("/x", "/x"), ("a/", "a/"), ("a//b", "a//b"), ("%E2%82%AC", "€")],
)
async def test_keys_may_contain_slashes(client: Client, target: str, key: str) -> None:
    """The key is everything behind the bucket, percent-decoded."""
    reply = await client.send("PUT", f"{BUCKET}/{target}", b"1")

    assert reply.json["key"] == key
    assert (await client.get(f"{BUCKET}/{target}")).body == b"1"


async def test_list_tells_sizes_and_on_request_values(client: Client) -> None:
    await client.send("PUT", f"{BUCKET}/a/1", b"\x00\x01", {"Content-Type": "image/png"})
    await client.send("PUT", f"{BUCKET}/a/2", b"", {"Content-Type": "text/plain"})
    await client.send("PUT", f"{BUCKET}/b", b"x")

    plain = (await client.get(f"{BUCKET}?prefix=a/")).json
    full = (await client.get(f"{BUCKET}?prefix=a/&values=true")).json

    assert plain["keys"] == [
        {"key": "a/1", "revision": 1, "size": 2, "content_type": "image/png"},
        {"key": "a/2", "revision": 2, "size": 0, "content_type": "text/plain"},
    ]
    assert [base64.b64decode(one["value"]) for one in full["keys"]] == [b"\x00\x01", b""]
    assert (plain["next_cursor"], plain["revision"]) == (None, 3)


async def test_list_pages(client: Client) -> None:
    for key in "cab":
        await client.send("PUT", f"{BUCKET}/{key}", b"1")

    first = (await client.get(f"{BUCKET}?limit=2")).json
    rest = (await client.get(f"{BUCKET}?limit=2&cursor={first['next_cursor']}")).json

    assert [one["key"] for one in first["keys"] + rest["keys"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


async def test_a_bucket_never_used_is_empty(client: Client) -> None:
    assert (await client.get("/api/v1/kv/nothing")).json["keys"] == []


async def test_delete_and_conditions(client: Client) -> None:
    await client.send("PUT", f"{BUCKET}/k", b"1")

    (await client.send("PUT", f"{BUCKET}/k", b"2", {"If-None-Match": "*"})).problem(412, "precondition_failed")
    assert (await client.send("PUT", f"{BUCKET}/k", b"2", {"If-Match": '"1"'})).status == 200
    assert (await client.get(f"{BUCKET}/k", If_None_Match='"3"')).status == 304
    assert (await client.delete(f"{BUCKET}/k")).json == {"key": "k", "revision": 4}
    (await client.delete(f"{BUCKET}/k")).problem(404, "key_not_found")
    (await client.get(f"{BUCKET}/k")).problem(404, "key_not_found")


async def test_a_repeated_put_with_a_key_is_replayed(client: Client) -> None:
    first = await client.send("PUT", f"{BUCKET}/k", b"1", {"Idempotency-Key": "k"})
    await client.send("PUT", f"{BUCKET}/k", b"2")
    again = await client.send("PUT", f"{BUCKET}/k", b"1", {"Idempotency-Key": "k"})

    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await client.get(f"{BUCKET}/k")).body == b"2"
