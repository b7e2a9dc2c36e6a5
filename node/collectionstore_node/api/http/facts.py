"""What a route does, for the audit log and for limits: verb, kind of resource, and where its path names it. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from collectionstore_node.access.verbs import Kind, Verb

COLLECTION: Final = "/api/v1/collections/{collection}"
BUCKET: Final = "/api/v1/kv/{bucket}"

_EXACT: Final[dict[tuple[str, str], Verb]] = {
    ("POST", "/api/v1/collections"): Verb.CREATE,
    ("PUT", COLLECTION): Verb.CREATE,
    ("PATCH", COLLECTION): Verb.ADMIN,
    ("DELETE", COLLECTION): Verb.DROP,
    ("POST", f"{COLLECTION}/indexes"): Verb.INDEX,
    ("DELETE", f"{COLLECTION}/indexes/{{name}}"): Verb.INDEX,
    ("POST", "/api/v1/transactions"): Verb.TRANSACT,
    ("POST", "/api/v1/transactions:commit"): Verb.TRANSACT,
    ("GET", "/api/v1/cluster"): Verb.MONITOR,
    ("GET", "/api/v1/whoami"): Verb.READ,
}
_BEGINNINGS: Final[tuple[tuple[str, Verb], ...]] = (
    ("/api/v1/cluster", Verb.ADMIN),
    ("/api/v1/backup", Verb.BACKUP),
    ("/api/v1/users", Verb.ADMIN),
    ("/api/v1/roles", Verb.ADMIN),
    ("/api/v1/tokens", Verb.ADMIN),
    ("/api/v1/access", Verb.ADMIN),
    ("/debug/", Verb.ADMIN),
)


class Facts(NamedTuple):
    """What requests of a route, or operations of a kind, do."""

    operation: str
    verb: Verb
    kind: Kind
    named: bool
    """Whether the first argument of the path names the resource."""
    id_at: int | None
    """Which argument is the ID of a document, or a key."""
    lasting: bool = False
    """Whether it counts as a stream of its user."""
    streamed: bool = False
    """Whether it is an operation of a stream."""
    mending: bool = False
    """Whether the cluster is managed by it: it is served although it cannot be audited."""


def facts_of(method: str, pattern: str, *, write: bool) -> Facts:
    """Return what a route does; `write` says whether it changes something."""
    kind, named = Kind.CLUSTER, False
    if pattern.startswith(COLLECTION):
        kind, named = Kind.COLLECTION, True
    elif pattern.startswith(BUCKET):
        kind, named = Kind.BUCKET, True
    id_at = 1 if pattern in (f"{COLLECTION}/documents/{{id}}", f"{BUCKET}/{{key...}}") else None
    verb = _verb(method, pattern, write=write)
    mending = pattern.startswith("/api/v1/cluster")
    return Facts(f"{method} {pattern}", verb, kind, named, id_at, lasting=verb is Verb.WATCH, mending=mending)


def _verb(method: str, pattern: str, *, write: bool) -> Verb:
    exact = _EXACT.get((method, pattern))
    if exact is not None:
        return exact
    if pattern.endswith(":watch"):
        return Verb.WATCH
    if pattern.endswith(":export"):
        return Verb.BACKUP
    for beginning, verb in _BEGINNINGS:
        if pattern.startswith(beginning):
            return verb
    return Verb.WRITE if write else Verb.READ


_OPERATIONS: Final[dict[str, Verb]] = {
    "create_collection": Verb.CREATE,
    "drop_collection": Verb.DROP,
    "create_index": Verb.INDEX,
    "drop_index": Verb.INDEX,
    "transaction": Verb.TRANSACT,
    "watch": Verb.WATCH,
    "grant_watch": Verb.WATCH,
    "unwatch": Verb.WATCH,
}


def facts_of_operation(name: str, *, write: bool, fields: tuple[str, ...]) -> Facts:
    """Return what operations of a stream do, by their name and the fields that they have."""
    verb = _OPERATIONS.get(name, Verb.WRITE if write else Verb.READ)
    if "collection" in fields:
        id_at = 1 if "id" in fields else None
        return Facts(f"stream {name}", verb, Kind.COLLECTION, named=True, id_at=id_at, streamed=True)
    if "bucket" in fields:
        id_at = 1 if "key" in fields else None
        return Facts(f"stream {name}", verb, Kind.BUCKET, named=True, id_at=id_at, streamed=True)
    return Facts(f"stream {name}", verb, Kind.CLUSTER, named=False, id_at=None, streamed=True)
