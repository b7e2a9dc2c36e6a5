"""`Backups`: reads of everything, the state and the log behind it."""

from __future__ import annotations

from typing import Final

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
from collectionstore_node.storage.exported_state import ExportedState

_READ_STATE: Final = ReadState()


class Backups:
    """What programs that back the store up read: part of `Store`, whose errors they raise."""

    __slots__ = ("_door",)

    def __init__(self, door: Door) -> None:
        self._door = door

    async def open_state(self, *, consistency: ReadConsistency, timeout_s: float) -> tuple[ExportedState, StateExport]:
        """Return the whole state as a stream, and what it is of; `close` it. One at a time: raises `Overloaded`.

        Linearizable, it holds everything that was acknowledged before the call.
        """
        await self._door.view(_READ_STATE, consistency, timeout_s)
        replica = self._door.replica
        export = await replica.open_state()
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
        self._door.admit(request)
        replica = self._door.replica
        found = await replica.committed_log(request.after, bytes_max=LOG_BYTES_MAX, timeout_s=timeout_s)
        last = found[-1].index if found else request.after
        return ExportedLog(encode_entries(found), len(found), last, replica.applied_index, replica.revision)
