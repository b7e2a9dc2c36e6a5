"""What every route and every operation of a stream needs: written down by hand, and held against what they do.

A route or an operation without a line here fails `test_access_matrix.py`, and so does a line that is not what it needs.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from collectionstore_node.access.verbs import Kind, Verb

Need = tuple[Verb, Kind]

COLLECTION, BUCKET, CLUSTER = Kind.COLLECTION, Kind.BUCKET, Kind.CLUSTER
READ, WRITE, CREATE, DROP = Verb.READ, Verb.WRITE, Verb.CREATE, Verb.DROP
INDEX, WATCH, TRANSACT = Verb.INDEX, Verb.WATCH, Verb.TRANSACT
BACKUP, ADMIN, MONITOR = Verb.BACKUP, Verb.ADMIN, Verb.MONITOR


def of(kind: Kind, *verbs: Verb) -> frozenset[Need]:
    """Return needs of one kind."""
    return frozenset((verb, kind) for verb in verbs)


ANYONE: Final = (frozenset[Need](),)
"""For every caller: what it shows, or takes, is the caller's own."""
OUTSIDE: Final = None
"""Not asked by the store: what authentication, or the port, guards."""


class Rule(NamedTuple):
    """What a request needs: all of one of `ways`; and an example of it."""

    ways: tuple[frozenset[Need], ...] | None
    path: str = ""
    """Empty for the pattern of the route."""
    body: bytes = b""
    headers: dict[str, str] | None = None


def rule(*needs: frozenset[Need], path: str = "", body: Any = None, **headers: str) -> Rule:
    """Return a rule of a request that needs all of `needs`; `body` is JSON."""
    text = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Rule((frozenset().union(*needs),), path, text, named or None)


def either(*ways: frozenset[Need], path: str = "", body: Any = None) -> Rule:
    """Return a rule of a request that needs one of `ways`."""
    return rule(path=path, body=body)._replace(ways=ways)


_C: Final = "/api/v1/collections/people"
_MADE: Final = b'{"op":"put","id":"m","document":{}}\n'
_CHANGE: Final = {"filter": {"_id": "x"}, "update": {"$set": {"a": 1}}}
_STEPS: Final = [{"op": "put", "collection": "people", "id": "t", "document": {}}]
_COMPUTES: Final = of(COLLECTION, READ, WRITE)
_FOLLOWS: Final = of(COLLECTION, READ, WATCH)
_NDJSON: Final = "application/x-ndjson"

ROUTES: Final[dict[tuple[str, str], Rule]] = {
    # What authentication guards, and what is for everyone
    **dict.fromkeys([("GET", path) for path in ("/livez", "/readyz", "/health", "/status", "/metrics")], Rule(OUTSIDE)),
    **dict.fromkeys(
        [("GET", path) for path in ("/", "/openapi.json", "/docs", "/docs/page.css", "/docs/page.js")], Rule(ANYONE)
    ),
    ("GET", "/api/v1/whoami"): Rule(ANYONE),
    ("POST", "/api/v1/login"): Rule(OUTSIDE),
    ("POST", "/api/v1/logout"): Rule(OUTSIDE),
    ("GET", "/api/v1/stream"): Rule(OUTSIDE),  # each of its operations is asked
    # Diagnostics
    ("GET", "/debug/raft"): rule(of(CLUSTER, MONITOR)),
    ("GET", "/debug/tasks"): rule(of(CLUSTER, MONITOR)),
    ("GET", "/debug/profile"): rule(of(CLUSTER, MONITOR), path="/debug/profile?seconds=1"),
    ("GET", "/debug/log-level"): rule(of(CLUSTER, MONITOR)),
    ("PUT", "/debug/log-level"): rule(of(CLUSTER, ADMIN), body={"level": "info"}),
    # Collections
    ("GET", "/api/v1/collections"): Rule(ANYONE),
    ("POST", "/api/v1/collections"): rule(of(COLLECTION, CREATE), body={"name": "people"}),
    ("GET", "/api/v1/collections/{collection}"): rule(of(COLLECTION, READ), path=_C),
    ("PUT", "/api/v1/collections/{collection}"): rule(of(COLLECTION, CREATE), path=_C),
    ("PATCH", "/api/v1/collections/{collection}"): rule(of(COLLECTION, READ, ADMIN), path=_C, body={"ttl": "1h"}),
    ("DELETE", "/api/v1/collections/{collection}"): rule(of(COLLECTION, DROP), path=_C),
    # Documents
    ("GET", "/api/v1/collections/{collection}/documents"): rule(of(COLLECTION, READ), path=f"{_C}/documents"),
    ("POST", "/api/v1/collections/{collection}/documents"): rule(
        of(COLLECTION, WRITE), path=f"{_C}/documents", body={"n": 1}
    ),
    ("GET", "/api/v1/collections/{collection}/documents/{id}"): rule(of(COLLECTION, READ), path=f"{_C}/documents/x"),
    ("PUT", "/api/v1/collections/{collection}/documents/{id}"): rule(
        of(COLLECTION, WRITE), path=f"{_C}/documents/x", body={"n": 1}
    ),
    ("PATCH", "/api/v1/collections/{collection}/documents/{id}"): rule(
        _COMPUTES, path=f"{_C}/documents/x", body={"$set": {"n": 2}}
    ),
    ("DELETE", "/api/v1/collections/{collection}/documents/{id}"): rule(
        of(COLLECTION, WRITE), path=f"{_C}/documents/x"
    ),
    ("POST", "/api/v1/collections/{collection}:find"): rule(of(COLLECTION, READ), path=f"{_C}:find", body={}),
    ("POST", "/api/v1/collections/{collection}:count"): rule(of(COLLECTION, READ), path=f"{_C}:count", body={}),
    ("POST", "/api/v1/collections/{collection}:distinct"): rule(
        of(COLLECTION, READ), path=f"{_C}:distinct", body={"field": "n"}
    ),
    ("POST", "/api/v1/collections/{collection}:aggregate"): rule(
        of(COLLECTION, READ), path=f"{_C}:aggregate", body={"pipeline": []}
    ),
    ("POST", "/api/v1/collections/{collection}:validate"): rule(
        of(COLLECTION, READ), path=f"{_C}:validate", body={"schema": {"document": {}}}
    ),
    ("POST", "/api/v1/collections/{collection}:update"): rule(_COMPUTES, path=f"{_C}:update", body=_CHANGE),
    ("POST", "/api/v1/collections/{collection}:delete"): rule(
        _COMPUTES, path=f"{_C}:delete", body={"filter": {"_id": "x"}}
    ),
    ("POST", "/api/v1/collections/{collection}:findAndModify"): rule(
        _COMPUTES, path=f"{_C}:findAndModify", body=_CHANGE
    ),
    ("POST", "/api/v1/collections/{collection}:touch"): rule(
        of(COLLECTION, WRITE), path=f"{_C}:touch", body={"id": "x", "ttl": "1h"}
    ),
    ("POST", "/api/v1/collections/{collection}:bulk"): rule(
        of(COLLECTION, WRITE), path=f"{_C}:bulk", body=_MADE, Content_Type=_NDJSON
    ),
    ("GET", "/api/v1/collections/{collection}:export"): either(
        of(COLLECTION, READ), of(COLLECTION, BACKUP), path=f"{_C}:export"
    ),
    ("POST", "/api/v1/collections/{collection}:export"): either(
        of(COLLECTION, READ), of(COLLECTION, BACKUP), path=f"{_C}:export", body={}
    ),
    ("POST", "/api/v1/collections/{collection}:import"): rule(
        of(COLLECTION, WRITE, TRANSACT), path=f"{_C}:import", body=b'{"_id":"i"}\n', Content_Type=_NDJSON
    ),
    # Indexes
    ("GET", "/api/v1/collections/{collection}/indexes"): rule(of(COLLECTION, READ), path=f"{_C}/indexes"),
    ("POST", "/api/v1/collections/{collection}/indexes"): rule(
        of(COLLECTION, INDEX), path=f"{_C}/indexes", body={"name": "i", "fields": {"n": 1}}
    ),
    ("GET", "/api/v1/collections/{collection}/indexes/{name}"): rule(of(COLLECTION, READ), path=f"{_C}/indexes/i"),
    ("DELETE", "/api/v1/collections/{collection}/indexes/{name}"): rule(of(COLLECTION, INDEX), path=f"{_C}/indexes/i"),
    # Raw values
    ("GET", "/api/v1/kv/{bucket}"): rule(of(BUCKET, READ), path="/api/v1/kv/b"),
    ("GET", "/api/v1/kv/{bucket}/{key...}"): rule(of(BUCKET, READ), path="/api/v1/kv/b/k"),
    ("PUT", "/api/v1/kv/{bucket}/{key...}"): rule(of(BUCKET, WRITE), path="/api/v1/kv/b/k", body=b"v"),
    ("DELETE", "/api/v1/kv/{bucket}/{key...}"): rule(of(BUCKET, WRITE), path="/api/v1/kv/b/k"),
    ("POST", "/api/v1/kv/{bucket}:touch"): rule(
        of(BUCKET, WRITE), path="/api/v1/kv/b:touch", body={"key": "k", "ttl": "1h"}
    ),
    # Leases and locks
    ("GET", "/api/v1/leases"): rule(of(CLUSTER, READ)),
    ("POST", "/api/v1/leases"): rule(of(CLUSTER, WRITE), body={"ttl": "1h"}),
    ("GET", "/api/v1/leases/{lease}"): rule(of(CLUSTER, READ), path="/api/v1/leases/5"),
    ("DELETE", "/api/v1/leases/{lease}"): rule(of(CLUSTER, WRITE), path="/api/v1/leases/5"),
    ("POST", "/api/v1/leases/{lease}:keepalive"): rule(of(CLUSTER, WRITE), path="/api/v1/leases/5:keepalive"),
    ("GET", "/api/v1/locks"): rule(of(CLUSTER, READ)),
    ("GET", "/api/v1/locks/{lock}"): rule(of(CLUSTER, READ), path="/api/v1/locks/l"),
    ("POST", "/api/v1/locks/{lock}:acquire"): rule(
        of(CLUSTER, WRITE), path="/api/v1/locks/l:acquire", body={"owner": "o", "ttl": "1h"}
    ),
    ("POST", "/api/v1/locks/{lock}:renew"): rule(
        of(CLUSTER, WRITE), path="/api/v1/locks/l:renew", body={"token": 1, "ttl": "1h"}
    ),
    ("POST", "/api/v1/locks/{lock}:release"): rule(
        of(CLUSTER, WRITE), path="/api/v1/locks/l:release", body={"force": True}
    ),
    # Watches and consumers
    ("GET", "/api/v1/collections/{collection}:watch"): rule(_FOLLOWS, path=f"{_C}:watch?wait=0s"),
    ("POST", "/api/v1/collections/{collection}:watch"): rule(_FOLLOWS, path=f"{_C}:watch?wait=0s", body={}),
    ("GET", "/api/v1/kv/{bucket}:watch"): rule(of(BUCKET, READ, WATCH), path="/api/v1/kv/b:watch?wait=0s"),
    ("POST", "/api/v1/kv/{bucket}:watch"): rule(of(BUCKET, READ, WATCH), path="/api/v1/kv/b:watch?wait=0s", body={}),
    ("GET", "/api/v1/:watch"): rule(of(CLUSTER, WATCH), path="/api/v1/:watch?wait=0s"),
    ("POST", "/api/v1/:watch"): rule(of(CLUSTER, WATCH), path="/api/v1/:watch?wait=0s", body={}),
    ("GET", "/api/v1/consumers"): Rule(ANYONE),
    ("GET", "/api/v1/consumers/{name}"): Rule(ANYONE, "/api/v1/consumers/c"),
    ("PUT", "/api/v1/consumers/{name}"): rule(_FOLLOWS, path="/api/v1/consumers/c", body={"collection": "people"}),
    ("DELETE", "/api/v1/consumers/{name}"): Rule(ANYONE, "/api/v1/consumers/c"),
    ("POST", "/api/v1/consumers/{name}:ack"): Rule(ANYONE, "/api/v1/consumers/c:ack", b'{"token":"x"}'),
    # Transactions and tickets
    ("POST", "/api/v1/transactions"): rule(of(COLLECTION, WRITE, TRANSACT), body={"then": _STEPS}),
    ("POST", "/api/v1/transactions:commit"): rule(of(COLLECTION, WRITE, TRANSACT), body={"writes": _STEPS}),
    ("GET", "/api/v1/tickets/{ticket}"): Rule(ANYONE, "/api/v1/tickets/x"),
    ("DELETE", "/api/v1/tickets/{ticket}"): Rule(ANYONE, "/api/v1/tickets/x"),
    # The cluster
    ("GET", "/api/v1/cluster"): either(of(CLUSTER, READ), of(CLUSTER, MONITOR)),
    ("POST", "/api/v1/cluster/bootstrap"): rule(of(CLUSTER, ADMIN), body={}),
    ("POST", "/api/v1/cluster/members"): rule(of(CLUSTER, ADMIN), body={"action": "remove", "node_id": "0" * 15 + "1"}),
    ("POST", "/api/v1/cluster/transfer-leadership"): rule(of(CLUSTER, ADMIN), body={}),
    ("GET", "/api/v1/backup/state"): rule(of(CLUSTER, BACKUP)),
    ("GET", "/api/v1/backup/log"): rule(of(CLUSTER, BACKUP), path="/api/v1/backup/log?after=0&timeout=1s"),
    # Access control
    ("GET", "/api/v1/access"): rule(of(CLUSTER, ADMIN)),
    ("PUT", "/api/v1/access"): rule(of(CLUSTER, ADMIN), body={"mode": "Enforced"}),
    ("GET", "/api/v1/users"): rule(of(CLUSTER, ADMIN)),
    ("GET", "/api/v1/users/{user}"): rule(of(CLUSTER, ADMIN), path="/api/v1/users/u"),
    ("PUT", "/api/v1/users/{user}"): rule(of(CLUSTER, ADMIN), path="/api/v1/users/u", body={}),
    ("DELETE", "/api/v1/users/{user}"): rule(of(CLUSTER, ADMIN), path="/api/v1/users/u"),
    ("PUT", "/api/v1/users/{user}/password"): Rule(OUTSIDE),  # of one's own, or of others with `admin`
    ("DELETE", "/api/v1/users/{user}/password"): Rule(OUTSIDE),
    ("GET", "/api/v1/roles"): rule(of(CLUSTER, ADMIN)),
    ("GET", "/api/v1/roles/{role}"): rule(of(CLUSTER, ADMIN), path="/api/v1/roles/r"),
    ("PUT", "/api/v1/roles/{role}"): rule(of(CLUSTER, ADMIN), path="/api/v1/roles/r", body={"rules": []}),
    ("DELETE", "/api/v1/roles/{role}"): rule(of(CLUSTER, ADMIN), path="/api/v1/roles/r"),
    ("GET", "/api/v1/tokens"): rule(of(CLUSTER, ADMIN)),
    ("POST", "/api/v1/tokens"): rule(of(CLUSTER, ADMIN), body={"user": "u"}),
    ("GET", "/api/v1/tokens/{token}"): rule(of(CLUSTER, ADMIN), path="/api/v1/tokens/" + "0" * 16),
    ("DELETE", "/api/v1/tokens/{token}"): rule(of(CLUSTER, ADMIN), path="/api/v1/tokens/" + "0" * 16),
    ("POST", "/api/v1/tokens/{token}:rotate"): rule(
        of(CLUSTER, ADMIN), path="/api/v1/tokens/" + "0" * 16 + ":rotate", body={}
    ),
}

_D: Final = {"collection": "people"}
_DX: Final = {"collection": "people", "id": "x"}
_B: Final = {"bucket": "b", "key": "k"}

STREAM: Final[dict[str, tuple[frozenset[Need], dict[str, Any]]]] = {
    "put_document": (of(COLLECTION, WRITE), _DX | {"document": {}}),
    "insert_document": (of(COLLECTION, WRITE), _D | {"document": {}}),
    "get_document": (of(COLLECTION, READ), _DX),
    "delete_document": (of(COLLECTION, WRITE), _DX),
    "list_documents": (of(COLLECTION, READ), _D),
    "put_value": (of(BUCKET, WRITE), _B | {"value": b"v"}),
    "get_value": (of(BUCKET, READ), _B),
    "delete_value": (of(BUCKET, WRITE), _B),
    "list_keys": (of(BUCKET, READ), {"bucket": "b"}),
    "create_collection": (of(COLLECTION, CREATE), _D),
    "get_collection": (of(COLLECTION, READ), _D),
    "drop_collection": (of(COLLECTION, DROP), _D),
    "list_collections": (frozenset(), {}),
    "transaction": (of(COLLECTION, WRITE, TRANSACT), {"transaction": {"then": _STEPS}}),
    "find": (of(COLLECTION, READ), _D | {"body": {}}),
    "count": (of(COLLECTION, READ), _D | {"body": {}}),
    "distinct": (of(COLLECTION, READ), _D | {"body": {"field": "n"}}),
    "aggregate": (of(COLLECTION, READ), _D | {"body": {"pipeline": []}}),
    "update": (_COMPUTES, _D | {"body": _CHANGE}),
    "delete": (_COMPUTES, _D | {"body": {"filter": {"_id": "x"}}}),
    "find_and_modify": (_COMPUTES, _D | {"body": _CHANGE}),
    "create_index": (of(COLLECTION, INDEX), _D | {"body": {"name": "i", "fields": {"n": 1}}}),
    "update_document": (_COMPUTES, _DX | {"body": {"$set": {"n": 1}}}),
    "bulk": (of(COLLECTION, WRITE), _D | {"body": [{"op": "put", "id": "m", "document": {}}]}),
    "list_indexes": (of(COLLECTION, READ), _D),
    "get_index": (of(COLLECTION, READ), _D | {"name": "i"}),
    "drop_index": (of(COLLECTION, INDEX), _D | {"name": "i"}),
    "watch": (_FOLLOWS, {"watch": orjson.dumps(_D)}),
    "grant_watch": (frozenset(), {"watch": 99, "credit": 1}),
    "unwatch": (frozenset(), {"watch": 99}),
}
