"""Debug pages for diagnosis, and the log level. Nothing here shows a document or a key.

On the client port all of it is for operators only, like the requests that change the cluster. The read-only pages
(`raft`, `tasks`) are also on the metrics port, for loopback only: `kubectl port-forward`, which RBAC protects.
"""

from __future__ import annotations

from functools import wraps
from typing import Final

import msgspec

from collectionstore_node.access.verbs import Verb
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call, Handler
from collectionstore_node.api.http.problems import Problem
from collectionstore_telemetry import profiling
from collectionstore_telemetry.listening import is_loopback
from collectionstore_telemetry.logs import CHANGE_SECONDS_MAX, Level

_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_TEXT: Final = b"Content-Type: text/plain; charset=utf-8\r\n"
_encoder = msgspec.json.Encoder()


class NewLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log level to set; with `seconds`, it reverts after that time."""

    level: Level
    seconds: int | None = None


def operators_only(handler: Handler, verb: Verb = Verb.MONITOR) -> Handler:
    """Return `handler` behind a check for an operator: by `verb` on the cluster where access control is enforced."""

    @wraps(handler)
    async def guarded(call: Call) -> Answer:
        call.require_operator("this page", verb)
        return await handler(call)

    return guarded


def on_loopback(handler: Handler) -> Handler:
    """Return `handler` for clients on the same machine or in the same pod; others get 403."""

    @wraps(handler)
    async def guarded(call: Call) -> Answer:
        if not is_loopback(call.request.remote):
            raise Problem("forbidden", "this page answers on loopback only: use kubectl port-forward")
        return await handler(call)

    return guarded


async def raft(call: Call) -> Answer:
    """Return the state of consensus: this node, its view of every follower, and the queues."""
    return Answer(200, JSON + _NO_STORE, _encoder.encode(call.api.store.inspect()))


async def tasks(call: Call) -> Answer:
    """Return the tasks of the event loop, grouped by where they are suspended."""
    return Answer(200, JSON + _NO_STORE, _encoder.encode(profiling.tasks()))


async def profile(call: Call) -> Answer:
    """Return a statistical profile of all threads as collapsed stacks, after sampling for `seconds`."""
    profiler = call.api.diagnostics.profiler
    if profiler is None:
        raise Problem("profiling_disabled", "set spec.diagnostics.profiling: Enabled (COLLECTIONSTORE_PROFILING)")
    try:
        stacks = await profiler.collapsed(call.options.seconds)
    except profiling.ProfileRunning:
        raise Problem("profile_running", "one profile at a time; retry when it has ended") from None
    return Answer(200, _TEXT + _NO_STORE, stacks)


async def log_level(call: Call) -> Answer:
    """Return the log level."""
    return _level_answer(call)


async def set_log_level(call: Call) -> Answer:
    """Set the log level, until the process ends or for some seconds."""
    new = await call.json_struct(NewLevel)
    if new.seconds is not None and not 1 <= new.seconds <= CHANGE_SECONDS_MAX:
        raise Problem("invalid_body", f"seconds must be from 1 to {CHANGE_SECONDS_MAX}, or left out")
    call.api.diagnostics.levels.change(new.level, reason="an operator asked for it", seconds=new.seconds)
    return _level_answer(call)


def _level_answer(call: Call) -> Answer:
    return Answer(200, JSON + _NO_STORE, _encoder.encode(call.api.diagnostics.levels.report()))
