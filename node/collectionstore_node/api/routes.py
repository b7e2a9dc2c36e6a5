"""The URL table, one line per route, and how a path finds its line.

A pattern's segment is literal text, `{name}` for one segment that is not empty, or `{name...}` for all that is left.
Paths are matched as they were sent, before percent-decoding, so that `%2F` is not a separator. The server's own router
is not used: its match, with what it sets up around it, costs more than reading a document (measured: 30 us).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from collectionstore_node.api import catalog, cluster, debug, documents, kv, probes, transactions
from collectionstore_node.api.options import LIST, LIST_KEYS, LOCAL, NONE, READ, SAMPLED, TIMED, WRITE
from collectionstore_node.api.ports import Handler, HttpMetrics, RouteMetrics
from collectionstore_node.api.problems import Problem


class Route(NamedTuple):
    """One line of the table. `parameters` are the query parameters it takes."""

    method: str
    pattern: str
    handler: Handler
    parameters: frozenset[str]


PROBES: Final = (
    Route("GET", "/livez", probes.livez, NONE),
    Route("GET", "/readyz", probes.readyz, TIMED),
    Route("GET", "/health", probes.health, NONE),
    Route("GET", "/status", probes.status, NONE),
    Route("GET", "/metrics", probes.metrics, NONE),
)

PAGES: Final = (
    Route("GET", "/debug/raft", debug.raft, NONE),
    Route("GET", "/debug/tasks", debug.tasks, NONE),
)
"""On the metrics port, for whoever gets there."""

# fmt: off
DEBUG: Final = (
    Route("GET", "/debug/raft", debug.for_operators(debug.raft), NONE),
    Route("GET", "/debug/tasks", debug.for_operators(debug.tasks), NONE),
    Route("GET", "/debug/profile", debug.for_operators(debug.profile), SAMPLED),
    Route("GET", "/debug/log-level", debug.for_operators(debug.log_level), NONE),
    Route("PUT", "/debug/log-level", debug.for_operators(debug.set_log_level), NONE),
)
"""On the client port, for operators."""

CLIENT: Final = (
    Route("GET",    "/api/v1/collections", catalog.list_page, LIST),
    Route("POST",   "/api/v1/collections", catalog.post, WRITE),
    Route("GET",    "/api/v1/collections/{collection}", catalog.get, READ),
    Route("PUT",    "/api/v1/collections/{collection}", catalog.put, WRITE),
    Route("DELETE", "/api/v1/collections/{collection}", catalog.delete, WRITE),
    Route("GET",    "/api/v1/collections/{collection}/documents", documents.list_page, LIST),
    Route("POST",   "/api/v1/collections/{collection}/documents", documents.post, WRITE),
    Route("GET",    "/api/v1/collections/{collection}/documents/{id}", documents.get, READ),
    Route("PUT",    "/api/v1/collections/{collection}/documents/{id}", documents.put, WRITE),
    Route("DELETE", "/api/v1/collections/{collection}/documents/{id}", documents.delete, WRITE),
    Route("GET",    "/api/v1/kv/{bucket}", kv.list_page, LIST_KEYS),
    Route("GET",    "/api/v1/kv/{bucket}/{key...}", kv.get, READ),
    Route("PUT",    "/api/v1/kv/{bucket}/{key...}", kv.put, WRITE),
    Route("DELETE", "/api/v1/kv/{bucket}/{key...}", kv.delete, WRITE),
    Route("POST",   "/api/v1/transactions", transactions.post, WRITE),
    Route("GET",    "/api/v1/cluster", cluster.get, LOCAL),
    Route("POST",   "/api/v1/cluster/bootstrap", cluster.bootstrap, NONE),
    Route("POST",   "/api/v1/cluster/members", cluster.change_members, WRITE),
    Route("POST",   "/api/v1/cluster/transfer-leadership", cluster.transfer_leadership, WRITE),
)
# fmt: on


_UNLIMITED: Final = frozenset((*PROBES, *PAGES, *DEBUG))


class Entry(NamedTuple):
    """A route as it is served under one method. `probe`: it is served however much there is to do."""

    pattern: str
    handler: Handler
    parameters: frozenset[str]
    metrics: RouteMetrics
    probe: bool


class _Node:
    """A segment of the tree that patterns are compiled to."""

    __slots__ = ("children", "methods", "parameter", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, Entry] = {}


class Router:
    """Finds the entry of a request. HEAD is served wherever GET is."""

    def __init__(self, routes: Iterable[Route], metrics: HttpMetrics) -> None:
        self._root = _Node()
        for route in routes:
            node = self._place(route.pattern)
            for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
                counters = metrics.route(route.pattern, method)
                probe = route in _UNLIMITED
                node.methods[method] = Entry(route.pattern, route.handler, route.parameters, counters, probe)

    def find(self, method: str, path: str) -> tuple[Entry, list[str]]:
        """Return the entry and the path's arguments, as they were sent. Raises `Problem` 404 or 405."""
        methods, arguments = self._walk(path.split("/"))
        entry = methods.get(method)
        if entry is not None:
            return entry, arguments
        if not methods:
            raise Problem("unknown_route", "the paths there are: docs/api.md")
        allowed = ", ".join(sorted(methods))
        raise Problem("method_not_allowed", f"allowed here: {allowed}", headers=b"Allow: %s\r\n" % allowed.encode())

    def _walk(self, parts: list[str]) -> tuple[dict[str, Entry], list[str]]:
        """Return what is served under a path, nothing if it is unknown. The first part is before the first slash."""
        node, last = self._root, len(parts) - 1
        arguments: list[str] = []
        for at in range(1, last + 1):
            part = parts[at]
            child = node.children.get(part)
            if child is None and part and node.parameter is not None:
                child = node.parameter
                arguments.append(part)
            if child is None:
                if node.rest is None or (at == last and not part):
                    return {}, arguments
                arguments.append("/".join(parts[at:]))
                return node.rest.methods, arguments
            node = child
        return node.methods, arguments

    def _place(self, pattern: str) -> _Node:
        node = self._root
        for part in pattern.split("/")[1:]:
            if part.endswith("...}"):
                node.rest = node.rest or _Node()
                node = node.rest
            elif part.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(part, _Node())
        return node
