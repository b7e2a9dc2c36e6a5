"""What supervisors, load balancers and scrapers ask. Never refused for overload, never forwarded, never traced."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import hdrs

from collectionstore_node.api.http.answers import JSON, Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.errors import NotNow

_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_encoder = msgspec.json.Encoder()


async def livez(call: Call) -> Answer:
    """Show that the event loop runs. A supervisor restarts a process that does not answer."""
    # No quorum and no disk here: restarting a node that only waits for its peers would make things worse.
    return json_answer({"alive": True}, headers=_NO_STORE)


async def readyz(call: Call) -> Answer:
    """Show that a linearizable read works, within this probe's own budget."""
    timeout_s = min(call.timeout_s, call.api.limits.ready_timeout_s)
    try:
        revision = await call.api.store.check_ready(timeout_s=timeout_s)
    except NotNow as error:
        raise Problem("not_ready", str(error)) from None
    return json_answer({"ready": True, "revision": revision}, headers=_NO_STORE + revision_line(revision))


async def health(call: Call) -> Answer:
    """Report from memory whether the node knows a leader."""
    store = call.api.store
    leader = store.leader()
    if leader is None:
        raise Problem("no_leader", "this node knows no leader")
    facts = {"healthy": True, "leader": leader.name, "leads": store.is_leader, "revision": store.revision}
    return json_answer(facts, headers=_NO_STORE)


async def status(call: Call) -> Answer:
    """Return the node's status."""
    return Answer(200, JSON + _NO_STORE, _encoder.encode(call.api.store.status()))


async def metrics(call: Call) -> Answer:
    """Return all series in the Prometheus text format, or as OpenMetrics if the Accept header prefers it."""
    body, content_type = await call.api.render_metrics(call.request.headers.get(hdrs.ACCEPT, ""))
    return Answer(200, b"Content-Type: %s\r\n%s" % (content_type.encode(), _NO_STORE), body)
