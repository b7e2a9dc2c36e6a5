"""Waits: a watch that is lost, ends or is expired starts again, and a deadline reports the last state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from collectionstore_e2e.harness.client import Client
from collectionstore_e2e.harness.errors import DeadlinePassed, Refused
from collectionstore_e2e.harness.kinds import POD, Kind, condition, is_ready, summary

Watch = Callable[[web.StreamResponse], Awaitable[None]]


def pod(name: str, *, ready: str = "False", version: str = "1") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "reason": "ContainersNotReady", "message": "not yet"}]
    return {"metadata": {"name": name, "resourceVersion": version}, "status": {"conditions": conditions}}


class Api:
    """An API server with one list of pods; each watch runs the next function in `watches`, the last one hangs."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = [pod("a")]
        self.watches: list[Watch] = []
        self.lists = 0
        self.stopping = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/refused"):
            status = {"kind": "Status", "reason": "Invalid", "message": "spec.replicas: must be odd"}
            return web.json_response(status, status=422)
        if request.query.get("watch") != "true":
            self.lists += 1
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": self.pods})
        response = web.StreamResponse()
        await response.prepare(request)
        if self.watches:
            await self.watches.pop(0)(response)
        else:
            await self.stopping.wait()
        return response


@pytest.fixture
async def api() -> Api:
    return Api()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    client = Client(ApiClient(Configuration(host=f"http://127.0.0.1:{port}")))
    yield client
    api.stopping.set()
    await client.close()
    await runner.cleanup()


def event(kind: str, content: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


async def test_wait_ends_with_the_event_that_makes_it_true(api: Api, client: Client) -> None:
    """The list does not fulfill the condition, an event of the watch does. Events may arrive in pieces."""

    async def becomes_ready(response: web.StreamResponse) -> None:
        whole = event("MODIFIED", pod("a", ready="True"))
        await response.write(whole[:10])
        await response.write(whole[10:])

    api.watches = [becomes_ready]
    found = await client.until_one(POD, "a", is_ready, what="Ready", timeout_s=10)
    assert condition(found, "Ready") == "True"


@pytest.mark.parametrize(
    "last_line", [b"", event("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})], ids=["end", "410"]
)
async def test_wait_lists_again_when_a_watch_ends(api: Api, client: Client, last_line: bytes) -> None:
    """A watch that ends, or whose resourceVersion is expired, misses no change."""

    async def ends(response: web.StreamResponse) -> None:
        api.pods = [pod("a", ready="True")]
        await response.write(last_line)

    api.watches = [ends]
    await client.until_one(POD, "a", is_ready, what="Ready", timeout_s=10)
    assert api.lists == 2


async def test_wait_until_gone_sees_a_deletion(api: Api, client: Client) -> None:
    """A DELETED event removes the object from the state."""

    async def deleted(response: web.StreamResponse) -> None:
        await response.write(event("DELETED", pod("a")))

    api.watches = [deleted]
    await client.until_gone(POD, "a", timeout_s=10)


async def test_deadline_reports_the_last_state(client: Client) -> None:
    """The error contains the object's conditions with their reasons."""
    with pytest.raises(DeadlinePassed, match=r"not within 0 s(?s:.*)pod/a Ready=False .ContainersNotReady"):
        await client.until_one(POD, "a", is_ready, what="Ready", timeout_s=0.2)


async def test_error_contains_the_message_of_the_status(client: Client) -> None:
    """The message of the Status object is what users see, so scenarios can check it."""
    with pytest.raises(Refused, match=r"422 Invalid: spec.replicas: must be odd") as caught:
        await client.get(POD, "refused")
    assert caught.value.status == 422


def test_paths_follow_group_and_namespace() -> None:
    """The core group has the root /api; paths of cluster-scoped objects contain no namespace."""
    assert POD.path("ns", "a", "log") == "/api/v1/namespaces/ns/pods/a/log"
    widget = Kind("example.io/v1", "Widget", "widgets", namespaced=False)
    assert widget.path("ns") == "/apis/example.io/v1/widgets"


def test_summary_names_a_waiting_container_and_its_reason() -> None:
    """A broken image is seen in the one line that a deadline prints."""
    waiting = {"name": "main", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}
    found = {"kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "Pending", "containerStatuses": [waiting]}}
    assert summary(found) == "pod/a phase=Pending main: waiting ErrImageNeverPull"
