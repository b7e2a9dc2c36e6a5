"""Entries, states and databases for tests, made in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    NO_NODE,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    SnapshotMetadata,
    Term,
    chain_hash,
)
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage import Applied, Database, Tuning
from collectionstore_node.storage.encryption.sources import KeySource

SMALL = Tuning(
    write_buffer_bytes=256 << 10, wal_bytes_max=1 << 20, log_cache_bytes=4 << 10, snapshot_chunk_bytes=1 << 10
)
"""So small that everything that happens to a big node happens to a test's: flushes, full caches, many chunks."""


def open_database(path: Path, tuning: Tuning = SMALL, source: KeySource | None = None) -> Database:
    """Open, or make, the data directory of member `n1` of cluster `test`."""
    return Database.open(path, cluster_id="test", name="n1", tuning=tuning, source=source)


def entry(index: int, previous: bytes, *, term: int = 1, data: bytes | None = None) -> Entry:
    """Return an entry that continues the chain `previous`."""
    data = b"entry %d of term %d" % (index, term) if data is None else data
    chain = chain_hash(previous, Index(index), Term(term), EntryKind.COMMANDS, data)
    return Entry(Index(index), Term(term), EntryKind.COMMANDS, data, chain)


def entries(first: int, last: int, previous: bytes = GENESIS_CHAIN, *, term: int = 1, size: int = 0) -> list[Entry]:
    """Return entries `[first, last]` that continue the chain `previous`, with `size` bytes of data when given."""
    made: list[Entry] = []
    for index in range(first, last + 1):
        data = (b"%d/%d." % (index, term)).ljust(size, b".") if size else None
        made.append(entry(index, previous, term=term, data=data))
        previous = made[-1].chain
    return made


def hard_state(term: int = 1, vote: int = NO_NODE, commit: int = 0) -> HardState:
    """Return a hard state."""
    return HardState(Term(term), NodeId(vote), Index(commit))


def extend(database: Database, last: int, *, term: int = 1, size: int = 0) -> list[Entry]:
    """Append entries up to `last` behind what is stored, with a hard state of their term, without a sync."""
    log = database.log
    first = log.last_index() + 1
    made = entries(first, last, log.chain(log.last_index()), term=term, size=size)
    stored = log.hard_state()
    vote = stored.vote if stored.term == term else NO_NODE
    log.append(made, HardState(Term(term), vote, stored.commit))
    return made


def metadata(database: Database, index: int, configuration: Configuration = Configuration()) -> SnapshotMetadata:  # noqa: B008 - frozen
    """Return where the log stands at `index`."""
    log = database.log
    return SnapshotMetadata(Index(index), log.term(Index(index)), log.chain(Index(index)), configuration)


def apply(database: Database, index: int, values: Mapping[bytes, bytes | None] | None = None) -> Applied:
    """Store `values` as what applying the entries up to `index` did."""
    writes = Writes()
    writes.values.update(values or {})
    applied = metadata(database, index, Configuration(voters=(NodeId(7),)))
    database.state.commit(writes, applied)
    return applied


def contents(database: Database) -> dict[bytes, bytes]:
    """Return the whole state."""
    return dict(database.state.scan(b"", b"\xff"))
