"""The operator's HTTP client to storage nodes: status, bootstrap, membership changes, leadership transfer.

Every response is typed. What could not be read is `Unknown` with a reason, never an exception and never "gone": a node
that does not respond may be alive. Deadlines are short, because the loop requests again; a change that runs longer than
its deadline continues in the cluster and shows in the next status.
One session for all nodes; no retries: the loop is the retry.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from collectionstore_operator.model.observed import NodeId, NodeStatus, Unknown
from collectionstore_telemetry.tracing.active import active

STATUS_TIMEOUT_S = 1.0
CHANGE_TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 4 << 20
KEEP_S = 5.0
"""Idle connections are closed after this time, which is less than the interval of rounds at rest: only a new handshake
shows the certificate that a member uses by now."""


class MemberChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a membership change; addresses are required to add a member."""

    action: Literal["add", "remove", "promote", "replace"]
    node_id: NodeId
    name: str = ""
    address: str = ""
    http_address: str = ""
    replaces: NodeId = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The node refused, and nothing was applied; `code` is the problem code."""

    code: str
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The change is applied."""


ChangeResult = Done | Refused | Unknown


class _Problem(msgspec.Struct):
    """RFC 9457 problem details, reduced to the fields used here."""

    title: str = ""
    detail: str = ""
    code: str = ""
    retryable: bool = False
    outcome: str = "unknown"


class _MembersRequest(msgspec.Struct):
    changes: tuple[MemberChange, ...]
    expected_index: int
    epoch: int


class _TransferRequest(msgspec.Struct):
    node_id: NodeId | None
    epoch: int


class _BootstrapRequest(msgspec.Struct):
    epoch: int


class Answer(NamedTuple):
    """A node's response; `validity` is that of the certificate it presented, in Unix seconds."""

    code: int
    body: bytes
    validity: tuple[float, float]


Decoded = TypeVar("Decoded")


class NodeClient:
    """Client for all nodes; an async context manager that owns the session. URLs have no trailing slash."""

    def __init__(self, *, status_timeout_s: float = STATUS_TIMEOUT_S) -> None:
        """`status_timeout_s` is the deadline of a status request."""
        self._status_timeout_s = status_timeout_s
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._located: Mapping[str, str] = {}
        self._token = ""

    async def __aenter__(self) -> NodeClient:
        connector = aiohttp.TCPConnector(
            limit_per_host=4, resolver=_Resolver(self), use_dns_cache=False, keepalive_timeout=KEEP_S
        )
        self._session = aiohttp.ClientSession(connector=connector, response_class=_Response, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def use(self, tls: ssl.SSLContext) -> None:
        """Use this TLS context from now on: trust anchors and the client certificate."""
        self._tls = tls

    def authorize(self, token: str) -> None:
        """Send this token where there is no client TLS; elsewhere nodes know the operator by its certificate."""
        self._token = token

    def locate(self, addresses: Mapping[str, str]) -> None:
        """Resolve these hosts to these IP addresses from now on, without DNS.

        DNS may go on returning the address of a deleted pod for as long as its answers are cached. The certificate,
        which is for the host name, authenticates the node.
        """
        self._located = addresses

    def located(self, host: str) -> str | None:
        """Return the address set for a host."""
        return self._located.get(host)

    async def status(self, metrics_url: str) -> NodeStatus | Unknown:
        """Request the status of a node."""
        answer = await self._request("GET", f"{metrics_url}/status", None, self._status_timeout_s)
        if isinstance(answer, Unknown):
            return answer
        if answer.code != 200:
            return Unknown(f"answered {answer.code} to GET /status")
        status = _decode(answer.body, NodeStatus)
        if isinstance(status, Unknown):
            return status
        begins, ends = answer.validity
        return msgspec.structs.replace(status, certificate_not_before=begins, certificate_not_after=ends)

    async def is_ready(self, metrics_url: str) -> bool:
        """Return whether a linearizable read works on a node now."""
        answer = await self._request("GET", f"{metrics_url}/readyz", None, self._status_timeout_s)
        return not isinstance(answer, Unknown) and answer.code == 200

    async def bootstrap(self, client_url: str, *, epoch: int) -> ChangeResult:
        """Make an empty node the first voter of its cluster; a repeated call is refused as `already_bootstrapped`."""
        body = msgspec.json.encode(_BootstrapRequest(epoch))
        return await self._change(f"{client_url}/api/v1/cluster/bootstrap", body)

    async def change_members(
        self, client_url: str, changes: tuple[MemberChange, ...], *, expected_index: int, epoch: int
    ) -> ChangeResult:
        """Request one membership change, joint when it has several parts; only the leader takes it."""
        body = msgspec.json.encode(_MembersRequest(changes, expected_index, epoch))
        return await self._change(f"{client_url}/api/v1/cluster/members", body)

    async def transfer_leadership(self, client_url: str, to: NodeId | None, *, epoch: int) -> ChangeResult:
        """Request a leadership transfer to `to`, or to the most up-to-date voter when None."""
        body = msgspec.json.encode(_TransferRequest(to, epoch))
        return await self._change(f"{client_url}/api/v1/cluster/transfer-leadership", body)

    async def call(self, method: str, url: str, body: bytes | None = None) -> Answer | Unknown:
        """Make a request of any route, as the operator; `url` is that of a member with a path."""
        return await self._request(method, url, body, CHANGE_TIMEOUT_S)

    async def _change(self, url: str, body: bytes) -> ChangeResult:
        answer = await self._request("POST", url, body, CHANGE_TIMEOUT_S)
        if isinstance(answer, Unknown):
            return answer
        if answer.code == 200:
            return Done()
        if answer.code == 307:
            # Only the leader takes it, and this node is not it any more: nothing was done.
            return Refused("not_leader", f"{url} does not lead any more", retryable=True)
        return refusal(answer)

    async def _request(self, method: str, url: str, body: bytes | None, timeout_s: float) -> Answer | Unknown:
        if self._session is None:
            raise RuntimeError("NodeClient is used outside its async with block")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._token and url.startswith("http://"):
            headers["Authorization"] = f"Bearer {self._token}"
        span = active.get()
        if span is not None:
            headers["traceparent"] = span.traceparent
        try:
            async with asyncio.timeout(timeout_s):
                async with self._session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    ssl=self._tls or True,
                    server_hostname=server_name(url),
                    allow_redirects=False,
                ) as response:
                    validity = response.validity if isinstance(response, _Response) else (0.0, 0.0)
                    return Answer(response.status, await _read_limited(response), validity)
        except TimeoutError:
            return Unknown(f"no answer from {url} within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, _TooLarge) as error:
            return Unknown(_describe(error))


def refusal(answer: Answer) -> Refused | Unknown:
    """Return what an answer that is no success says: only an explicit "not applied" is a refusal."""
    problem = _decode(answer.body, _Problem)
    if isinstance(problem, Unknown):
        return Unknown(f"answered {answer.code} without a problem description: {problem.reason}")
    if problem.outcome != "not_applied":
        # Everything else may still commit.
        return Unknown(problem.detail or problem.title or f"answered {answer.code}")
    return Refused(problem.code, problem.detail or problem.title, problem.retryable)


def server_name(url: str) -> str | None:
    """Return the name to ask for and to verify: the member's alone, the first label of its host; None for an address.

    By that name a member always shows the certificate of the cluster's authority. By the others it may show one that
    the user gives for clients, whose authority is not trusted here.
    """
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.partition(".")[0]
    return None


class _Response(aiohttp.ClientResponse):
    """A response with the validity of the presented certificate; (0, 0) without TLS."""

    validity = (0.0, 0.0)

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        # Read here: aiohttp has released the connection of a short response before the caller could.
        shown = connection.transport.get_extra_info("peercert") if connection.transport is not None else None
        if shown:
            begins, ends = (ssl.cert_time_to_seconds(shown[key]) for key in ("notBefore", "notAfter"))
            self.validity = (float(begins), float(ends))
        return await super().start(connection)


class _Resolver(AbstractResolver):
    """Resolves the hosts set by `locate`, and all others by DNS."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._other = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the address that was set, or all that DNS returns."""
        address = self._client.located(host)
        if address is None:
            return await self._other.resolve(host, port, family)
        version = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=version, proto=0, flags=socket.AI_NUMERICHOST)
        ]

    async def close(self) -> None:
        """Close the DNS resolver."""
        await self._other.close()


class _TooLarge(Exception):
    """A response longer than any that a node sends."""


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise _TooLarge(f"answer of {response.url} is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(content)


def _decode(content: bytes, kind: type[Decoded]) -> Decoded | Unknown:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        return Unknown(f"answered something else than expected: {error}")


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = os.strerror(error.errno) if error.errno else str(error)
        return f"cannot connect to {error.host}:{error.port}: {reason.lower()}"
    return str(error) or type(error).__name__
