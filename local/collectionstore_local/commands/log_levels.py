"""Log levels of the processes of a local cluster: of members by their API, of the supervisor by signals.

The supervisor has two levels, as the operator has: debug, and the configured one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from typing import Literal

import aiohttp
import msgspec

from collectionstore_local.commands.lifecycle import supervisor_pid
from collectionstore_local.errors import LocalError
from collectionstore_local.faults.injection import ClusterDown
from collectionstore_local.processes.port_allocation import HOST, member_ports
from collectionstore_local.state import admin_token
from collectionstore_local.state.applied_resource import read_desired
from collectionstore_local.state.credentials import Credentials
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_operator.resource.desired import Desired

RESPONSE_TIMEOUT_S = 5.0

Level = Literal["debug", "info", "warning", "error"]


class MemberLevel(msgspec.Struct, frozen=True):
    """The level of a member; `reverts_in_s` until it returns to the configured one, None if it has no expiry."""

    level: str
    configured: str
    reverts_in_s: float | None = None


class _Problem(msgspec.Struct):
    detail: str = ""
    code: str = ""


async def change(
    directory: ClusterDirectory, members: tuple[str, ...], level: Level | None, *, seconds: int | None
) -> dict[str, MemberLevel]:
    """Set the level of members, or only read it if `level` is None. Raises LocalError for the first that fails.

    Requests run in parallel; `seconds` is the time until the configured level returns.
    """
    desired = read_desired(directory)
    tls = Credentials(directory).client_context() if desired.spec.tls.client == "Required" else None
    body: dict[str, object] | None = None
    if level is not None:
        body = {"level": level} if seconds is None else {"level": level, "seconds": seconds}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RESPONSE_TIMEOUT_S)) as session:
        proof = admin_token.headers(directory) if tls is None else {}
        requests = (_request(session, name, _url(desired, name), tls, proof, body) for name in members)
        return dict(zip(members, await asyncio.gather(*requests), strict=True))


def signal_supervisor(directory: ClusterDirectory, level: Literal["debug", "configured"]) -> None:
    """Set the level of the supervisor. Raises ClusterDown if none runs."""
    pid = supervisor_pid(directory)
    if not pid:
        raise ClusterDown(f"{directory.name} has no supervisor. Start it: csctl local up -f FILE")
    os.kill(pid, signal.SIGUSR1 if level == "debug" else signal.SIGUSR2)


def _url(desired: Desired, name: str) -> str:
    scheme = "http" if desired.spec.tls.client == "Disabled" else "https"
    ports = member_ports(desired, name)
    if ports is None:
        raise LocalError(f"{name} is no member of {desired.name}")
    return f"{scheme}://{HOST}:{ports.client}/debug/log-level"


async def _request(
    session: aiohttp.ClientSession,
    name: str,
    url: str,
    tls: ssl.SSLContext | None,
    proof: dict[str, str],
    body: dict[str, object] | None,
) -> MemberLevel:
    try:
        method = "GET" if body is None else "PUT"
        async with session.request(method, url, json=body, headers=proof, ssl=tls or True) as response:
            content = await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise LocalError(f"{name} is unreachable: {str(error) or type(error).__name__}") from error
    if response.status == 200:
        return msgspec.json.decode(content, type=MemberLevel)
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(f"HTTP {response.status}")
    raise LocalError(f"{name} refused: {problem.detail or problem.code}")
