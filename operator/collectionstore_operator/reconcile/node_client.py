"""The operator's HTTP client to storage nodes: status, bootstrap, membership changes, leadership transfer.

Every answer is typed. What could not be learnt is `Unknown` with a reason, never an exception and never "gone": a
node that does not answer may be alive. Deadlines are short, because the reconcile loop asks again; a change that runs
longer than its deadline goes on in the cluster and shows in the next status.
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

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from collectionstore_operator.model.observed import NodeId, NodeStatus, Unknown
from collectionstore_telemetry.tracing.active import active

STATUS_TIMEOUT_S = 1.0
CHANGE_TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 4 << 20


class MemberChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a membership change; the addresses are needed where a member is added."""

    action: Literal["add", "remove", "promote", "replace"]
    node_id: NodeId
    name: str = ""
    address: str = ""
    http_address: str = ""
    replaces: NodeId = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The node answered no, and nothing was applied; `code` is the stable name of the cause."""

    code: str
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The node did it, and the change is applied."""


ChangeResult = Done | Refused | Unknown


class _Problem(msgspec.Struct):
    """RFC 9457 problem details, as far as decisions need them."""

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


class _Answer(NamedTuple):
    """A node's answer; `validity` of the certificate it showed, in Unix seconds."""

    code: int
    body: bytes
    validity: tuple[float, float]


Decoded = TypeVar("Decoded")


class NodeClient:
    """Asks nodes; an async context manager that owns the session. URLs are base URLs without a slash at the end."""

    def __init__(self, *, status_timeout_s: float = STATUS_TIMEOUT_S) -> None:
        """Take `status_timeout_s` for how long a node may need to say how it is."""
        self._status_timeout_s = status_timeout_s
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._located: Mapping[str, str] = {}

    async def __aenter__(self) -> NodeClient:
        connector = aiohttp.TCPConnector(limit_per_host=4, resolver=_Resolver(self), use_dns_cache=False)
        self._session = aiohttp.ClientSession(connector=connector, response_class=_Response, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def use(self, tls: ssl.SSLContext) -> None:
        """Use this context from now on where a node's client port uses TLS: whom to trust, and what to show."""
        self._tls = tls

    def locate(self, addresses: Mapping[str, str]) -> None:
        """Take these hosts to be at these IP addresses from now on, without asking the name service.

        A name service may go on giving the address of a pod that is gone, for as long as its answers are cached. Who
        answers is proved by the certificate, which is for the name.
        """
        self._located = addresses

    def located(self, host: str) -> str | None:
        """Return where a host was last said to be."""
        return self._located.get(host)

    async def status(self, metrics_url: str) -> NodeStatus | Unknown:
        """Ask a node what it is and sees."""
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
        """Make an empty node the first voter of its cluster; a second time it is refused as `already_bootstrapped`."""
        body = msgspec.json.encode(_BootstrapRequest(epoch))
        return await self._change(f"{client_url}/api/v1/cluster/bootstrap", body)

    async def change_members(
        self, client_url: str, changes: tuple[MemberChange, ...], *, expected_index: int, epoch: int
    ) -> ChangeResult:
        """Ask for one membership change, joint when it has several parts; any node forwards it to the leader."""
        body = msgspec.json.encode(_MembersRequest(changes, expected_index, epoch))
        return await self._change(f"{client_url}/api/v1/cluster/members", body)

    async def transfer_leadership(self, client_url: str, to: NodeId | None, *, epoch: int) -> ChangeResult:
        """Ask the leader to hand over to `to`, or to the most up-to-date voter when None."""
        body = msgspec.json.encode(_TransferRequest(to, epoch))
        return await self._change(f"{client_url}/api/v1/cluster/transfer-leadership", body)

    async def _change(self, url: str, body: bytes) -> ChangeResult:
        answer = await self._request("POST", url, body, CHANGE_TIMEOUT_S)
        if isinstance(answer, Unknown):
            return answer
        if answer.code == 200:
            return Done()
        problem = _decode(answer.body, _Problem)
        if isinstance(problem, Unknown):
            return Unknown(f"answered {answer.code} without a problem description: {problem.reason}")
        if problem.outcome != "not_applied":
            return Unknown(problem.detail or problem.title or f"answered {answer.code}")
        return Refused(problem.code, problem.detail or problem.title, problem.retryable)

    async def _request(self, method: str, url: str, body: bytes | None, timeout_s: float) -> _Answer | Unknown:
        if self._session is None:
            raise RuntimeError("NodeClient is used outside its async with block")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        span = active.get()
        if span is not None:
            headers["traceparent"] = span.traceparent
        try:
            async with asyncio.timeout(timeout_s):
                async with self._session.request(
                    method, url, data=body, headers=headers, ssl=self._tls or True, allow_redirects=False
                ) as response:
                    validity = response.validity if isinstance(response, _Response) else (0.0, 0.0)
                    return _Answer(response.status, await _read_limited(response), validity)
        except TimeoutError:
            return Unknown(f"no answer from {url} within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, _TooLarge) as error:
            return Unknown(_describe(error))


class _Response(aiohttp.ClientResponse):
    """A response that keeps from when to when the certificate is valid that was shown; 0 and 0 without TLS."""

    validity = (0.0, 0.0)

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        # Now: a short answer has given its connection back before anybody can look at it.
        shown = connection.transport.get_extra_info("peercert") if connection.transport is not None else None
        if shown:
            begins, ends = (ssl.cert_time_to_seconds(shown[key]) for key in ("notBefore", "notAfter"))
            self.validity = (float(begins), float(ends))
        return await super().start(connection)


class _Resolver(AbstractResolver):
    """Finds what was located there, and asks the name service for everything else."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._other = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the one address that is known, or all that are found."""
        address = self._client.located(host)
        if address is None:
            return await self._other.resolve(host, port, family)
        version = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=version, proto=0, flags=socket.AI_NUMERICHOST)
        ]

    async def close(self) -> None:
        """Release what the other resolver holds."""
        await self._other.close()


class _TooLarge(Exception):
    """An answer longer than any of ours can be."""


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
