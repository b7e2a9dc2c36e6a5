"""What may be done, and to which kind of resource."""

from __future__ import annotations

import enum
from typing import Final


class Verb(enum.StrEnum):
    """What a rule allows or denies."""

    READ = "read"
    """Read documents or values, and see that a collection exists; on the cluster: members and the store's status."""
    WRITE = "write"
    """Write and delete documents or values; on the cluster: leases and locks."""
    CREATE = "create"
    """Create a collection."""
    DROP = "drop"
    """Drop a collection."""
    INDEX = "index"
    """Create and drop indexes."""
    WATCH = "watch"
    """Follow changes; what is shown of them also needs `read`."""
    TRANSACT = "transact"
    """Take part in transactions, beside `read` and `write` for what they read and write."""
    BACKUP = "backup"
    """Export a collection; on the cluster: read the whole state and the log."""
    ADMIN = "admin"
    """Change the options of a collection; on the cluster: members, users, roles, tokens and access control."""
    MONITOR = "monitor"
    """Metrics, status and diagnostics."""


class Kind(enum.StrEnum):
    """A kind of resource. The cluster is one resource, without a name."""

    COLLECTION = "collection"
    BUCKET = "bucket"
    CLUSTER = "cluster"


VERBS_OF: Final[dict[Kind, frozenset[Verb]]] = {
    Kind.COLLECTION: frozenset(Verb) - {Verb.MONITOR},
    Kind.BUCKET: frozenset({Verb.READ, Verb.WRITE, Verb.WATCH, Verb.TRANSACT}),
    Kind.CLUSTER: frozenset({Verb.READ, Verb.WRITE, Verb.WATCH, Verb.TRANSACT, Verb.BACKUP, Verb.ADMIN, Verb.MONITOR}),
}
"""The verbs that there are for each kind."""
