"""The log level of the processes of a local cluster: members by their own API, the supervisor by signals.

A supervisor knows two levels, as the operator does: debug, and what it was configured for.
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
from collectionstore_local.processes.port_allocation import HOST, node_ports
from collectionstore_local.state.credentials import Credentials
from collectionstore_local.state.directory import ClusterDirectory, ordinal_key, read_json
from collectionstore_operator.resource.desired import Desired, Runtime, parse

SUPERVISOR = "supervisor"
ANSWER_S = 5.0

Level = Literal["debug", "info", "warning", "error"]


class MemberLevel(msgspec.Struct, frozen=True):
    """What a member logs; `reverts_in_s` until the configured level is back, None when nothing was said."""

    level: str
    configured: str
    reverts_in_s: float | None = None


class _Problem(msgspec.Struct):
    detail: str = ""
    code: str = ""


async def change(
    directory: ClusterDirectory, members: tuple[str, ...], level: Level | None, *, seconds: int | None
) -> dict[str, MemberLevel]:
    """Change the level of members, or only ask for it when `level` is None. Raises LocalError for the first that fails.

    Members are asked at the same time.
    """
    desired = parse(read_json(directory.resource), runtime=Runtime.LOCAL)
    tls = Credentials(directory).client_context() if desired.spec.tls.client == "Required" else None
    body: dict[str, object] | None = None
    if level is not None:
        body = {"level": level} if seconds is None else {"level": level, "seconds": seconds}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
        asked = (_ask(session, name, _url(desired, name), tls, body) for name in members)
        return dict(zip(members, await asyncio.gather(*asked), strict=True))


def signal_supervisor(directory: ClusterDirectory, level: Literal["debug", "configured"]) -> None:
    """Have the supervisor log everything, or as it was configured. Raises ClusterDown when none is in charge."""
    pid = supervisor_pid(directory)
    if not pid:
        raise ClusterDown(f"no supervisor is in charge of {directory.name}. Start it: csctl local up -f FILE")
    os.kill(pid, signal.SIGUSR1 if level == "debug" else signal.SIGUSR2)


def _url(desired: Desired, name: str) -> str:
    scheme = "http" if desired.spec.tls.client == "Disabled" else "https"
    port = node_ports(desired.spec.local, ordinal_key(name)[1]).client
    return f"{scheme}://{HOST}:{port}/debug/log-level"


async def _ask(
    session: aiohttp.ClientSession, name: str, url: str, tls: ssl.SSLContext | None, body: dict[str, object] | None
) -> MemberLevel:
    try:
        method = "GET" if body is None else "PUT"
        async with session.request(method, url, json=body, ssl=tls or True) as answer:
            content = await answer.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise LocalError(f"{name} does not answer: {str(error) or type(error).__name__}") from error
    if answer.status == 200:
        return msgspec.json.decode(content, type=MemberLevel)
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(f"HTTP {answer.status}")
    raise LocalError(f"{name} refused: {problem.detail or problem.code}")
