"""`Backups`: reads of everything, the state and the log behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.current import CALLER, calling
from collectionstore_node.raft.messages import SnapshotMetadata
from collectionstore_node.service.door import Door
from collectionstore_node.service.exports import (
    LOG_BYTES_MAX,
    ExportedLog,
    ReadLog,
    ReadState,
    StateExport,
    encode_entries,
)
from collectionstore_node.service.operations import ReadConsistency
from collectionstore_node.statemachine.header import Header
from collectionstore_node.storage.exported_state import ExportedState

_READ_STATE: Final = ReadState()


class _Asked:
    """An export that is cut when its caller may not read it any more."""

    def __init__(self, export: StateExport, still: Callable[[], None]) -> None:
        """`still` raises then; it is asked before each piece."""
        self._export = export
        self.still = still

    @property
    def metadata(self) -> SnapshotMetadata:
        return self._export.metadata

    @property
    def header(self) -> Header:
        return self._export.header

    async def pieces(self) -> AsyncIterator[bytes]:
        pieces = self._export.pieces()
        async for piece in pieces:
            self.still()
            yield piece

    def close(self) -> None:
        self._export.close()


class Backups:
    """What programs that back the store up read: part of `Store`, whose errors they raise."""

    __slots__ = ("_door",)

    def __init__(self, door: Door) -> None:
        self._door = door

    async def open_state(self, *, consistency: ReadConsistency, timeout_s: float) -> tuple[ExportedState, StateExport]:
        """Return the whole state as a stream, and what it is of; `close` it. One at a time: raises `Overloaded`.

        Linearizable, it holds everything that was acknowledged before the call.
        """
        door, caller = self._door, CALLER.get()
        await door.view(_READ_STATE, consistency, timeout_s)
        replica, asked_at = door.replica, door.access.revision
        export = _Asked(await replica.open_state(), partial(self._still, caller, asked_at))
        try:
            export.still()
        except BaseException:
            export.close()
            raise
        status, header, metadata = replica.status(), export.header, export.metadata
        described = ExportedState(
            cluster_id=status.cluster_id,
            node_id=status.node_id,
            name=status.name,
            version=status.version,
            leader=replica.is_leader,
            index=metadata.index,
            term=metadata.term,
            revision=header.revision,
            feature_level=header.level,
            time_ms=header.time_ms,
            state_digest=header.digest.hex(),
        )
        return described, export

    async def committed_log(self, request: ReadLog, *, timeout_s: float) -> ExportedLog:
        """Return entries that are committed for good, in their order; none when there are none for so long.

        Linearizable: `applied` is not behind what was acknowledged before the call. Raises
        `InvalidRequest("compacted")` when this node has dropped the first of them.
        """
        door = self._door
        door.admit(request)
        replica, asked_at = door.replica, door.access.revision
        found = await replica.committed_log(request.after, bytes_max=LOG_BYTES_MAX, timeout_s=timeout_s)
        door.admit_again(request, asked_at)
        last = found[-1].index if found else request.after
        return ExportedLog(encode_entries(found), len(found), last, replica.applied_index, replica.revision)

    def _still(self, caller: Caller | None, asked_at: int) -> None:
        with calling(caller):
            self._door.admit_again(_READ_STATE, asked_at)
