"""`Guard`: who makes each request of a port, and the end of what lasts longer than its caller's credential.

A connection keeps the identity of its last request. A hot request finds it again by the very object that holds its
header, which is remembered by its bytes (`api.hot.heads`), so it costs two comparisons. What lasts - watches, long
polls, exports, imports, streams, and requests that wait - is looked at every `SWEEP_S`: one whose proof does not hold
any more is told so and ended, and its connection is closed at the next look if it is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import structlog
from aiohttp import hdrs

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.api.http.answers import Lasting
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.authn.authenticator import Authenticator
from collectionstore_node.authn.headers import Basic
from collectionstore_node.authn.identities import Identity, Presented
from collectionstore_node.authn.refusals import Reason, Refused, TooManyAttempts
from collectionstore_node.errors import NodeError, NotNow, Overloaded
from collectionstore_node.ports import LOOPBACK, network_of

SWEEP_S: Final = 0.4
"""How often what lasts is looked at."""
LONG_S: Final = 1.0
"""A request that has waited for longer is ended, too."""
SLICE: Final = 128
"""Connections that are looked at in one turn of the loop."""
LOG_S: Final = 10.0
"""Refusals for one reason are logged once in this time."""

_CHALLENGE: Final = b'WWW-Authenticate: Bearer realm="collectionstore"\r\n'
_CHALLENGE_BASIC: Final = b'WWW-Authenticate: Basic realm="collectionstore", charset="UTF-8"\r\n'
_DETAIL: Final = "this needs a credential that is valid here"

log = structlog.get_logger()


class Line(Protocol):
    """A connection."""

    identity: Identity | None
    """Of its last request."""

    @property
    def remote(self) -> str | None:
        """The client's address."""

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate, in DER; None without one."""

    def abort(self) -> None:
        """Close the connection at once."""


class WithHeaders(Protocol):
    """A request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its header lines; a `MultiMapping`."""


class AuthenticationMetrics(Protocol):
    """Where callers are counted."""

    def authenticated(self, method: str) -> None:
        """Count a credential that was checked and found valid; what is remembered is not counted."""

    def refused(self, reason: str, *, tolerated: bool) -> None:
        """Count a request without a valid credential."""

    def slowed(self) -> None:
        """Count an attempt that came too early."""

    def expelled(self) -> None:
        """Count a stream, a watch or a long request that was ended with its credential."""


class _Followed:
    __slots__ = ("lasting", "since", "told")

    def __init__(self, since: float, lasting: Lasting | None) -> None:
        self.since = since
        self.lasting = lasting
        self.told = False
        """Whether it was told to end."""


class Guard:
    """The callers of one member's ports. Belongs to one event loop."""

    def __init__(
        self,
        authenticator: Authenticator,
        metrics: AuthenticationMetrics,
        allows: Callable[[Caller, Verb, Kind, str], bool],
    ) -> None:
        """`allows` says whether a caller may do something now."""
        self.authenticator = authenticator
        self._policy = authenticator.directory.policy
        self._epoch = 0
        self._now_s = 0.0
        """As of the last call of `on`."""
        self._metrics = metrics
        self._allows = allows
        self._loop = asyncio.get_running_loop()
        self._followed: dict[Line, _Followed] = {}
        self._sweeping = False
        self._logged: dict[tuple[Reason, bool], float] = {}

    @property
    def off(self) -> bool:
        """Whether callers are of no interest."""
        return self._policy().mode is Mode.DISABLED

    # Callers

    def on(self) -> bool:
        """Return whether callers are asked for, and take the time: `known_now` goes by it, in the same turn."""
        try:
            policy = self._policy()
        except NodeError:
            # The state cannot be read. The general path says so: nobody is known here.
            self._epoch = 0
            return True
        if policy.mode is Mode.DISABLED:
            return False
        self._epoch = self.authenticator.epoch_at(policy.revision)
        self._now_s = self.authenticator.wall_s()
        return True

    def known_now(self, line: Line, header: str | None) -> Caller | None:
        """Do as `known`, behind `on`: for many requests at once."""
        identity = line.identity
        if identity is None or identity.header is not header or not self._epoch:
            return None
        if identity.epoch == self._epoch and self._now_s < identity.until_s:
            return identity.caller
        return self.current(line)

    def known(self, line: Line, header: str | None) -> Caller | None:
        """Return the caller of a request with this header, if it is the one of the request before; None if not.

        `header` must be the very object that was in the headers of that request.
        """
        identity = line.identity
        if identity is None or identity.header is not header:
            return None
        return identity.caller if self.authenticator.is_current(identity) else self.current(line)

    def current(self, line: Line) -> Caller | None:
        """Return the caller of the last request of a connection, None if it is none any more."""
        identity, authenticator = line.identity, self.authenticator
        if identity is not None and not authenticator.is_current(identity):
            line.identity = identity = authenticator.renew(identity)
        if identity is None and authenticator.mode is Mode.PERMISSIVE:
            line.identity = identity = authenticator.tolerated(line.remote or "")
        return None if identity is None else identity.caller

    async def caller(self, line: Line, request: Any) -> Caller:
        """Return who makes a request. Raises `Problem` 401 or 429, and `Overloaded`."""
        values = request.headers.getall(hdrs.AUTHORIZATION, ())
        header = values[0] if values else None
        if len(values) < 2 and (known := self.known(line, header)) is not None:
            return known
        before = line.identity
        try:
            identity = await self.authenticator.identify(self._presented(line, values))
        except Refused as refused:
            line.identity = None
            identity = self._tolerated(line, refused.reason, header)
        except TooManyAttempts as slowed:
            self._metrics.slowed()
            raise too_many_attempts(slowed) from None
        except Overloaded:
            raise
        except NotNow:
            # This member cannot learn whether a token is new. Where refusals are only told, that is no reason for one.
            if self.authenticator.mode is Mode.ENFORCED:
                raise
            line.identity = None
            identity = self._tolerated(line, Reason.UNKNOWN, header)
        else:
            if before is None or before.proof != identity.proof:
                self._metrics.authenticated(identity.caller.method.value)
        identity.header = header
        line.identity = identity
        return identity.caller

    async def caller_if_any(self, line: Line, request: Any) -> Caller | None:
        """Return who makes a request where nothing is refused for that; None for a caller that is not known."""
        values = request.headers.getall(hdrs.AUTHORIZATION, ())
        try:
            return (await self.authenticator.identify(self._presented(line, values))).caller
        except (Refused, TooManyAttempts):
            return None

    async def log_in(self, line: Line, given: Basic) -> Caller:
        """Return who has a user's password. Raises `Problem` 401 or 429, and `Overloaded`."""
        try:
            identity = await self.authenticator.log_in(given, _network(line.remote))
        except Refused as refused:
            self._refuse(line, refused.reason, tolerated=False)
            raise unauthorized() from None
        except TooManyAttempts as slowed:
            self._metrics.slowed()
            raise too_many_attempts(slowed) from None
        self._metrics.authenticated(identity.caller.method.value)
        return identity.caller

    def require(self, caller: Caller | None, verb: Verb, kind: Kind, name: str) -> None:
        """Refuse a caller without this right, where refusals are enforced. Raises `Problem` 403."""
        if self.authenticator.mode is not Mode.ENFORCED:
            return
        if caller is None or not self._allows(caller, verb, kind, name):
            raise Problem("forbidden", f"this needs the right to {verb.value} the {kind.value} {name}".rstrip())

    def _presented(self, line: Line, values: Any) -> Presented:
        remote = line.remote or ""
        return Presented(
            values[0] if values else None,
            line.certificate,
            address=remote,
            network=_network(remote),
            repeated=len(values) > 1,
        )

    def _tolerated(self, line: Line, reason: Reason, header: str | None) -> Identity:
        tolerated = self.authenticator.mode is not Mode.ENFORCED
        self._refuse(line, reason, tolerated=tolerated)
        if not tolerated:
            raise unauthorized(basic=header is not None and header[:6].lower() == "basic ")
        return self.authenticator.tolerated(line.remote or "")

    def _refuse(self, line: Line, reason: Reason, *, tolerated: bool) -> None:
        self._metrics.refused(reason.value, tolerated=tolerated)
        now, key = self._loop.time(), (reason, tolerated)
        if now - self._logged.get(key, -LOG_S) >= LOG_S:
            self._logged[key] = now
            log.info("authentication.refused", reason=reason.value, address=line.remote, tolerated=tolerated)

    # What lasts

    def follow(self, line: Line, lasting: Lasting | None = None) -> None:
        """Look after what a connection answers now; `lasting` is told when it has to end."""
        self._followed[line] = _Followed(self._loop.time(), lasting)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)

    def leave(self, line: Line) -> None:
        """Do not look any more; nothing if it is not followed."""
        self._followed.pop(line, None)

    def _sweep(self) -> None:
        """Again and again, as long as there is something to look at."""
        self._sweep_some(list(self._followed), 0)

    def _sweep_some(self, lines: list[Line], begin: int) -> None:
        end = begin + SLICE
        try:
            looked_at = () if self.off else lines[begin:end]
            for line in looked_at:
                followed = self._followed.get(line)
                if followed is not None:
                    self._look(line, followed)
        except NodeError as error:
            # The driver ends the node for what is wrong with its storage; until then it is looked at again.
            log.debug("authentication.not_swept", reason=type(error).__name__)
            end = len(lines)
        if end < len(lines):
            self._loop.call_soon(self._sweep_some, lines, end)
        else:
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweeping = bool(self._followed)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _look(self, line: Line, followed: _Followed) -> None:
        if self.current(line) is not None:
            return
        if followed.lasting is None:
            # A request: most have ended by themselves within that, with an answer to what was allowed when it came.
            if self._loop.time() - followed.since < LONG_S:
                return
        elif not followed.told:
            followed.told = True
            self._metrics.expelled()
            followed.lasting.expel()
            return
        else:
            line.abort()  # it does not take what it was told
            return
        self._metrics.expelled()
        line.abort()


def unauthorized(*, basic: bool = False) -> Problem:
    """Return the problem of a request without a valid credential; it says nothing of what was wrong."""
    return Problem("unauthorized", _DETAIL, headers=_CHALLENGE + (_CHALLENGE_BASIC if basic else b""))


def too_many_attempts(error: TooManyAttempts) -> Problem:
    """Return the problem of an attempt that came too early."""
    return Problem(
        "too_many_attempts",
        "too many attempts failed for this user or from this address; wait before the next one",
        retry_after_s=error.retry_after_s,
    )


def _network(remote: str | None) -> str:
    network = network_of(remote or "")
    return "" if network == LOOPBACK else network
