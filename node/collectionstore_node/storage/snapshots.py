"""Snapshots of the state machine: exported while writes go on, installed all at once or not at all.

An install verifies the whole file, fills a fresh column family, and makes it the active one in the same batch that
empties the log. At every point before that batch is in the WAL a crash leaves the old state, after it the new one;
families that are not active are removed at the next start.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import decode_metadata, encode
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.log_store import LogStore
from collectionstore_node.storage.rocksdb.family import Family
from collectionstore_node.storage.rocksdb.rocks import NODE_FAMILY, Rocks
from collectionstore_node.storage.rocksdb.tuning import Tuning
from collectionstore_node.storage.snapshot_file import SnapshotFile, read_chunks, verify_snapshot, write_snapshot
from collectionstore_node.storage.state_store import APPLIED_KEY, StateStore

ACTIVE_STATE: Final = b"state_family"
"""Key in the node family of the name of the active state family."""

_FLUSH_BYTES: Final = 8 << 20
"""While loading, flush before the memtable is full: a full one makes RocksDB wait with the GIL held."""


class DataDirectory(Protocol):
    """The parts of a data directory that a snapshot touches; `Database` has them."""

    rocks: Rocks
    state: StateStore
    log: LogStore
    failstop: FailStop
    tuning: Tuning


class InstallStep(enum.Enum):
    """What has been done of an install; a crash after any of them is safe."""

    VERIFIED = "the file is whole"
    LOADED = "the new state is durable, and not yet active"
    SWITCHED = "the new state is active, durably"
    FINISHED = "the old state is gone"


def export_snapshot(database: DataDirectory, directory: Path) -> SnapshotFile:
    """Write the state as of now to a file in `directory`; writes may go on meanwhile and are not in it.

    Blocks; for an executor. The caller removes the file. Raises `InvariantViolated` when nothing was applied yet.
    """
    # One iterator is one consistent view, and where the state stands is the first thing in it.
    records = database.state.family.scan(b"")
    key, value = next(records, (None, b""))
    if key != APPLIED_KEY:
        raise InvariantViolated("nothing is applied yet, so there is nothing to export")
    metadata = decode_metadata(value)
    path = directory / f"state-{metadata.index}-{metadata.term}.snapshot"
    temporary = path.with_suffix(".part")
    try:
        written = write_snapshot(temporary, metadata, records, database.tuning.snapshot_chunk_bytes)
        temporary.replace(path)
    except OSError as error:
        raise database.failstop.fail("export a snapshot", error) from error
    return written._replace(path=path)


def install_snapshot(database: DataDirectory, path: Path) -> None:
    """Replace state machine and log by the snapshot in `path`. Term and vote stay.

    Blocks; for an executor. Nothing may be appended or committed meanwhile; reads see the old state until it is done.
    Raises `InvariantViolated`, with nothing changed, when the file is damaged or older than what is applied.
    """
    for _ in install_steps(database, path):
        pass


def install_steps(database: DataDirectory, path: Path) -> Iterator[InstallStep]:
    """Do what `install_snapshot` does, one step for each item taken."""
    rocks, state = database.rocks, database.state
    try:
        metadata = verify_snapshot(path).metadata
    except OSError as error:
        raise database.failstop.fail("read a snapshot", error) from error
    if metadata.index < state.applied.index:
        raise InvariantViolated(f"snapshot at {metadata.index} is older than what is applied, {state.applied.index}")
    yield InstallStep.VERIFIED

    fresh = rocks.create_state()
    try:
        _load(rocks, fresh, path, encode(metadata))
    except OSError as error:
        raise database.failstop.fail("read a snapshot", error) from error
    yield InstallStep.LOADED

    batch = rocks.batch(rocks.family(NODE_FAMILY))
    batch[ACTIVE_STATE] = fresh.name.encode()
    database.log.reset_to_snapshot(metadata, batch)
    old = state.family
    state.switch(fresh)
    yield InstallStep.SWITCHED

    rocks.drop(old.name)
    yield InstallStep.FINISHED


def drop_inactive_states(rocks: Rocks, active: Family) -> None:
    """Remove state families that an interrupted install left behind."""
    for name in rocks.state_names():
        if name != active.name:
            rocks.drop(name)


def _load(rocks: Rocks, family: Family, path: Path, applied: bytes) -> None:
    """Fill `family` with the records of a verified file, durably and outside the WAL."""
    batch = rocks.batch(family)
    batch[APPLIED_KEY] = applied
    unflushed = 0
    for chunk in read_chunks(path):
        for key, value in zip(chunk[::2], chunk[1::2], strict=True):
            batch[key] = value
        unflushed += batch.size_in_bytes()
        rocks.write_unlogged(batch)
        if unflushed >= _FLUSH_BYTES:
            family.flush()
            unflushed = 0
        batch = rocks.batch(family)
    rocks.write_unlogged(batch)
    family.flush()
