"""Snapshots of the state machine: exported while writes go on, installed atomically.

An install reads the file once: it fills a new column family while it verifies, and makes it the active one, in the same
batch that replaces the log, when the last hash has covered the whole. A damaged file leaves a family that was never
active, which is dropped. A crash before that batch is in the WAL leaves the old state and log, a crash after it the new
ones; families that are not active are dropped at the next start.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from collectionstore_node.errors import InsufficientStorage, InvariantViolated
from collectionstore_node.raft.messages import HardState, SnapshotMetadata, decode_metadata, encode
from collectionstore_node.sealed_files import OpenFile
from collectionstore_node.statemachine.header import Header, header_in
from collectionstore_node.statemachine.levels import FIRST
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.log_store import LogStore
from collectionstore_node.storage.reserve import FULL, Reserve
from collectionstore_node.storage.rocksdb.family import Family, put_all
from collectionstore_node.storage.rocksdb.rocks import NODE_FAMILY, Rocks
from collectionstore_node.storage.rocksdb.tuning import Tuning
from collectionstore_node.storage.snapshot_file import (
    SnapshotFile,
    SnapshotStream,
    encode_snapshot,
    write_snapshot,
)
from collectionstore_node.storage.state_store import APPLIED_KEY, StateStore

ACTIVE_STATE: Final = b"state_family"
"""Key, in the node family, of the name of the active state family."""

_FLUSH_BYTES: Final = 8 << 20
"""Flush at this size while loading. A full memtable makes RocksDB stall the write, and rocksdict holds the GIL during
a write: the event loop would stop with it. `flush` releases the GIL."""

_CHECK_BYTES: Final = 1 << 20
"""Look at the free space after this much of an export."""

_TURN_BYTES: Final = 64 << 10
"""Offer the interpreter to other threads after this much of an export, some 0.3 ms. A thread that wants it otherwise
waits for the end of the chunk, and longer when the system takes the core from the export: measured, turns of an event
loop beside an export were late by 7 to 19 ms in the worst hundredth, and are by 4 to 8. It costs a tenth more."""


class DataDirectory(Protocol):
    """The parts of a data directory that a snapshot reads or replaces; `Database` has them."""

    rocks: Rocks
    state: StateStore
    log: LogStore
    failstop: FailStop
    tuning: Tuning
    reserve: Reserve
    open_file: OpenFile
    """Opens files of snapshots in transfer."""

    def raise_level(self, level: int) -> None:
        """Make programs that do not support a feature level refuse the directory, durably."""


class InstallStep(enum.Enum):
    """Steps of an install; a crash after any of them is safe."""

    CREATED = "an empty state is beside the old one"
    LOADED = "the whole file is verified, the new state is durable, and not yet active"
    SWITCHED = "the new state is active, durably"
    FINISHED = "the old state is dropped"


def export_snapshot(database: DataDirectory, directory: Path) -> SnapshotFile:
    """Export the current state to a file in `directory`; concurrent writes are not in it.

    Blocks; for an executor. The caller deletes the file. Raises `InvariantViolated` if nothing is applied yet.
    """
    metadata, header, records = _view(database)
    path = directory / f"state-{metadata.index}-{metadata.term}.snapshot"
    temporary = path.with_suffix(".part")
    try:
        guarded = _while_there_is_room(records, database)
        chunk_bytes = database.tuning.snapshot_chunk_bytes
        written = write_snapshot(temporary, metadata, guarded, chunk_bytes, header.level, database.open_file)
        temporary.replace(path)
    except InsufficientStorage:
        temporary.unlink(missing_ok=True)
        raise
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in FULL:
            # Nothing of the database is lost: the file is a copy.
            raise InsufficientStorage("the disk has no room for a snapshot file") from error
        raise database.failstop.fail("export a snapshot", error) from error
    return written._replace(path=path)


class StateStream(NamedTuple):
    """The state at one applied index, as the bytes of a snapshot file that exists nowhere."""

    metadata: SnapshotMetadata
    header: Header
    pieces: Generator[bytes, None, None]
    """Each takes one bounded read. Close it: until then it keeps its view, and RocksDB, open."""


def stream_snapshot(database: DataDirectory) -> StateStream:
    """Return the current state as a stream; concurrent writes are not in it, and nothing is written to the disk.

    Blocks; for an executor, as are `pieces`. Raises `InvariantViolated` if nothing is applied yet, and
    `InsufficientStorage` on a member that is short of space; a piece does when it becomes so.
    """
    _refuse_without_room(database)
    metadata, header, records = _view(database)
    return StateStream(metadata, header, _pieces(database, metadata, header, records))


def _pieces(
    database: DataDirectory, metadata: SnapshotMetadata, header: Header, records: Iterator[tuple[bytes, bytes]]
) -> Generator[bytes, None, None]:
    for piece in encode_snapshot(metadata, records, database.tuning.snapshot_chunk_bytes, header.level):
        yield piece
        # A view keeps every file that is compacted or dropped meanwhile: deleting would give no space back.
        _refuse_without_room(database)


def _refuse_without_room(database: DataDirectory) -> None:
    if database.reserve.available_bytes() < database.reserve.limits.low_bytes:
        raise InsufficientStorage("this member is short of disk space, and a backup would keep it from freeing any")


def _view(database: DataDirectory) -> tuple[SnapshotMetadata, Header, Iterator[tuple[bytes, bytes]]]:
    """Return the applied position, the header and all records of one view. Raises `InvariantViolated`."""
    # One iterator is one consistent view, and the applied position is the first record in it, so the two always match.
    # A rocksdict `Snapshot` would not do: its iterators show later writes.
    records = database.state.family.scan_all()
    key, value = next(records, (None, b""))
    if key != APPLIED_KEY:
        raise InvariantViolated("nothing is applied yet; there is no state to export")
    # The header is the first record of the state, so that revision and level are those of this very view.
    first = next(records, None)
    rest = records if first is None else chain((first,), records)
    return decode_metadata(value), header_in(first), _giving_way(rest)


def _giving_way(records: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield `records`, and let other threads have the interpreter every `_TURN_BYTES`."""
    read = 0
    for key, value in records:
        yield key, value
        read += len(key) + len(value)
        if read >= _TURN_BYTES:
            read = 0
            # Not a pause: it returns at once when no thread waits.
            time.sleep(0)


def _while_there_is_room(
    records: Iterator[tuple[bytes, bytes]], database: DataDirectory
) -> Iterator[tuple[bytes, bytes]]:
    """Yield `records`. Raises `InsufficientStorage` before the file takes what the log needs: it is only a copy."""
    written = 0
    for key, value in records:
        yield key, value
        written += len(key) + len(value)
        if written >= _CHECK_BYTES:
            written = 0
            if database.reserve.available_bytes() < database.reserve.limits.low_bytes // 2:
                raise InsufficientStorage("the disk has no room for a snapshot file")


def install_snapshot(database: DataDirectory, path: Path, hard_state: HardState | None = None) -> None:
    """Replace state machine and log by the snapshot in `path`, and term and vote by those of `hard_state` if given.

    Blocks; for an executor. Nothing may be appended or committed meanwhile; reads see the old state until it is done.
    Raises `InvariantViolated`, with nothing changed, if the file is corrupt or older than the applied index.
    """
    for _ in install_steps(database, path, hard_state):
        pass


def install_steps(database: DataDirectory, path: Path, hard_state: HardState | None = None) -> Iterator[InstallStep]:
    """Perform an install step by step: each item taken completes one."""
    rocks, state = database.rocks, database.state
    try:
        with database.open_file(path, "rb") as file:
            stream = SnapshotStream(path, file)
            metadata = stream.metadata
            if metadata.index < state.applied.index:
                raise InvariantViolated(
                    f"the snapshot at {metadata.index} is older than the applied index {state.applied.index}"
                )
            fresh = rocks.create_state()
            yield InstallStep.CREATED
            _load_verified(rocks, fresh, stream)
    except OSError as error:
        raise database.failstop.fail("read a snapshot", error) from error
    yield InstallStep.LOADED

    old = _switch(database, fresh, metadata, stream.level, hard_state)
    yield InstallStep.SWITCHED

    # AFTER the switch is durable (`reset_to_snapshot` syncs): until then the old state is the one that a crash leaves.
    rocks.drop(old)
    yield InstallStep.FINISHED


def restore_snapshot(
    database: DataDirectory, stream: Chunks, adopt: Callable[[StateStore], Adoption]
) -> SnapshotMetadata:
    """Make the state of `stream` that of a new data directory, changed as `adopt` says; return its position.

    `adopt` is called when the whole stream is loaded and verified. It may change the state, and raise, which leaves the
    directory empty. Blocks. Raises `InvariantViolated` with nothing changed if the stream is corrupt.
    """
    if database.state.applied.index or database.log.last_index():
        raise InvariantViolated("only a new data directory can be restored into")
    rocks = database.rocks
    fresh = rocks.create_state()
    _load_verified(rocks, fresh, stream)
    adopted = adopt(StateStore(rocks, fresh))
    batch = rocks.batch(fresh)
    put_all(batch, fresh, adopted.records.items())
    put_all(batch, fresh, [(APPLIED_KEY, encode(adopted.metadata))])
    rocks.write_unlogged(batch)
    fresh.flush()
    old = _switch(database, fresh, adopted.metadata, adopted.level, HardState(adopted.metadata.term))
    rocks.drop(old)
    return adopted.metadata


class Chunks(Protocol):
    """A snapshot that is verified as it is read."""

    @property
    def metadata(self) -> SnapshotMetadata:
        """Its position."""

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield its chunks once; ends only when all of it is verified."""


class Adoption(NamedTuple):
    """What of a restored state is another cluster's: its position, with the new configuration, and some records."""

    metadata: SnapshotMetadata
    records: Mapping[bytes, bytes]
    level: int
    """Feature level of the state."""


def drop_inactive_states(rocks: Rocks, active: Family) -> None:
    """Drop the state families of interrupted installs."""
    for name in rocks.state_names():
        if name != active.name:
            rocks.drop(name)


def _switch(
    database: DataDirectory, fresh: Family, metadata: SnapshotMetadata, level: int, hard_state: HardState | None
) -> str:
    """Make the loaded state `fresh` the active one, durably, with a log that begins behind it; return the old name."""
    rocks, state = database.rocks, database.state
    # BEFORE the state of another level becomes active: an older program must find the mark, or it would misread it.
    if level > FIRST:
        database.raise_level(level)
    # AFTER the new family is durable: the switch goes through the WAL and could survive a crash that the family does
    # not. State, log and term switch in ONE batch: a new state with the old log, or the reverse, would have a gap, and
    # a log of a later term than the stored one is refused.
    batch = rocks.batch(rocks.family(NODE_FAMILY))
    batch[ACTIVE_STATE] = fresh.name.encode()
    database.log.reset_to_snapshot(metadata, batch, hard_state)
    old = state.family
    state.switch(fresh)
    return old.name


def _load_verified(rocks: Rocks, fresh: Family, stream: Chunks) -> None:
    """Fill `fresh`, which is not active, with all of `stream`; drop it when the stream turns out to be corrupt."""
    try:
        # Returns only when the stream has verified its end: until then a hash may still refuse what is loaded.
        _load(rocks, fresh, stream.chunks(), encode(stream.metadata))
    except InvariantViolated:
        rocks.drop(fresh.name)
        raise


def _load(rocks: Rocks, family: Family, chunks: Iterable[list[bytes]], applied: bytes) -> None:
    """Fill `family` with records, durably and without the WAL."""
    # Without the WAL: the data is elsewhere already, and its size would push everything else out of the WAL. Durable
    # through the flush at the end, BEFORE which the family must not become active.
    batch = rocks.batch(family)
    put_all(batch, family, [(APPLIED_KEY, applied)])
    unflushed = 0
    for chunk in chunks:
        put_all(batch, family, zip(chunk[::2], chunk[1::2], strict=True))
        unflushed += batch.size_in_bytes()
        rocks.write_unlogged(batch)
        if unflushed >= _FLUSH_BYTES:
            family.flush()
            unflushed = 0
        batch = rocks.batch(family)
    rocks.write_unlogged(batch)
    family.flush()
