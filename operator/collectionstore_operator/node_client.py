"""The operator's HTTP client to storage nodes: status, bootstrap, membership changes, leadership transfer.

Every answer is typed. What could not be learnt is `Unknown` with a reason, never an exception and never "gone": a
node that does not answer may be alive. Deadlines are short, because the reconcile loop asks again; a change that runs
longer than its deadline goes on in the cluster and shows in the next status.
One session for all nodes; no retries: the loop is the retry.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeVar

import aiohttp
import msgspec

from collectionstore_operator.observed import NodeId, NodeStatus, Unknown

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


Decoded = TypeVar("Decoded")


class NodeClient:
    """Asks nodes; an async context manager that owns the session. URLs are base URLs without a slash at the end."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> NodeClient:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=4), trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def use(self, tls: ssl.SSLContext) -> None:
        """Use this context from now on where a node's client port uses TLS: whom to trust, and what to show."""
        self._tls = tls

    async def status(self, metrics_url: str) -> NodeStatus | Unknown:
        """Ask a node what it is and sees."""
        answer = await self._request("GET", f"{metrics_url}/status", None, STATUS_TIMEOUT_S)
        if isinstance(answer, Unknown):
            return answer
        code, body = answer
        if code != 200:
            return Unknown(f"answered {code} to GET /status")
        return _decode(body, NodeStatus)

    async def is_ready(self, metrics_url: str) -> bool:
        """Return whether a linearizable read works on a node now."""
        answer = await self._request("GET", f"{metrics_url}/readyz", None, STATUS_TIMEOUT_S)
        return not isinstance(answer, Unknown) and answer[0] == 200

    async def bootstrap(self, client_url: str) -> ChangeResult:
        """Make an empty node the first voter of its cluster; a second time it is refused as `already_bootstrapped`."""
        return await self._change(f"{client_url}/api/v1/cluster/bootstrap", b"{}")

    async def change_members(
        self, client_url: str, changes: tuple[MemberChange, ...], *, expected_index: int, epoch: int
    ) -> ChangeResult:
        """Ask for one membership change, joint when it has several parts; any node forwards it to the leader."""
        body = msgspec.json.encode(_MembersRequest(changes, expected_index, epoch))
        return await self._change(f"{client_url}/api/v1/cluster/members", body)

    async def transfer_leadership(self, client_url: str, to: NodeId | None) -> ChangeResult:
        """Ask the leader to hand over to `to`, or to the most up-to-date voter when None."""
        body = msgspec.json.encode(_TransferRequest(to))
        return await self._change(f"{client_url}/api/v1/cluster/transfer-leadership", body)

    async def _change(self, url: str, body: bytes) -> ChangeResult:
        answer = await self._request("POST", url, body, CHANGE_TIMEOUT_S)
        if isinstance(answer, Unknown):
            return answer
        code, content = answer
        if code == 200:
            return Done()
        problem = _decode(content, _Problem)
        if isinstance(problem, Unknown):
            return Unknown(f"answered {code} without a problem description: {problem.reason}")
        if problem.outcome != "not_applied":
            return Unknown(problem.detail or problem.title or f"answered {code}")
        return Refused(problem.code, problem.detail or problem.title, problem.retryable)

    async def _request(
        self, method: str, url: str, body: bytes | None, timeout_s: float
    ) -> tuple[int, bytes] | Unknown:
        if self._session is None:
            raise RuntimeError("NodeClient is used outside its async with block")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with asyncio.timeout(timeout_s):
                async with self._session.request(
                    method, url, data=body, headers=headers, ssl=self._tls or True, allow_redirects=False
                ) as response:
                    return response.status, await _read_limited(response)
        except TimeoutError:
            return Unknown(f"no answer from {url} within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, _TooLarge) as error:
            return Unknown(_describe(error))


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
