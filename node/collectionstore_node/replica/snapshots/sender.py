"""Sends snapshots to followers that need compacted entries.

One export at a time, shared by all followers that need one; a thread makes and reads the file, so writes continue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

import structlog

from collectionstore_node.errors import InsufficientStorage
from collectionstore_node.metrics import SnapshotSeries
from collectionstore_node.raft.messages import InstallSnapshot, NodeId, encode
from collectionstore_node.replica.storage_port import ExportedSnapshot, Storage
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.transport.failures import SnapshotFailed

log = structlog.get_logger()

EXPORT_RETRY_S: Final = 5.0
"""Pause after an export that found no room."""


class SnapshotSender:
    """Sends snapshots in the background and reports how each ended. Belongs to the event loop."""

    def __init__(
        self,
        storage: Storage,
        transport: PeerTransport,
        executor: Executor,
        series: SnapshotSeries,
        finished: Callable[[NodeId, bool], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._storage = storage
        self._transport = transport
        self._executor = executor
        self._series = series
        self._finished = finished
        self._failed = failed
        self._sending: dict[NodeId, asyncio.Task[None]] = {}
        self._export = asyncio.Lock()
        self._latest: ExportedSnapshot | None = None

    @property
    def receivers(self) -> frozenset[NodeId]:
        """Nodes that a snapshot is being sent to."""
        return frozenset(self._sending)

    def start(self, message: InstallSnapshot) -> None:
        """Send a snapshot at least as new as `message.metadata`, unless one is already being sent to that node."""
        if message.to in self._sending:
            return
        task = asyncio.create_task(self._send(message), name=f"snapshot to {message.to:016x}")
        self._sending[message.to] = task
        task.add_done_callback(lambda done: self._done(message.to, done))

    async def close(self) -> None:
        """Stop sending and remove the exported file."""
        for task in self._sending.values():
            task.cancel()
        await asyncio.gather(*self._sending.values(), return_exceptions=True)
        self._forget()

    def _done(self, to: NodeId, task: asyncio.Task[None]) -> None:
        del self._sending[to]
        if not self._sending:
            # The log is compacted further all the time: a file kept for later would soon be too old.
            self._forget()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _forget(self) -> None:
        if self._latest is not None:
            self._latest.path.unlink(missing_ok=True)
            self._latest = None

    async def _send(self, message: InstallSnapshot) -> None:
        try:
            snapshot = await self._exported(message)
        except InsufficientStorage as error:
            self._series.failed("send")
            log.warning("snapshot.failed", to=f"{message.to:016x}", reason=str(error))
            # Not at once: the core would ask for the next one with the next heartbeat.
            await asyncio.sleep(EXPORT_RETRY_S)
            self._finished(message.to, False)  # noqa: FBT003 - the outcome is the argument's whole meaning
            return
        envelope = InstallSnapshot(sender=message.sender, to=message.to, term=message.term, metadata=snapshot.metadata)
        log.info("snapshot.sent", to=f"{message.to:016x}", index=snapshot.metadata.index, bytes=snapshot.size_bytes)
        began = asyncio.get_running_loop().time()
        try:
            await self._transport.send_snapshot(message.to, encode([envelope]), snapshot.path)
        except SnapshotFailed as error:
            self._series.failed("send")
            log.warning("snapshot.failed", to=f"{message.to:016x}", reason=str(error))
            self._finished(message.to, False)  # noqa: FBT003 - the outcome is the argument's whole meaning
            return
        seconds = asyncio.get_running_loop().time() - began
        self._series.done("send", size_bytes=snapshot.size_bytes, seconds=seconds)
        self._finished(message.to, True)  # noqa: FBT003 - as above

    async def _exported(self, message: InstallSnapshot) -> ExportedSnapshot:
        async with self._export:
            if self._latest is None or self._latest.metadata.index < message.metadata.index:
                loop = asyncio.get_running_loop()
                began = loop.time()
                self._latest = made = await loop.run_in_executor(
                    self._executor, self._storage.export_snapshot, self._storage.spool
                )
                seconds = loop.time() - began
                self._series.done("export", size_bytes=made.size_bytes, seconds=seconds)
                log.info(
                    "snapshot.exported",
                    index=made.metadata.index,
                    bytes=made.size_bytes,
                    seconds=round(seconds, 3),
                )
            return self._latest
