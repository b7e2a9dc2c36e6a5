"""Rights of operations whose second half runs in a callback: that of another caller, or of none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from collectionstore_node.access.current import CALLER, calling
from collectionstore_node.errors import Forbidden
from collectionstore_node.service.operations import DocumentRef, Put
from collectionstore_node.service.results import Code, Outcome
from collectionstore_node.service.seeing import AT_ONCE_BYTES_MAX, Unseen
from collectionstore_node.statemachine.commands import Command
from collectionstore_node.tests.service.access_scene import ADMIN, Scene, by, caller, reads, writes
from collectionstore_node.tests.service.waiting_call import WaitingCall

ADA, BOB = DocumentRef("people", "ada"), DocumentRef("people", "bob")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.collection("people", {"ada": {"team": "a", "pay": 1}, "bob": {"team": "b", "pay": 2}})
    await made.role("team-a", writes("people", filter={"team": "a"}, fields={"hide": ["pay"]}))
    await made.role("reads", reads("people"))
    await made.role("writes", writes("people"))
    yield made
    made.store.queries.close()


async def test_a_read_is_its_callers_whoever_runs_then(scene: Scene) -> None:
    halves = scene.store.halves
    calls = {}
    for target in (ADA, BOB):
        calls[target] = WaitingCall()
        with by("ann", "team-a"):
            halves.begin_read(calls[target], target, 1.0)
        await calls[target].told.wait()
    with calling(ADMIN):
        found = {target: halves.end_read(call, 1.0) for target, call in calls.items()}
    ada, bob = found[ADA], found[BOB]
    assert ada is not None
    assert ada.stored is not None
    assert orjson.loads(ada.stored.value) == {"team": "a"}
    assert bob is not None
    assert bob.stored is None


async def test_a_stale_read_is_its_callers_too(scene: Scene) -> None:
    scene.replica.fresh = True
    call = WaitingCall()
    with by("ann", "team-a"):
        scene.store.halves.begin_stale_read(call, BOB, 1.0)
    with calling(ADMIN):
        found = scene.store.halves.end_stale_read(call, 1.0)
    assert found is not None
    assert found.stored is None


async def test_a_large_document_is_shown_beside_the_loop(scene: Scene) -> None:
    large = {"team": "a", "pay": 1, "text": "x" * AT_ONCE_BYTES_MAX}
    with calling(ADMIN):
        await scene.put("people", "ada", large)
    call = WaitingCall()
    with by("ann", "team-a"):
        scene.store.halves.begin_read(call, ADA, 1.0)
    await call.told.wait()
    assert scene.store.halves.end_read(call, 1.0) is None  # it waits again
    await call.told.wait()
    found = scene.store.halves.end_read(call, 1.0)
    assert found is not None
    assert found.stored is not None
    assert b"pay" not in found.stored.value
    with by("ann", "team-a"):
        assert await scene.read("people", "ada") == {"team": "a", "text": large["text"]}
        unseen = scene.store.read_at_once(ADA)
        assert isinstance(unseen, Unseen)
        assert await scene.store.seen(unseen, timeout_s=1) == found
    with calling(ADMIN):
        assert await scene.read("people", "ada") == large


async def test_halves_are_refused_where_they_begin_and_where_rights_have_gone(scene: Scene) -> None:
    halves, before = scene.store.halves, len(scene.replica.proposed)
    with by("ann", "reads"):
        with pytest.raises(Forbidden):
            halves.begin_write(WaitingCall(), Put(ADA, b"{}"), 1.0)
        call = WaitingCall()
        halves.begin_read(call, ADA, 1.0)
        await call.told.wait()
    assert len(scene.replica.proposed) == before
    assert scene.store.writes.inflight == 0
    await scene.drop_role("reads")
    with pytest.raises(Forbidden):
        halves.end_read(call, 1.0)


async def test_a_write_in_halves_is_asked_again_as_its_caller(scene: Scene) -> None:
    halves, call = scene.store.halves, WaitingCall("k")
    submit = scene.replica.submit

    def meanwhile(command: Command, *, timeout_s: float, parent: bytes | None = None) -> asyncio.Future[Outcome]:
        async def late() -> Outcome:
            await scene.role("unrelated", reads("elsewhere"))
            return await scene.replica.propose(command, timeout_s=timeout_s)

        return asyncio.ensure_future(late())

    scene.replica.submit = meanwhile  # type: ignore[method-assign]  # rights change first
    with by("ann", "writes"):
        halves.begin_write(call, Put(ADA, b'{"n":1}'), 1.0)
    scene.replica.submit = submit  # type: ignore[method-assign]
    await call.told.wait()
    assert CALLER.get() is None
    assert halves.end_write(call, 1.0) is None  # it waits again
    await call.told.wait()
    outcome = halves.end_write(call, 1.0)
    assert outcome is not None
    assert outcome.code is Code.OK
    assert scene.store.writes.inflight == 0
    keys = {one.idempotency.key for one in scene.replica.proposed if one.idempotency is not None}
    assert len(keys) == 1
    assert "k" not in keys


async def test_a_write_of_a_stream_is_shown_as_its_caller_may_see_it(scene: Scene) -> None:
    store = scene.store
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    put = Put(BOB, b'{"team":"a"}')
    with by("ann", "team-a"):
        counted = store.submit(put, told, key=None, timeout_s=1)
        outcome = await told
        store.count_out(counted, decided=True)
        shown = store.answered(put, outcome)
        assert shown is not None
        assert shown.code is Code.ACCESS_DOCUMENT
    assert store.asks
    assert caller("ann").user == "ann"
