"""Backups whose right is taken away while they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from collectionstore_node.access.current import CALLER
from collectionstore_node.errors import Forbidden
from collectionstore_node.raft.messages import Entry, Index, SnapshotMetadata, Term
from collectionstore_node.service.exports import ReadLog
from collectionstore_node.statemachine.header import Header, read_header
from collectionstore_node.tests.service.access_scene import NEW, Scene, by, reads

BACKUP = {"verbs": ["backup"], "cluster": True}


class Export:
    """A stream of three pieces."""

    def __init__(self, scene: Scene) -> None:
        self.metadata = SnapshotMetadata(Index(1), Term(1))
        self.header: Header = read_header(scene.replica.view)
        self.closed = False

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in (b"a", b"b", b"c"):
            yield piece

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    await made.role("saves", BACKUP)
    return made


def _exports(scene: Scene, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Awaitable[None]]) -> Export:
    export = Export(scene)

    async def open_state() -> Export:
        await meanwhile()
        return export

    monkeypatch.setattr(scene.replica, "open_state", open_state)
    return export


async def _nothing() -> None:
    pass


async def test_a_stream_of_the_state_ends_when_the_right_is_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    _exports(scene, monkeypatch, _nothing)
    with by("ann", "saves"):
        _, export = await scene.store.backups.open_state(consistency=NEW, timeout_s=1)
    # Whoever asks for the pieces: it goes by the caller who has opened it.
    assert CALLER.get() is None
    pieces = export.pieces()
    assert await anext(pieces) == b"a"
    await scene.role("unrelated", reads("elsewhere"))
    assert await anext(pieces) == b"b"
    await scene.role("saves", reads("elsewhere"))
    with pytest.raises(Forbidden, match="backup on the cluster"):
        await anext(pieces)


async def test_a_stream_that_opens_behind_its_right_is_closed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    export = _exports(scene, monkeypatch, lambda: scene.role("saves", reads("elsewhere")))
    with by("ann", "saves"), pytest.raises(Forbidden, match="backup on the cluster"):
        await scene.store.backups.open_state(consistency=NEW, timeout_s=1)
    assert export.closed


async def test_entries_that_come_behind_the_right_are_not_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request waits for entries, which may be those that take its right away, and what follows."""
    may = asyncio.Event()

    async def committed_log(after: Index, *, bytes_max: int, timeout_s: float) -> tuple[Entry, ...]:
        await may.wait()
        return ()

    monkeypatch.setattr(scene.replica, "committed_log", committed_log)
    with by("ann", "saves"):
        waiting = asyncio.create_task(scene.store.backups.committed_log(ReadLog(Index(0)), timeout_s=1))
    await asyncio.sleep(0)
    await scene.role("saves", reads("elsewhere"))
    may.set()
    with pytest.raises(Forbidden, match="backup on the cluster"):
        await waiting
