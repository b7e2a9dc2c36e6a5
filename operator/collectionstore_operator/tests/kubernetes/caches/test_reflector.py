"""List and watch: nothing is lost between them, over broken connections, or when the history is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from kubernetes.aio.client.api_client import ApiClient
from structlog.testing import capture_logs

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.caches.reflector import BROKEN_S, SILENCE_S, Reflector
from collectionstore_operator.kubernetes.caches.watched import Watched
from collectionstore_operator.tests.kubernetes.caches.watched_server import WatchedServer
from collectionstore_operator.tests.kubernetes.test_client import Clock

ALL = Watched(Kind.POD, lambda body: body, lambda _: "", lambda _: (), {"app": "x"}, {"spec.y": "z"})


class World:
    """A server, its reflector, and what that has told."""

    def __init__(self, server: WatchedServer, client: ApiClient) -> None:
        self.server = server
        self.clock = Clock()
        self.pauses: list[float] = []
        self.told: list[tuple[str, str]] = []
        self._told = asyncio.Condition()
        self.reflector = Reflector(
            Kube(client, sleep=self._pause), ALL, None, self._take, clock=self.clock.time, sleep=self._pause
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def _take(self, body: Body) -> None:
        self.told.append((body["metadata"]["name"], body["metadata"]["resourceVersion"]))

    def names(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.reflector.store.find_group("shop", "")]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server = WatchedServer()
    async with await server.server.start() as client:
        made = World(server, client)
        running = asyncio.create_task(made.reflector.run())
        yield made
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await server.cut()
    await server.server.stop()


async def test_list_then_watch_with_selectors_and_bookmarks(world: World) -> None:
    await world.server.begun(1)
    await world.server.put("a")
    await until(lambda: world.names() == ["a"])
    first, second = world.server.queries
    assert first["labelSelector"] == second["labelSelector"] == "app=x"
    assert first["fieldSelector"] == second["fieldSelector"] == "spec.y=z"
    assert second["allowWatchBookmarks"] == "true"
    assert second["resourceVersion"] == "1"
    assert world.reflector.reliable


async def test_change_between_list_and_watch_is_not_lost() -> None:
    server = WatchedServer()
    await server.put("a")
    server.after_list = [("put", {"name": "b"}), ("remove", {"name": "a"})]
    async with await server.server.start() as client:
        world = World(server, client)
        running = asyncio.create_task(world.reflector.run())
        await until(lambda: world.names() == ["b"])
        assert server.lists == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await server.cut()
    await server.server.stop()


async def test_broken_watch_continues_where_it_was_without_a_list(world: World) -> None:
    """What happened meanwhile, deletions among it, follows in order, and nothing is told twice."""
    await world.server.begun(1)
    await world.server.put("a")
    await world.server.put("b")
    await until(lambda: world.names() == ["a", "b"])
    world.server.refuse = 503
    await world.server.cut()
    await until(lambda: bool(world.pauses))
    await world.server.remove("a")
    await world.server.put("b", spec=1)
    await world.server.put("c")
    world.server.refuse = 0
    await until(lambda: world.names() == ["b", "c"])
    assert world.server.lists == 1
    assert world.server.watches == ["1", "3"]
    assert world.told == [("a", "2"), ("b", "3"), ("a", "2"), ("b", "5"), ("c", "6")]


async def test_history_that_is_gone_is_listed_again_and_shows_deletions(world: World) -> None:
    await world.server.begun(1)
    await world.server.put("a")
    await world.server.put("b")
    await until(lambda: world.names() == ["a", "b"])
    world.server.refuse = 503
    await world.server.cut()
    await until(lambda: bool(world.pauses))
    await world.server.remove("a")
    world.server.oldest = world.server.version
    world.told.clear()
    world.server.refuse = 0
    await until(lambda: world.names() == ["b"])
    assert world.server.lists == 2
    assert world.told == [("a", "2")], "the deletion is told, and what is as it was is not"


async def test_watch_that_is_told_410_in_its_stream_lists_again(world: World) -> None:
    await world.server.begun(1)
    await world.server.send({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
    await until(lambda: world.server.lists == 2)
    await world.server.begun(2)
    await world.server.put("a")
    await until(lambda: world.names() == ["a"])


async def test_bookmark_moves_the_place_that_a_watch_continues_from(world: World) -> None:
    await world.server.begun(1)
    await world.server.bookmark()
    await until(lambda: world.reflector.store.version == 2)
    await world.server.cut()
    await world.server.begun(2)
    assert world.server.watches == ["1", "2"]


async def test_store_is_not_relied_on_before_its_list_nor_long_after_its_watch_broke(world: World) -> None:
    world.server.refuse = 503
    assert not world.reflector.reliable
    world.server.refuse = 0
    await world.server.begun(1)
    await world.server.bookmark()
    await until(lambda: world.reflector.store.version == 2)
    world.clock.now += SILENCE_S - 1
    assert world.reflector.reliable, "bookmarks come every minute: this is no silence yet"
    world.clock.now += 2
    assert not world.reflector.reliable
    await world.server.bookmark()
    await until(lambda: world.reflector.reliable)
    world.server.refuse = 403
    await world.server.cut()
    await until(lambda: bool(world.pauses))
    assert world.reflector.reliable, "an ordinary break costs nothing"
    world.clock.now += BROKEN_S + 1
    assert not world.reflector.reliable
    assert world.names() == [], "and what it has is kept for the watch that continues"


async def test_list_that_fails_is_repeated_with_growing_pauses() -> None:
    server = WatchedServer()
    server.refuse = 403
    async with await server.server.start() as client:
        world = World(server, client)
        running = asyncio.create_task(world.reflector.run())
        await until(lambda: len(world.pauses) >= 6)
        assert world.pauses[5] > world.pauses[0]
        server.refuse = 0
        await until(lambda: world.reflector.reliable)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await server.cut()
    await server.server.stop()


async def test_versions_that_cannot_be_compared_are_never_relied_on(world: World) -> None:
    await world.server.begun(1)
    await until(lambda: world.reflector.reliable)
    body = {"metadata": {"name": "a", "namespace": "shop", "resourceVersion": "x7"}}
    world.server.refuse = 503
    await world.server.send({"type": "ADDED", "object": body})
    await until(lambda: not world.reflector.complete.is_set())
    assert not world.reflector.reliable


@pytest.mark.parametrize("broken", ["an event without a name", "a trim that fails", "a wake-up that fails"])
async def test_error_that_was_not_expected_is_told_and_everything_listed_again(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A watch that had ended would leave the reads of its kind without a cache until the operator restarts."""

    def fail(_body: Body) -> Body:
        raise LookupError("a shape that was not expected")

    await world.server.begun(1)
    await until(lambda: world.reflector.reliable)
    with capture_logs() as lines:
        match broken:
            case "an event without a name":
                await world.server.send({"type": "ADDED", "object": {"metadata": {"resourceVersion": "7"}}})
                await until(lambda: world.server.lists == 2)
                await world.server.put("a")
            case "a trim that fails":
                monkeypatch.setattr(world.reflector.store, "_trim", fail)
                await world.server.put("a")
                await until(lambda: len(world.pauses) >= 3)
                assert not world.reflector.reliable, "what the store has is not known"
                monkeypatch.undo()
            case _:
                monkeypatch.setattr(world.reflector, "_changed", fail)
                await world.server.put("a")
                await until(lambda: bool(world.pauses))
                monkeypatch.undo()
        await until(lambda: world.reflector.reliable and world.names() == ["a"])
    failed = [one for one in lines if one["event"] == "watch.failed"]
    assert failed
    assert all((one["log_level"], one["resource"], one["exc_info"]) == ("error", "pods", True) for one in failed)
    assert world.pauses, "it waits before it lists again"


async def test_cancelled_watch_ends(world: World) -> None:
    await world.server.begun(1)
    task = asyncio.create_task(world.reflector.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
