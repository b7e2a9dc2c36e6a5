"""What the API needs of the rest of the node: protocols, so that it can be served from memory in tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from aiohttp import web

from collectionstore_node.api.answers import Answer
from collectionstore_node.api.bodies import Arrivals, body_at_hand, receive_body
from collectionstore_node.api.limits import Limits
from collectionstore_node.api.options import TIMEOUT_MIN_S, Options
from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica import MembersRequest, NodeStatus, RaftReport
from collectionstore_node.statemachine.commands import Command, Outcome
from collectionstore_node.statemachine.members import MemberInfo
from collectionstore_node.statemachine.view import View
from collectionstore_telemetry.logs import LogLevels
from collectionstore_telemetry.profiling import Profiler


class ReplicaPort(Protocol):
    """The part of `replica.Replica` that the API uses."""

    @property
    def view(self) -> View:
        """Applied state."""

    @property
    def revision(self) -> int:
        """Revision of the last applied command."""

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""

    def leader(self) -> MemberInfo | None:
        """Return the leader this node knows, or None."""

    def inspect(self) -> RaftReport:
        """Return the node's part in consensus, for people."""

    def status(self) -> NodeStatus:
        """Return what the node says of itself."""

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Apply `command`, here or on the leader. Raises `NotNow` or `OutcomeUnknown`."""

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Wait until reads of `view` are linearizable. Raises `NotNow`."""

    async def bootstrap(self, *, epoch: int | None = None) -> NodeStatus:
        """Make an empty node the only voter of a new cluster. Raises `InvalidRequest`."""

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        """Change the membership. Raises `InvalidRequest`, `NotNow` or `OutcomeUnknown`."""

    async def transfer_leadership(self, to: NodeId | None, *, timeout_s: float, epoch: int | None = None) -> NodeStatus:
        """Hand leadership to `to`, or to the best follower. Raises `InvalidRequest` for an epoch that is behind."""


class RouteMetrics(Protocol):
    """Counts the requests of one route and method; its series are resolved once, at the start."""

    def finished(self, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a request that was answered with `status` after `seconds`; `trace_id` when it is traced."""


class RequestTrace(Protocol):
    """The span of a sampled request; one of its methods is called, once."""

    @property
    def trace_id(self) -> str:
        """32 hex digits."""

    def answered(self, status: int) -> None:
        """End it with an answer."""

    def abandoned(self) -> None:
        """End it without one."""


class HttpMetrics(Protocol):
    """Where the API's measurements go."""

    def route(self, route: str, method: str) -> RouteMetrics:
        """Return the counters of a route, named by its pattern. Called at the start only."""

    def inflight(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many requests are being served."""

    def connections(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many connections are open."""

    def arriving(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many bytes of bodies are still arriving."""

    def problem(self, code: str) -> None:
        """Count a request that ended in the problem of this code."""

    def transaction(self, result: str) -> None:
        """Count a transaction: then or else for the branch that ran; conflict or refused when none did."""


RenderMetrics = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Returns the exposition of all metrics, in a form that an Accept header takes, and its content type."""

AuthorizeAdmin = Callable[[web.BaseRequest], bool]
"""Tells whether the sender of a request may change the cluster."""


TraceRequest = Callable[[web.BaseRequest, str, str], RequestTrace | None]
"""Begins the span of a request, of this method, to this route's pattern; returns None unless it is sampled."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What helps to find out what is going on in this process."""

    levels: LogLevels = field(default_factory=LogLevels)
    slow: SlowLog = field(default_factory=lambda: SlowLog(Thresholds(), time.monotonic))
    profiler: Profiler | None = None
    """None while profiles are not allowed."""


@dataclass(frozen=True, slots=True)
class Api:
    """What all handlers share."""

    replica: ReplicaPort
    limits: Limits
    metrics: HttpMetrics
    render_metrics: RenderMetrics
    authorize_admin: AuthorizeAdmin
    tls: bool
    arrivals: Arrivals
    diagnostics: Diagnostics


class Call:
    """One request: its path arguments in the order of the route's pattern, still percent-encoded, and its options.

    `timeout_s` is what is left of the client's budget.
    """

    __slots__ = ("api", "arguments", "body_s", "options", "request", "timeout_s")

    def __init__(self, api: Api, request: web.BaseRequest, arguments: list[str], options: Options) -> None:
        self.api = api
        self.request = request
        self.arguments = arguments
        self.options = options
        self.timeout_s = options.timeout_s
        self.body_s = 0.0
        """How long the body took to arrive."""

    async def body(self, bytes_max: int) -> bytes:
        """Return the whole body, at most `bytes_max` bytes. Raises `Problem`."""
        request = self.request
        if request.content.is_eof():
            return body_at_hand(request, bytes_max)
        clock = asyncio.get_running_loop().time
        started = clock()
        body = await receive_body(request, bytes_max=bytes_max, timeout_s=self.timeout_s, arrivals=self.api.arrivals)
        self.body_s = clock() - started
        self.timeout_s = max(self.timeout_s - self.body_s, TIMEOUT_MIN_S)
        return body

    async def fresh_view(self) -> View:
        """Return the state as the client asked for it: linearizable, or stale. Raises `NotNow`."""
        replica = self.api.replica
        if not self.options.stale:
            await replica.read_barrier(timeout_s=self.timeout_s)
        return replica.view


Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
