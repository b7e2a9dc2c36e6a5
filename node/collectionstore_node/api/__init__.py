"""The client HTTP API: parse a request, call the store, render its answer. docs/reference/api.md is its reference.

- `servers.py`    the servers of a node's ports
- `url_table.py`  the URL table, one line per route
- `openapi/`      the description of the API, and the page that shows it
- `console/`      the page for people, a client of the API
- `stream/`       many operations in flight on one WebSocket
- `handlers/`     one module per resource; each handler parses, calls `service.Store` and renders
- `connections/`  bytes and connections: framing, hosts, slow clients
- `hot/`          small requests for documents and raw values, without a task each
- `http/`         HTTP's messages: dispatch, bodies, headers, names, problem details
- `budgets/`      what slow clients may hold. Pure

Invariants:
- every answer carries the revision, and every refusal is `application/problem+json` with `retryable` and `outcome`;
- an answer never claims more than is known: a request is refused before anything is proposed, or answered with the
  outcome of its command, or its outcome is unknown;
- no clock and no random number reaches a command from here.
"""

from collectionstore_node.api.connections.server import ApiServer
from collectionstore_node.api.http.instruments import HttpMetrics, RouteMetrics
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.servers import make_client_server, make_probe_server, make_waiting_server

__all__ = [
    "ApiServer",
    "HttpLimits",
    "HttpMetrics",
    "RouteMetrics",
    "make_client_server",
    "make_probe_server",
    "make_waiting_server",
]
