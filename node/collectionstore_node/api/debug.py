"""Pages for people who look for the cause of trouble, and the log level. Nothing here shows a document or a key.

On the client port all of it is for operators alone, as the requests that change the cluster are. What only shows
(`raft`, `tasks`) is also on the metrics port, beside `/status` and `/metrics`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.api.answers import JSON, Answer
from collectionstore_node.api.ports import Call, Handler
from collectionstore_node.api.problems import Problem
from collectionstore_node.api.requests import read_request
from collectionstore_telemetry import profiling
from collectionstore_telemetry.logs import CHANGE_SECONDS_MAX, Level

_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_TEXT: Final = b"Content-Type: text/plain; charset=utf-8\r\n"
_encoder = msgspec.json.Encoder()


class WantedLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to log from now on; with `seconds` only for so long."""

    level: Level
    seconds: int | None = None


def for_operators(handler: Handler) -> Handler:
    """Return a handler that refuses everybody else."""

    async def guarded(call: Call) -> Answer:
        if not call.api.authorize_admin(call.request):
            raise Problem("forbidden", "this page needs a client certificate of an operator")
        return await handler(call)

    return guarded


async def raft(call: Call) -> Answer:
    """Return the core's state, its view of every follower, and the queues."""
    return Answer(200, JSON + _NO_STORE, _encoder.encode(call.api.replica.inspect()))


async def tasks(call: Call) -> Answer:
    """Return the tasks of the event loop, by where they wait."""
    return Answer(200, JSON + _NO_STORE, _encoder.encode(profiling.tasks()))


async def profile(call: Call) -> Answer:
    """Return a statistical profile of all threads as collapsed stacks; answered when its time is over."""
    profiler = call.api.diagnostics.profiler
    if profiler is None:
        raise Problem("profiling_disabled", "allow it: spec.diagnostics.profiling: Enabled (COLLECTIONSTORE_PROFILING)")
    try:
        stacks = await profiler.collapsed(call.options.seconds)
    except profiling.ProfileRunning:
        raise Problem("profile_running", "one profile at a time; ask again when it is over") from None
    return Answer(200, _TEXT + _NO_STORE, stacks)


async def log_level(call: Call) -> Answer:
    """Return what is logged."""
    return _level_answer(call)


async def set_log_level(call: Call) -> Answer:
    """Change what is logged, until the process ends or for some seconds."""
    wanted = await read_request(call, WantedLevel)
    if wanted.seconds is not None and not 1 <= wanted.seconds <= CHANGE_SECONDS_MAX:
        raise Problem("invalid_body", f"seconds must be from 1 to {CHANGE_SECONDS_MAX}, or left out")
    call.api.diagnostics.levels.change(wanted.level, reason="an operator asked for it", seconds=wanted.seconds)
    return _level_answer(call)


def _level_answer(call: Call) -> Answer:
    return Answer(200, JSON + _NO_STORE, _encoder.encode(call.api.diagnostics.levels.report()))
