"""What supervisors, load balancers and scrapers ask. Never counted against the limit of requests, never forwarded."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import hdrs

from collectionstore_node.api.answers import JSON, Answer, json_answer, revision_line
from collectionstore_node.api.ports import Call
from collectionstore_node.api.problems import Problem
from collectionstore_node.errors import NotNow

_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_encoder = msgspec.json.Encoder()


async def livez(call: Call) -> Answer:
    """Say that the event loop turns. A supervisor restarts a process that does not."""
    return json_answer({"alive": True}, headers=_NO_STORE)


async def readyz(call: Call) -> Answer:
    """Say that a linearizable read works, within this probe's own budget."""
    timeout_s = min(call.timeout_s, call.api.limits.ready_timeout_s)
    try:
        await call.api.replica.read_barrier(timeout_s=timeout_s)
    except NotNow as error:
        raise Problem("not_ready", str(error)) from None
    revision = call.api.replica.revision
    return json_answer({"ready": True, "revision": revision}, headers=_NO_STORE + revision_line(revision))


async def health(call: Call) -> Answer:
    """Say from memory whether the node knows a leader, without asking anybody."""
    replica = call.api.replica
    leader = replica.leader()
    if leader is None:
        raise Problem("no_leader", "this node knows no leader")
    facts = {"healthy": True, "leader": leader.name, "leads": replica.is_leader, "revision": replica.revision}
    return json_answer(facts, headers=_NO_STORE)


async def status(call: Call) -> Answer:
    """Return everything the node says of itself."""
    return Answer(200, JSON + _NO_STORE, _encoder.encode(call.api.replica.status()))


async def metrics(call: Call) -> Answer:
    """Return all series in the Prometheus text format, or as OpenMetrics where that is asked for."""
    body, content_type = await call.api.render_metrics(call.request.headers.get(hdrs.ACCEPT, ""))
    return Answer(200, b"Content-Type: %s\r\n%s" % (content_type.encode(), _NO_STORE), body)
