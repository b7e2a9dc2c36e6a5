"""Durable storage of a node: the Raft log, the state machine, the identity, and the durable-tail marker.

A data directory contains:
- `LOCK`       locked by the one process that uses the directory; contains its process ID
- `IDENTITY`   cluster, member name and node ID (incarnation); written last when a directory is initialized
- `WITNESS`    the durable-tail marker: the end of the log that was durable at its last update (see `tail_marker`)
- `rocks/`     RocksDB: the log, the hard state, the state machine (see `rocksdb`)
- `spool/`     snapshot files in transfer; emptied at every start
- `RECOVERING` and `RECOVERED`  written by a recovery from a lost quorum (see the room `recovery`)
- `CONDEMNED`  the quarantine mark: the state was found to differ from the majority's (see `quarantine`)

What a crash can leave, in the order of the steps, and what the next start finds:

| a crash after | the log on disk | the tail marker | the next start |
|---|---|---|---|
| `append` | with or without the entries, or torn | behind | keeps the intact part |
| the WAL sync | with the entries | behind | keeps them |
| half of the tail marker's write | with the entries | its other slot, behind | keeps them |
| the tail marker's sync | with the entries | equal | keeps them |
| lowering the marker for a truncation | the old suffix | behind | keeps the old log |
| the truncating write | old or new suffix | behind both | keeps whichever is there |
| filling a new state family | the old log | equal | keeps the old state, drops the new family |
| lowering the marker for an install | the old log | behind | as above |
| the switching write | old or new, with its state | behind both | keeps whichever is there |
| a compaction's write | with or without the prefix | at or behind | the applied state covers the prefix |
| a power loss | what was synced, then anything | at or behind that | keeps what precedes the corruption |

No crash can leave a log, term or vote behind the tail marker, a broken chain, a missing write before others, or parts
of two nodes. The node refuses to start on such a directory, at every attempt, and leaves it as it was found.

Modules, from the outside in: `database` opens and verifies a directory; `snapshots` exports and installs; `log_store`
is the Raft log, with `stored_entries` (on disk), `log_cache` (in memory) and `tail_marker`; `state_store` is the state
machine's data; `rocksdb` is a room for RocksDB and the quirks of its binding; `snapshot_file` is a pure file format;
`identity`, `formats`, `quarantine`, `reserve`, `directory_lock` and `durable_file` are the files beside RocksDB;
`failstop` and `corruption` are what every module raises; `exported_state` is what is told of a state that is sent
elsewhere. Eighteen modules, because each file of a data directory is one of them; what belongs to RocksDB alone has
its own room.
"""

from collectionstore_node.storage.database import Database
from collectionstore_node.storage.identity import Identity
from collectionstore_node.storage.log_store import LogStore
from collectionstore_node.storage.rocksdb.tuning import Tuning
from collectionstore_node.storage.snapshot_file import SnapshotFile, read_metadata, verify_snapshot
from collectionstore_node.storage.state_store import Applied, StateStore

__all__ = [
    "Applied",
    "Database",
    "Identity",
    "LogStore",
    "SnapshotFile",
    "StateStore",
    "Tuning",
    "read_metadata",
    "verify_snapshot",
]
