"""Everything a node keeps on disk: the Raft log, the state machine, who it is, and how far it was durable.

A data directory holds:
- `LOCK`       held by the one process that uses the directory; names its process id
- `IDENTITY`   cluster, member name and node id (incarnation); written last when a directory is set up
- `WITNESS`    where the log was durable when this node last told anybody (see `tail_marker`)
- `rocks/`     RocksDB: the log, the hard state, the state machine (see `rocks`, `tuning`)
- `spool/`     snapshot files on their way; emptied at every start
- `CONDEMNED`  only when the state was found to differ from the majority's: why, and what to do (see `condemned`)

What a crash may leave, in the order in which things happen, and what the next start finds:

| a crash after | the log on disk | the tail marker | the next start |
|---|---|---|---|
| `append` | with or without the entries, or torn | behind | the whole part counts |
| the WAL's sync | with the entries | behind | they count |
| half of the tail marker's write | with the entries | its other slot, behind | they count |
| the tail marker's sync | with the entries | equal | they count |
| lowering the tail marker for a truncation | the old suffix | behind | the old log counts |
| the truncating write | old or new suffix | behind both | whichever is there |
| filling a new state family | the old log | equal | the old state counts, the new family is removed |
| lowering the tail marker for an install | the old log | behind | as above |
| the switching write | old or new, with its state | behind both | whichever is there |
| a compaction's write | with or without the prefix | at or behind | applied state covers the prefix |
| a loss of power | what was synced, then anything | at or behind that | what precedes the damage counts |

A log behind its tail marker, a broken chain, a term or vote behind the tail marker, a write missing among later ones,
or a part of another node is no crash: the node refuses to start, at this and every later try. A WAL that cannot be read
to its end is left as it was found.
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
