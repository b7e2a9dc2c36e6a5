"""Installs a received snapshot: state and log are replaced, all or nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

import structlog

from collectionstore_node.raft.messages import HardState, SnapshotMetadata
from collectionstore_node.replica.observation.observer import DriverObserver
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.snapshots.received import ReceivedSnapshots
from collectionstore_node.replica.storage_port import Storage

log = structlog.get_logger()


class SnapshotInstaller:
    """Installs what `received` holds into one data directory. Belongs to the event loop."""

    def __init__(
        self,
        storage: Storage,
        received: ReceivedSnapshots,
        applier: Applier,
        executor: Executor,
        observer: DriverObserver,
    ) -> None:
        self._storage = storage
        self._received = received
        self._applier = applier
        self._executor = executor
        self._observer = observer
        self._loop = asyncio.get_running_loop()

    async def install(self, metadata: SnapshotMetadata, hard_state: HardState | None) -> None:
        """Replace log and state by the received snapshot of `metadata`, store term and vote, and delete the file.

        Raises `StorageFailed` and `InvariantViolated`; the driver must end then.
        """
        path = self._received.take(metadata)
        started = self._loop.time()
        # Digests of a half-replaced state would make this member look divergent.
        self._applier.suspend()
        await self._loop.run_in_executor(self._executor, self._storage.install_snapshot, path, hard_state)
        # No await from here on: other tasks must see the new state only with the record that belongs to it.
        self._applier.reload()
        seconds, size_bytes = self._loop.time() - started, path.stat().st_size
        path.unlink(missing_ok=True)
        self._observer.snapshot_installed(metadata.index, size_bytes=size_bytes, seconds=seconds)
        log.info("snapshot.installed", index=metadata.index, seconds=round(seconds, 3))
