"""Any exception as the problem that its client is answered with: of the dispatcher, and of operations of a stream."""

from __future__ import annotations

import structlog

from collectionstore_node.api.http.problems import Problem, problem_of
from collectionstore_node.errors import Fatal, NodeError, NotLeader
from collectionstore_node.service import Store

log = structlog.get_logger()


def refusal_of(error: Exception, store: Store, *, method: str, request_id: str, safe: bool, keyed: bool) -> Problem:
    """Return the problem of `error`; the node's own faults are logged.

    `safe` says that the request changes nothing, `keyed` that it has an idempotency key; `method` is for the log line.
    """
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, NodeError):
        problem = problem_of(error, safe_to_repeat=safe or keyed)
    else:
        problem = Problem("internal_error", "see the node's log")
    if isinstance(error, NotLeader):
        problem.members["leader"] = _leader(store)
    if isinstance(error, Fatal) or problem.code == "internal_error":
        log.error("request.failed", request_id=request_id, method=method, exc_info=error)
        problem.outcome = "not_applied" if safe else "unknown"
    return problem


def release_frames(error: BaseException | None) -> None:
    """Release the frames that an answered error passed through.

    An error that came out of a future is part of a cycle: its traceback holds the frame that awaited the future. Until
    the collector comes by, which is seldom here, each refused body would stay in memory: 0.7 GiB after a few seconds.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _leader(store: Store) -> dict[str, str] | None:
    leader = store.leader()
    if leader is None:
        return None
    return {"node_id": leader.node_id, "name": leader.name, "http_address": leader.http_address}
