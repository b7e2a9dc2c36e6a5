"""`Call`: one request while it is handled, and `ApiContext`: what all handlers of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
from aiohttp import hdrs, web

from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.bodies import Arrivals, body_at_hand, receive_body, require_json
from collectionstore_node.api.http.instruments import Diagnostics, HttpMetrics, RenderMetrics
from collectionstore_node.api.http.json_bodies import at_once, compact_json, compact_json_steps, decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.options import TIMEOUT_MIN_S, Options
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Store, Work

S = TypeVar("S", bound=msgspec.Struct)

AuthorizeAdmin: TypeAlias = Callable[[web.BaseRequest], bool]
"""Returns whether the client of a request may change the cluster."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What all handlers of one server share."""

    store: Store
    limits: HttpLimits
    metrics: HttpMetrics
    render_metrics: RenderMetrics
    authorize_admin: AuthorizeAdmin
    tls: bool
    """Whether clients reach the leader by https."""
    arrivals: Arrivals
    diagnostics: Diagnostics
    admin_token: bool = False
    """Whether a token, and not a certificate, shows who may change the cluster."""


class Call:
    """One request: its path arguments in the order of the route's pattern, still percent-encoded, and its options.

    `timeout_s` is what is left of the client's budget.
    """

    __slots__ = ("api", "arguments", "body_s", "options", "request", "timeout_s")

    def __init__(self, api: ApiContext, request: web.BaseRequest, arguments: list[str], options: Options) -> None:
        self.api = api
        self.request = request
        self.arguments = arguments
        self.options = options
        self.timeout_s = options.timeout_s
        self.body_s = 0.0
        """How long the body took to arrive."""

    def require_operator(self, what: str) -> None:
        """Refuse clients that are no operators; `what` begins the sentence. Raises `Problem` 401 or 403.

        BEFORE the body is read: who may not send it gets nothing buffered.
        """
        if self.api.authorize_admin(self.request):
            return
        if not self.api.admin_token:
            raise Problem("forbidden", f"{what} needs a client certificate of an operator")
        where = "the token of the local cluster, in its file admin.token, as `Authorization: Bearer <token>`"
        if hdrs.AUTHORIZATION not in self.request.headers:
            raise Problem("unauthorized", f"{what} needs {where}", headers=b"WWW-Authenticate: Bearer\r\n")
        raise Problem("forbidden", f"{what} needs {where}; this is another one")

    async def body(self, bytes_max: int) -> bytes:
        """Return the whole body, at most `bytes_max` bytes. Raises `Problem`."""
        request = self.request
        # Most bodies are small and arrive with their headers: those need no timer and no reservation.
        if request.content.is_eof():
            return body_at_hand(request, bytes_max)
        clock = asyncio.get_running_loop().time
        started = clock()
        body = await receive_body(request, bytes_max=bytes_max, timeout_s=self.timeout_s, arrivals=self.api.arrivals)
        self.body_s = clock() - started
        # Never 0: a body that took all of its time gets the answer of a timeout, not that of an invalid one.
        self.timeout_s = max(self.timeout_s - self.body_s, TIMEOUT_MIN_S)
        return body

    async def json_text(self, bytes_max: int, rules: Rules) -> bytes:
        """Return the body, a JSON object, without white space between tokens. Raises `Problem`."""
        require_json(self.request)
        body = await self.body(bytes_max)
        if at_once(body):
            return compact_json(body, rules)
        return await self.api.store.in_steps(Work.BODY, compact_json_steps(body, rules), timeout_s=self.timeout_s)

    async def json_struct(self, kind: type[S]) -> S:
        """Return the body, a JSON object of at most `control_bytes_max`, as a `kind`.

        Raises `Problem`, for unknown fields too.
        """
        limits = self.api.limits
        return decode(await self.json_text(limits.control_bytes_max, Rules(limits.depth_max, names_depth=0)), kind)


Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
