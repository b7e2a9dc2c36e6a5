"""Installs a received snapshot: state and log are replaced, all or nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from pathlib import Path

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

    def take(self, metadata: SnapshotMetadata) -> Path:
        """Return the received file of `metadata` for `install`; call it as the `Ready` is taken, with no await between.

        A newer snapshot may arrive from then on, and its file is kept. Raises `InvariantViolated`.
        """
        return self._received.take(metadata)

    async def install(self, path: Path, metadata: SnapshotMetadata, hard_state: HardState | None) -> None:
        """Replace log and state by the snapshot of `metadata` in `path`, store term and vote, and delete the file.

        Raises `StorageFailed` and `InvariantViolated`; the driver must end then.
        """
        started = self._loop.time()
        # Digests of a half-replaced state would make this member look divergent.
        self._applier.suspend()
        await self._loop.run_in_executor(self._executor, self._storage.install_snapshot, path, hard_state)
        # No await from here on: other tasks must see the new state only with the record that belongs to it.
        self._applier.reload()
        seconds, size_bytes = self._loop.time() - started, _remove(path)
        self._observer.snapshot_installed(metadata.index, size_bytes=size_bytes, seconds=seconds)
        log.info("snapshot.installed", index=metadata.index, seconds=round(seconds, 3))


def _remove(path: Path) -> int:
    """Delete a file that was installed and return its size in bytes."""
    size_bytes = path.stat().st_size
    path.unlink(missing_ok=True)
    return size_bytes
