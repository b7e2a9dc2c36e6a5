"""The client HTTP API: requests in, commands and reads on the replica, answers out. docs/api.md is its reference.

- `server.py`         the one function around every handler; problem details for everything that goes wrong
- `routes.py`         the URL table, one line per route, and how a path finds its line
- `documents.py` `kv.py` `catalog.py` `transactions.py` `cluster.py` `probes.py`   the handlers
- `writes.py` `reads.py`   what all writes and all reads have in common
- `problems.py`       every refusal: code, status, whether to repeat, what is known of the effect
- `answers.py`        the response object, written to the socket in one piece
- `bodies.py` `json_bodies.py` `requests.py`   bodies: arrival and size, strict JSON, JSON as structs
- `names.py` `options.py` `preconditions.py` `idempotency.py` `cursors.py`   the other parts of a request
- `limits.py`         every bound
- `ports.py`          what is needed of the rest of the node, as protocols; what handlers share

Invariants:
- every answer carries the revision, and every refusal is `application/problem+json` with `retryable` and `outcome`;
- a request is refused before anything is proposed, or its fate is told by the command's outcome, or it is unknown: the
  answer never claims more than is known;
- no clock, no random number reaches a command, except the id of a posted document.
"""

from collectionstore_node.api.limits import Limits
from collectionstore_node.api.ports import HttpMetrics, ReplicaPort, RouteMetrics
from collectionstore_node.api.server import ApiServer, make_client_server, make_probe_server

__all__ = [
    "ApiServer",
    "HttpMetrics",
    "Limits",
    "ReplicaPort",
    "RouteMetrics",
    "make_client_server",
    "make_probe_server",
]
