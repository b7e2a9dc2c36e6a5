"""The URL table, one line per route: method, pattern, handler, and the query parameters it takes."""

from __future__ import annotations

from typing import Final

from collectionstore_node.api.handlers import (
    aggregates,
    backup,
    bulk,
    catalog,
    cluster,
    commits,
    consumers,
    debug,
    documents,
    expiry,
    exports,
    found_changes,
    imports,
    indexes,
    kv,
    leases,
    locks,
    login,
    probes,
    queries,
    tickets,
    transactions,
    validation,
    watches,
)
from collectionstore_node.api.http.options import (
    ACKED,
    BULK,
    CHANGE,
    EXPORT,
    EXPORT_FOUND,
    EXPORT_LOG,
    EXPORT_STATE,
    IMPORT,
    LIST,
    LIST_DOCUMENTS,
    LIST_KEYS,
    LIVING,
    LOCAL,
    NONE,
    PAGE,
    PATCH,
    READ,
    READ_PAST,
    REPLACE,
    SAMPLED,
    TIMED,
    WATCH,
    WATCH_BODY,
    WRITE,
)
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.stream.endpoint import StreamEndpoint

PROBES: Final = (
    Route("GET", "/livez", probes.livez, NONE, probe=True, access="open"),
    Route("GET", "/readyz", probes.readyz, TIMED, probe=True, access="open"),
    Route("GET", "/health", probes.health, NONE, probe=True, access="open"),
    Route("GET", "/status", probes.status, NONE, probe=True, access="monitor"),
    Route("GET", "/metrics", probes.metrics, NONE, probe=True, access="monitor"),
)

PAGES: Final = (
    Route("GET", "/debug/raft", debug.on_loopback(debug.raft), NONE, probe=True, access="monitor"),
    Route("GET", "/debug/tasks", debug.on_loopback(debug.tasks), NONE, probe=True, access="monitor"),
)
"""On the metrics port: read-only pages, for clients on the same machine or in the pod."""

# fmt: off
DEBUG: Final = (
    Route("GET", "/debug/raft", debug.operators_only(debug.raft), NONE, probe=True, access="monitor"),
    Route("GET", "/debug/tasks", debug.operators_only(debug.tasks), NONE, probe=True, access="monitor"),
    Route("GET", "/debug/profile", debug.operators_only(debug.profile), SAMPLED, probe=True, access="monitor"),
    Route("GET", "/debug/log-level", debug.operators_only(debug.log_level), NONE, probe=True, access="monitor"),
    Route("PUT", "/debug/log-level", debug.operators_only(debug.set_log_level), NONE, probe=True, access="monitor"),
)
"""On the client port, for operators only."""

CLIENT: Final = (
    Route("GET",    "/api/v1/collections", catalog.list_page, LIST),
    Route("POST",   "/api/v1/collections", catalog.post, WRITE),
    Route("GET",    "/api/v1/collections/{collection}", catalog.get, READ),
    Route("PUT",    "/api/v1/collections/{collection}", catalog.put, WRITE),
    Route("PATCH",  "/api/v1/collections/{collection}", catalog.patch, WRITE),
    Route("DELETE", "/api/v1/collections/{collection}", catalog.delete, WRITE),
    Route("GET",    "/api/v1/collections/{collection}/documents", documents.list_page, LIST_DOCUMENTS),
    Route("POST",   "/api/v1/collections/{collection}/documents", documents.post, LIVING),
    Route("GET",    "/api/v1/collections/{collection}/documents/{id}", documents.get, READ_PAST, direct=documents.GET),
    Route("PUT",    "/api/v1/collections/{collection}/documents/{id}", documents.put, REPLACE, direct=documents.PUT),
    Route("PATCH",  "/api/v1/collections/{collection}/documents/{id}", documents.patch, PATCH),
    Route("DELETE", "/api/v1/collections/{collection}/documents/{id}", documents.delete, CHANGE),
    Route("POST",   "/api/v1/collections/{collection}:find", queries.find, READ_PAST, read=True),
    Route("POST",   "/api/v1/collections/{collection}:count", queries.count, READ_PAST, read=True),
    Route("POST",   "/api/v1/collections/{collection}:distinct", queries.distinct, READ_PAST, read=True),
    Route("POST",   "/api/v1/collections/{collection}:update", found_changes.update, WRITE),
    Route("POST",   "/api/v1/collections/{collection}:delete", found_changes.delete, WRITE),
    Route("POST",   "/api/v1/collections/{collection}:findAndModify", found_changes.find_and_modify, WRITE),
    Route("POST",   "/api/v1/collections/{collection}:touch", expiry.document, WRITE),
    Route("POST",   "/api/v1/collections/{collection}:bulk", bulk.post, BULK),
    Route("GET",    "/api/v1/collections/{collection}:export", exports.get, EXPORT_FOUND),
    Route("POST",   "/api/v1/collections/{collection}:export", exports.post, EXPORT, read=True),
    Route("POST",   "/api/v1/collections/{collection}:import", imports.post, IMPORT, lasting=True),
    Route("POST",   "/api/v1/collections/{collection}:aggregate", aggregates.aggregate, READ_PAST, read=True),
    Route("POST",   "/api/v1/collections/{collection}:validate", validation.validate, READ, read=True),
    Route("GET",    "/api/v1/collections/{collection}/indexes", indexes.list_all, READ),
    Route("POST",   "/api/v1/collections/{collection}/indexes", indexes.post, WRITE),
    Route("GET",    "/api/v1/collections/{collection}/indexes/{name}", indexes.get, READ),
    Route("DELETE", "/api/v1/collections/{collection}/indexes/{name}", indexes.delete, WRITE),
    Route("GET",    "/api/v1/kv/{bucket}", kv.list_page, LIST_KEYS),
    Route("GET",    "/api/v1/kv/{bucket}/{key...}", kv.get, READ_PAST, direct=kv.GET),
    Route("PUT",    "/api/v1/kv/{bucket}/{key...}", kv.put, LIVING, direct=kv.PUT),
    Route("DELETE", "/api/v1/kv/{bucket}/{key...}", kv.delete, ACKED),
    Route("POST",   "/api/v1/kv/{bucket}:touch", expiry.value, WRITE),
    Route("GET",    "/api/v1/leases", leases.list_page, PAGE),
    Route("POST",   "/api/v1/leases", leases.post, WRITE),
    Route("GET",    "/api/v1/leases/{lease}", leases.get, READ),
    Route("DELETE", "/api/v1/leases/{lease}", leases.delete, WRITE),
    Route("POST",   "/api/v1/leases/{lease}:keepalive", leases.keep, WRITE),
    Route("GET",    "/api/v1/locks", locks.list_page, LIST),
    Route("GET",    "/api/v1/locks/{lock}", locks.get, READ),
    Route("POST",   "/api/v1/locks/{lock}:acquire", locks.acquire, WRITE),
    Route("POST",   "/api/v1/locks/{lock}:renew", locks.renew, WRITE),
    Route("POST",   "/api/v1/locks/{lock}:release", locks.release, WRITE),
    Route("GET",    "/api/v1/collections/{collection}:watch", watches.collection, WATCH),
    Route("POST",   "/api/v1/collections/{collection}:watch", watches.collection, WATCH_BODY, read=True),
    Route("GET",    "/api/v1/kv/{bucket}:watch", watches.bucket, WATCH),
    Route("POST",   "/api/v1/kv/{bucket}:watch", watches.bucket, WATCH_BODY, read=True),
    Route("GET",    "/api/v1/:watch", watches.everything, WATCH),
    Route("POST",   "/api/v1/:watch", watches.everything, WATCH_BODY, read=True),
    Route("GET",    "/api/v1/consumers", consumers.list_all, READ),
    Route("GET",    "/api/v1/consumers/{name}", consumers.get, READ),
    Route("PUT",    "/api/v1/consumers/{name}", consumers.put, WRITE),
    Route("DELETE", "/api/v1/consumers/{name}", consumers.delete, WRITE),
    Route("POST",   "/api/v1/consumers/{name}:ack", consumers.acknowledge, WRITE),
    Route("POST",   "/api/v1/transactions", transactions.post, ACKED),
    Route("POST",   "/api/v1/transactions:commit", commits.commit, ACKED),
    Route("GET",    "/api/v1/tickets/{ticket}", tickets.get, WRITE),
    Route("DELETE", "/api/v1/tickets/{ticket}", tickets.settle, WRITE),
    Route("POST",   "/api/v1/login", login.log_in, TIMED, access="open"),
    Route("POST",   "/api/v1/logout", login.log_out, TIMED),
    Route("PUT",    "/api/v1/users/{user}/password", login.set_password, WRITE),
    Route("DELETE", "/api/v1/users/{user}/password", login.remove_password, WRITE),
    Route("GET",    "/api/v1/cluster", cluster.get, LOCAL, management=True),
    Route("POST",   "/api/v1/cluster/bootstrap", cluster.bootstrap, NONE, management=True),
    Route("POST",   "/api/v1/cluster/members", cluster.change_members, WRITE, leader_only=True, management=True),
    Route("POST",   "/api/v1/cluster/transfer-leadership", cluster.transfer_leadership, WRITE, leader_only=True,
          management=True),
    Route("GET",    "/api/v1/backup/state", backup.state, EXPORT_STATE),
    Route("GET",    "/api/v1/backup/log", backup.log, EXPORT_LOG),
)
# fmt: on


def streams(endpoint: StreamEndpoint) -> tuple[Route, ...]:
    """Return the routes of pipelined streams, which share state."""
    return (Route("GET", "/api/v1/stream", endpoint.open, NONE),)
