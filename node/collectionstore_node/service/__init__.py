"""The only entry point to the store: every client operation passes through it to the replica.

- `store.py`          `Store`: the operations, each admitted, then executed by the replica
- `halves.py` `lists.py` `queries.py` `backups.py`  its parts: single reads and writes in halves, pages, what matches a
  filter, reads of everything
- `indexes.py` `index_builder.py`  creating and dropping indexes; what builds them, on the leader
- `leases.py` `locks.py` `lives.py` `expirer.py`  leases and locks; how long something lives, and what removes it then
- `token_uses.py`     what notes when tokens were used
- `history_keeper.py` what bounds the history of changes while a member is short of space, on the leader
- `past.py` `tokens.py`  reads of past revisions; what signs cursors and tokens
- `door.py`           what every operation passes, and the state behind it
- `updates.py` `update_checks.py`  writes of what matches a filter, and many writes of one request
- `document_exports.py` `imports.py`  collections as streams: all documents of one state, and batches of writes
- `commits.py`        transactions with queries, which are planned, and the ends of interactive ones
- `access.py` `access_requests.py` `policies.py`  users, roles, tokens and the configuration of access control; the
  policy of the applied state
- `tickets.py`        writes that are answered before their outcome is known, and what has become of them
- `operations.py`     the requests: one frozen struct per operation
- `results.py`        the results, with the revision at which they were read
- `membership.py`     the same for the cluster: membership requests and status
- `exports.py`        reads of everything, for backups
- `limits.py`         bounds on an operation and on all of them together
- `admission.py`      the bound of writes in flight, by the time that they take
- `idempotency.py`    the command of a write: fingerprint and deterministic ids for idempotency keys
- `pending.py`        operations in two halves, for callers that await nothing
- `turns.py`          long work in steps: nothing holds the event loop
- `query_thread.py`   long work whose steps cannot all be short, in a thread
- `store_replica.py`  the interface to the replica that the store needs

These are many modules for one room, because the parts of the store share one door.

Independent of HTTP: no header, no status code, no percent-encoding. A front end parses, calls the store and renders the
result.

Invariants:
- an operation is admitted BEFORE it waits for consensus or reads state, and a refused one has no effect;
- a write is acknowledged only with the outcome of its applied command; `NotNow` means that it was not applied,
  `OutcomeUnknown` that it may be;
- a linearizable read sees every write acknowledged before the read began.
"""

from collectionstore_node.service.admission import OVERDUE
from collectionstore_node.service.expirer import Expirer
from collectionstore_node.service.history_keeper import HistoryKeeper
from collectionstore_node.service.index_builder import IndexBuilder
from collectionstore_node.service.limits import StoreLimits
from collectionstore_node.service.operations import BoundedStaleness, Consistency, ReadConsistency
from collectionstore_node.service.pending import Pending
from collectionstore_node.service.store import Store
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.service.token_uses import TokenUses
from collectionstore_node.service.turns import Work

__all__ = [
    "OVERDUE",
    "BoundedStaleness",
    "Consistency",
    "Expirer",
    "HistoryKeeper",
    "IndexBuilder",
    "Pending",
    "ReadConsistency",
    "Store",
    "StoreLimits",
    "StoreReplica",
    "TokenUses",
    "Work",
]
