"""What is tried again, how often and where: against a server that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from collectionstore import AsyncClient, CallEvent
from collectionstore.errors import (
    ClientClosed,
    CollectionStoreError,
    ConnectionFailure,
    DeadlineExceeded,
    IncompatibleServer,
    NotFound,
    Overloaded,
    PreconditionFailed,
    Unauthorized,
)
from collectionstore.tests.fake_server import CLOSE, FakeServer, applied, problem


def once(first: Any, then: Callable[[dict[str, Any]], Any] = applied) -> Callable[[dict[str, Any]], Any]:
    """Return a script that answers the first operation with `first`, and all others by `then`."""
    left = [first]

    def script(operation: dict[str, Any]) -> Any:
        if left:
            answer = left.pop()
            return answer(operation) if callable(answer) else answer
        return then(operation)

    return script


def refused(status: int, code: str, **more: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda operation: applied(operation, status, body=problem(status, code, **more))


async def test_a_write_without_an_answer_is_sent_again_with_the_same_key() -> None:
    async with FakeServer(once(CLOSE)) as server, AsyncClient(server.url) as client:
        result = await client.collection("c").put("a", {"n": 1})
        assert result.revision == 7
        first, second = (one["idempotency_key"] for one in server.operations)
        assert first == second
        assert server.opened == 2


async def test_two_writes_never_have_the_same_key() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as client:
        await asyncio.gather(*(client.collection("c").put("a", {"n": n}) for n in range(100)))
        keys = [one["idempotency_key"] for one in server.operations]
        assert len(set(keys)) == 100
        assert all(key.isascii() and key.isprintable() and " " not in key for key in keys)


async def test_a_write_without_a_key_is_not_sent_again_and_its_outcome_is_unknown() -> None:
    async with FakeServer(once(CLOSE)) as server, AsyncClient(server.url, retries="off") as client:
        with pytest.raises(ConnectionFailure) as caught:
            await client.collection("c").put("a", {"n": 1})
        assert caught.value.outcome == "unknown"
        assert not caught.value.retryable
        assert len(server.operations) == 1
        assert "idempotency_key" not in server.operations[0]


async def test_a_read_without_an_answer_is_sent_again() -> None:
    async with (
        FakeServer(once(CLOSE, lambda one: applied(one, body=b'{"n":1}', etag=3))) as server,
        AsyncClient(server.url) as client,
    ):
        found = await client.collection("c").get("a")
        assert found is not None
        assert (found.document["n"], found.revision) == (1, 3)
        assert len(server.operations) == 2


async def test_what_is_not_retryable_is_raised_at_once() -> None:
    script = once(refused(412, "precondition_failed", current_revision=4))
    async with FakeServer(script) as server, AsyncClient(server.url) as client:
        with pytest.raises(PreconditionFailed) as caught:
            await client.collection("c").put("a", {}, if_revision=3)
        assert caught.value.current_revision == 4
        assert len(server.operations) == 1


async def test_no_leader_is_tried_again() -> None:
    script = once(refused(503, "no_leader", retryable=True, retry_after_ms=1))
    async with FakeServer(script) as server, AsyncClient(server.url) as client:
        await client.collection("c").put("a", {})
        assert len(server.operations) == 2


async def test_an_unknown_outcome_is_settled_by_the_key() -> None:
    script = once(
        refused(504, "outcome_unknown", retryable=True, outcome="unknown"), lambda one: applied(one, replayed=True)
    )
    async with FakeServer(script) as server, AsyncClient(server.url) as client:
        assert (await client.collection("c").put("a", {})).replayed
        assert len({one["idempotency_key"] for one in server.operations}) == 1


async def test_overload_that_does_not_end_is_raised_within_the_deadline() -> None:
    script = refused(503, "overloaded", retryable=True, retry_after_ms=1)
    async with FakeServer(script) as server, AsyncClient(server.url, timeout="300ms") as client:
        with pytest.raises((Overloaded, DeadlineExceeded)) as caught:
            await client.collection("c").put("a", {})
        assert caught.value.outcome == "not_applied"
        assert len(server.operations) >= 2


async def test_a_member_that_does_not_answer_is_given_up_and_another_is_asked() -> None:
    async with FakeServer(lambda one: None) as silent, FakeServer() as other:
        urls = f"{silent.url},{other.url.partition('://')[2]}"
        async with AsyncClient(urls, attempt_timeout="50ms", discovery="off") as client:
            for _ in range(8):
                await client.collection("c").put("a", {})
        assert len(other.operations) == 8
        # One attempt, perhaps two: then the other one is asked first.
        assert len(silent.operations) <= 2


async def test_a_deadline_says_what_became_of_the_write() -> None:
    async with (
        FakeServer(lambda one: None) as server,
        AsyncClient(server.url, timeout="200ms", attempt_timeout="50ms") as client,
    ):
        with pytest.raises(DeadlineExceeded) as write:
            await client.collection("c").put("a", {})
        with pytest.raises(DeadlineExceeded) as read:
            await client.collection("c").get("a")
        assert (write.value.outcome, read.value.outcome) == ("unknown", "not_applied")
        assert isinstance(write.value, TimeoutError)
        assert isinstance(write.value.last_error, ConnectionFailure)


async def test_no_member_at_all_is_a_clear_error() -> None:
    async with AsyncClient("http://127.0.0.1:1", timeout="100ms", discovery="off") as client:
        with pytest.raises(DeadlineExceeded, match=r"http://127\.0\.0\.1:1"):
            await client.collection("c").get("a")


async def test_operations_share_messages() -> None:
    async with FakeServer() as server, AsyncClient(server.url) as client:
        collection = client.collection("c")
        await collection.put("warm", {})
        await asyncio.gather(*(collection.put(f"{n}", {}) for n in range(600)))
        assert max(server.messages) > 100
        assert sum(server.messages) == 601


async def test_more_operations_than_credit_wait_for_it() -> None:
    async with FakeServer() as server, AsyncClient(server.url, connections=1) as client:
        server.hello["limits"] = {**server.hello["limits"], "operations": 4}
        collection = client.collection("c")
        results = await asyncio.gather(*(collection.put(f"{n}", {}) for n in range(50)))
        assert len(results) == 50
        assert max(server.messages) <= 4


async def test_a_backlog_is_no_fault_of_the_member() -> None:
    async with (
        FakeServer(lambda one: None) as server,
        AsyncClient(server.url, connections=1, timeout="300ms", attempt_timeout="100ms", retries="off") as client,
    ):
        server.hello["limits"] = {**server.hello["limits"], "operations": 1}
        first = asyncio.create_task(client.collection("c").put("a", {}, timeout="5s"))
        await server.arrived.wait()
        with pytest.raises(CollectionStoreError, match="too many operations") as caught:
            await client.collection("c").put("b", {})
        assert caught.value.outcome == "not_applied"
        (member,) = client._runtime._parts.members.known()  # type: ignore[union-attr]
        assert member.load.healthy(asyncio.get_running_loop().time())
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(server.operations) == 1


async def test_a_draining_member_has_not_executed_what_is_behind_its_count() -> None:
    def script(operation: dict[str, Any]) -> Any:
        # It accepted what came before this one, and closes.
        return {"event": "draining", "accepted": 1} if len(server.operations) == 2 else applied(operation)

    async with FakeServer(script) as server, AsyncClient(server.url, retries="off") as client:
        await client.collection("c").put("a", {})
        waiting = asyncio.create_task(client.collection("c").put("b", {}))
        server.arrived.clear()
        await server.arrived.wait()
        await asyncio.sleep(0)
        while not client._runtime._parts.members.known()[0]._streams[0].leaving:  # type: ignore[union-attr]  # noqa: ASYNC110
            await asyncio.sleep(0)
        await server.cut()
        with pytest.raises(ConnectionFailure) as caught:
            await waiting
        assert caught.value.outcome == "not_applied"


async def test_requests_are_used_where_there_are_no_streams() -> None:
    async with FakeServer() as server:
        server.refuse_streams = 426
        server.on_request = lambda request, body: web.json_response({}, status=201, headers={"X-Revision": "9"})
        async with AsyncClient(server.url) as client:
            assert (await client.collection("c").put("a/b", {})).revision == 9
            assert (await client.collection("c").put("x", {})).created
        assert server.requests[0][1].startswith("/api/v1/collections/c/documents/a%2Fb?timeout=")


async def test_a_server_of_another_protocol_is_refused_with_both_versions() -> None:
    async with FakeServer() as server:
        server.hello |= {"protocol": 2, "version": "9.0.0"}
        async with AsyncClient(server.url) as client:
            with pytest.raises(IncompatibleServer, match=r"9\.0\.0.*protocol 2.*protocol 1"):
                await client.collection("c").get("a")


async def test_what_is_no_collection_store_is_a_clear_error() -> None:
    async with FakeServer() as server:
        server.refuse_streams = 404
        server.on_request = lambda request, body: web.Response(status=404, text="<html>nginx</html>")
        async with AsyncClient(server.url) as client:
            with pytest.raises(NotFound, match="not one of a Collection Store"):
                await client.collection("c").get("a")


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=302, headers={"Location": "/login"}),
        web.Response(status=200, text="<html>Sign in</html>", content_type="text/html"),
    ],
)
async def test_a_page_of_a_proxy_does_not_pass_for_a_write(answer: web.Response) -> None:
    async with FakeServer() as server:
        server.refuse_streams = 404
        server.on_request = lambda request, body: answer
        async with AsyncClient(server.url) as client:
            with pytest.raises(IncompatibleServer, match="proxy"):
                await client.collection("c").put("a", {})
            server.on_request = lambda request, body: web.Response(status=404, text="nothing here")
            with pytest.raises(NotFound):
                await client.bucket("b").get("a")


async def test_credentials_do_not_go_where_a_member_says_without_tls() -> None:
    async with FakeServer() as server:
        server.members = [{"node_id": "a1", "name": "x-0", "http_address": "http://203.0.113.9:7400"}]
        async with AsyncClient(server.url, token="t", timeout="2s") as client:
            await client.collection("c").put("a", {})
            await client._runtime.refresh()
            known = client._runtime._parts.members.known()  # type: ignore[union-attr]
            assert [one.url for one in known] == [server.url]


async def test_members_are_found_and_the_leader_is_asked_to_write() -> None:
    async with FakeServer() as seed, FakeServer() as leader:
        addresses = {"b2": seed.url, "a1": leader.url}
        seed.members = leader.members = [
            {"node_id": name, "name": name, "http_address": url, "role": "Voter"} for name, url in addresses.items()
        ]
        async with AsyncClient(seed.url) as client:
            await client._runtime.refresh()
            for n in range(10):
                await client.collection("c").put(f"{n}", {})
        assert (len(seed.operations), len(leader.operations)) == (0, 10)


async def test_a_refused_token_is_asked_for_again_once() -> None:
    tokens = iter(("old", "new"))
    async with FakeServer() as server:
        server.refuse_streams = 501

        def answer(request: web.Request, body: bytes) -> web.Response:
            if request.headers["Authorization"] != "Bearer new":
                return web.Response(status=401, body=problem(401, "unauthorized"))
            return web.json_response({"n": 1}, headers={"ETag": '"3"', "X-Revision": "3"})

        server.on_request = answer
        async with AsyncClient(server.url, get_token=lambda: next(tokens), discovery="off") as client:
            assert await client.collection("c").find_one("a") == {"_id": "a", "n": 1}


async def test_a_token_that_stays_refused_is_an_error_without_the_token() -> None:
    async with FakeServer() as server:
        server.refuse_streams = 401
        server.on_request = lambda request, body: web.Response(status=401, body=problem(401, "unauthorized"))
        async with AsyncClient(server.url, token="s3cret-token") as client:
            with pytest.raises(Unauthorized) as caught:
                await client.collection("c").get("a")
            assert "s3cret" not in repr(caught.value) + repr(client) + repr(client.options)


async def test_a_closed_client_says_so_and_closing_again_does_nothing() -> None:
    async with FakeServer() as server:
        client = AsyncClient(server.url)
        await client.collection("c").put("a", {})
        await client.close()
        await client.close()
        with pytest.raises(ClientClosed):
            await client.collection("c").put("a", {})


async def test_closing_ends_what_is_under_way() -> None:
    async with FakeServer(lambda one: None) as server:
        client = AsyncClient(server.url, retries="off", discovery="off")
        waiting = asyncio.create_task(client.collection("c").put("a", {}))
        await server.arrived.wait()
        await client.close()
        with pytest.raises(ConnectionFailure):
            await waiting


async def test_a_cancelled_call_gives_its_credit_back() -> None:
    async with FakeServer(once(None)) as server, AsyncClient(server.url, connections=1) as client:
        server.hello["limits"] = {**server.hello["limits"], "operations": 2}
        waiting = asyncio.create_task(client.collection("c").put("a", {}))
        await server.arrived.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for _ in range(5):
            await client.collection("c").put("b", {})


async def test_hooks_are_told_of_calls_without_content() -> None:
    class Told:
        def __init__(self) -> None:
            self.events: list[CallEvent] = []

        def traceparent(self) -> str | None:
            return "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

        def ended(self, event: CallEvent) -> None:
            self.events.append(event)

    told = Told()
    async with FakeServer(once(CLOSE)) as server, AsyncClient(server.url, hooks=told) as client:
        await client.collection("c").put("secret-id", {"secret": 1})
        (event,) = told.events
        assert (event.name, event.attempts, event.status, event.error) == ("put_document", 2, 200, "")
        assert "secret" not in repr(event)
        assert server.operations[0]["traceparent"].startswith("00-")
