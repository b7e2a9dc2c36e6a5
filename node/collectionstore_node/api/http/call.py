"""`Call`: one request while it is handled, and `ApiContext`: what all handlers of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
from aiohttp import hdrs, web

from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.bodies import BodyStream, arrived, body_at_hand, receive_body, require_json
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.api.http.instruments import Diagnostics, HttpMetrics, RenderMetrics
from collectionstore_node.api.http.json_bodies import at_once, compact_json, compact_json_steps, decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.options import TIMEOUT_MIN_S, Options
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.authn.passwords import Passwords
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
    budgets: Budgets
    diagnostics: Diagnostics
    admin_token: bool = False
    """Whether a token, and not a certificate, shows who may change the cluster."""
    guard: Guard | None = None
    """Who makes the requests; None where nobody asks."""

    @property
    def passwords(self) -> Passwords:
        """What makes hashes of passwords. Raises `Problem` on a port that knows no users."""
        if self.guard is None:
            raise Problem("unavailable", "this port knows no users")
        return self.guard.authenticator.passwords

    def enter(self, client: Client, *, write: bool = False) -> None:
        """Count a request in flight, of all and of its address. Raises `Overloaded`; call `leave` otherwise."""
        self.store.enter(write=write)
        try:
            self.budgets.clients.enter(client)
        except BaseException:
            self.store.leave()
            raise

    def leave(self, client: Client) -> None:
        """Count its end."""
        self.budgets.clients.leave(client)
        self.store.leave()


class Call:
    """One request: its path arguments in the order of the route's pattern, still percent-encoded, and its options.

    `timeout_s` is what is left of the client's budget.
    """

    __slots__ = ("_client", "_entered", "api", "arguments", "body_s", "options", "request", "timeout_s")

    def __init__(
        self, api: ApiContext, request: web.BaseRequest, arguments: list[str], options: Options, client: Client | None
    ) -> None:
        """`client` is None for a probe, which takes no place among the requests in flight."""
        self._client = client
        self._entered = client is not None
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
        if arrived(request):
            return body_at_hand(request, bytes_max)
        # A slow body keeps no place: it is counted as an upload until it is complete.
        self.leave()
        clock = asyncio.get_running_loop().time
        started = clock()
        uploads = self.api.budgets.uploads
        body = await receive_body(
            request, bytes_max=bytes_max, timeout_s=self.timeout_s, uploads=uploads, client=self._client
        )
        self.body_s = clock() - started
        # Never 0: a body that took all of its time gets the answer of a timeout, not that of an invalid one.
        self.timeout_s = max(self.timeout_s - self.body_s, TIMEOUT_MIN_S)
        if self._client is not None:
            self.api.enter(self._client)
            self._entered = True
        return body

    async def body_stream(self) -> BodyStream:
        """Return the body to be taken in parts; the request keeps no place among those in flight. Raises `Problem`."""
        stream = BodyStream(self.request, self.api.budgets.uploads, self._client)
        await stream.begin()
        self.leave()
        return stream

    def leave(self) -> None:
        """Give back the request's place among those in flight; a second time is nothing."""
        if self._entered and self._client is not None:
            self._entered = False
            self.api.leave(self._client)

    async def json_text(self, bytes_max: int, rules: Rules) -> bytes:
        """Return the body, a JSON object, without white space between tokens. Raises `Problem`."""
        require_json(self.request)
        return await self.compact(await self.body(bytes_max), rules)

    async def compact(self, text: bytes, rules: Rules) -> bytes:
        """Return a JSON object without white space between tokens; between other requests if it is large.

        Raises `Problem`.
        """
        if at_once(text):
            return compact_json(text, rules)
        return await self.api.store.in_steps(Work.BODY, compact_json_steps(text, rules), timeout_s=self.timeout_s)

    async def json_struct(self, kind: type[S]) -> S:
        """Return the body, a JSON object of at most `control_bytes_max`, as a `kind`.

        Raises `Problem`, for unknown fields too.
        """
        limits = self.api.limits
        return decode(await self.json_text(limits.control_bytes_max, Rules(limits.depth_max, names_depth=0)), kind)


Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
