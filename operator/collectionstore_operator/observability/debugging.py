"""Debug pages of the operator, beside its probes and metrics.

They answer on loopback only, that is through `kubectl port-forward` or `kubectl exec`, which are protected by RBAC: the
port is open to everybody who may scrape it. No page shows a Secret.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from collectionstore_telemetry import profiling
from collectionstore_telemetry.listening import is_loopback
from collectionstore_telemetry.logs import CHANGE_SECONDS_MAX, Level, LogLevels

BODY_BYTES_MAX: Final = 4096
SECONDS: Final = "10"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LoopReport(msgspec.Struct, frozen=True, kw_only=True):
    """The reconcile loop of one resource; `silent_s` is the time since it last made progress."""

    namespace: str
    name: str
    running: bool
    silent_s: float
    rounds: int
    last_result: str | None
    last_trouble: str | None
    last_actions: int | None
    last_s: float | None


class LevelChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The level to set; with `seconds` the configured one is restored after that time."""

    level: Level
    seconds: int | None = None


class Pages:
    """The pages and what they read; `loops` is replaced when this operator acquires the Lease."""

    def __init__(self, levels: LogLevels, *, profiling_allowed: bool) -> None:
        self.loops: Callable[[], Sequence[LoopReport]] = tuple
        self._levels = levels
        self._profiler = profiling.Profiler() if profiling_allowed else None

    def add_to(self, application: web.Application) -> None:
        """Add the routes."""
        router = application.router
        router.add_get("/debug/tasks", _on_loopback(_tasks))
        router.add_get("/debug/clusters", _on_loopback(self._clusters))
        router.add_get("/debug/profile", _on_loopback(self._profile))
        router.add_get("/debug/log-level", _on_loopback(self._level))
        router.add_put("/debug/log-level", _on_loopback(self._change_level))

    async def _clusters(self, _request: web.Request) -> web.Response:
        return _json(list(self.loops()))

    async def _profile(self, request: web.Request) -> web.Response:
        if self._profiler is None:
            detail = "set COLLECTIONSTORE_PROFILING=Enabled and restart the operator"
            return _problem(403, "profiling_disabled", "Profiling is disabled", detail)
        seconds = request.query.get("seconds", SECONDS)
        if not (seconds.isascii() and seconds.isdigit() and 1 <= int(seconds[:4]) <= profiling.SECONDS_MAX):
            detail = f"seconds must be from 1 to {profiling.SECONDS_MAX}"
            return _problem(400, "invalid_parameter", "A query parameter has an invalid value", detail)
        try:
            stacks = await self._profiler.collapsed(int(seconds))
        except profiling.ProfileRunning:
            return _problem(409, "profile_running", "Another profile is being taken", "one at a time")
        return web.Response(body=stacks, content_type="text/plain", charset="utf-8")

    async def _level(self, _request: web.Request) -> web.Response:
        return _json(self._levels.report())

    async def _change_level(self, request: web.Request) -> web.Response:
        try:
            change = msgspec.json.decode((await request.content.read(BODY_BYTES_MAX)), type=LevelChange)
        except msgspec.DecodeError as error:
            detail = str(error).replace("`", "'")
            return _problem(400, "invalid_body", "The body does not have the expected fields", detail)
        if change.seconds is not None and not 1 <= change.seconds <= CHANGE_SECONDS_MAX:
            detail = f"seconds must be from 1 to {CHANGE_SECONDS_MAX}, or left out"
            return _problem(400, "invalid_body", "The body does not have the expected fields", detail)
        self._levels.change(change.level, reason="PUT /debug/log-level", seconds=change.seconds)
        return await self._level(request)


def _on_loopback(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request.remote):
            detail = "this page answers on loopback only: use kubectl port-forward"
            return _problem(403, "forbidden", "Not allowed", detail)
        return await handler(request)

    return guarded


async def _tasks(_request: web.Request) -> web.Response:
    return _json(profiling.tasks())


def _json(value: Any) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)


def _problem(status: int, code: str, title: str, detail: str) -> web.Response:
    """Return a problem in the form that the nodes use (RFC 9457)."""
    fields = {
        "type": f"urn:collectionstore:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": code == "profile_running",
    }
    return web.json_response(fields, status=status, content_type="application/problem+json")
