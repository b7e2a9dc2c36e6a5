"""Breaks a running cluster in ways that have to raise an alert, and waits until it has fired and is quiet again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from collectionstore_observe.api import PrometheusApi
from collectionstore_observe.errors import ObserveFailed
from collectionstore_testkit.clusters.local import LocalCluster
from collectionstore_testkit.clusters.node_status import Nodes

FIRES_TIMEOUT_S: Final = 60.0
CLEARS_TIMEOUT_S: Final = 150.0
"""More than the second: conditions over a window of a minute or two hold for as long after the end of what is wrong."""
_POLL_S: Final = 0.5
_CSCTL_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Lab:
    """The cluster to break, and its nodes."""

    cluster: LocalCluster
    nodes: Nodes
    size: int

    async def names(self) -> tuple[str, list[str]]:
        """Return the leader's name and the others'."""
        _, leader = await self.nodes.leader(self.cluster.urls(self.size))
        others = [one.name for one in leader.members if one.name != leader.name]
        return leader.name, others


@dataclass(frozen=True, slots=True)
class Break:
    """A way to break a cluster, and the alert that has to fire while it lasts."""

    alert: str
    what: str
    during: Callable[[Lab], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _follower_hangs(lab: Lab) -> AsyncIterator[None]:
    _, others = await lab.names()
    async with _paused(lab, others[:1]):
        yield


@asynccontextmanager
async def _majority_hangs(lab: Lab) -> AsyncIterator[None]:
    leader, others = await lab.names()
    async with _paused(lab, [leader, *others[1:]]):
        yield


@asynccontextmanager
async def _operator_hangs(lab: Lab) -> AsyncIterator[None]:
    pid = lab.cluster.supervisor_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _paused(lab: Lab, members: Sequence[str]) -> AsyncIterator[None]:
    """Hold members; their connections stay open and nothing answers, as on a machine that stalls."""
    try:
        for name in members:
            await lab.cluster.csctl("pause", name, timeout_s=_CSCTL_TIMEOUT_S)
        yield
    finally:
        await lab.cluster.csctl("heal", timeout_s=_CSCTL_TIMEOUT_S)


BREAKS: Final = (
    Break("CollectionStoreMemberDown", "a follower hangs", _follower_hangs),
    Break("CollectionStoreNoLeader", "two of three members hang", _majority_hangs),
    Break("CollectionStoreOperatorDown", "the operator hangs", _operator_hangs),
)


@dataclass(frozen=True, slots=True)
class Fired:
    """What was seen of one break: the alert fired, and with it others, and all of them ended."""

    alert: str
    what: str
    fired_s: float
    """From the break until the alert fired."""
    cleared_s: float
    """From the end of the break until it no longer fired."""
    beside: tuple[str, ...]
    """Other alerts that fired meanwhile."""


async def firing(api: PrometheusApi) -> frozenset[str]:
    """Return the names of the alerts that fire now."""
    found = await api.query('ALERTS{alertstate="firing"}')
    return frozenset(one.labels["alertname"] for one in found)


async def provoke(api: PrometheusApi, lab: Lab, one: Break) -> Fired:
    """Break the cluster, see the alert fire, heal it, see the alert end. Raises `ObserveFailed`."""
    before = await firing(api)
    if one.alert in before:
        raise ObserveFailed(f"{one.alert} fires before anything was broken")
    async with one.during(lab):
        fired = await _until(lambda: _fires(api, one.alert), FIRES_TIMEOUT_S, f"{one.alert} fires while {one.what}")
        beside = await firing(api) - before - {one.alert}
    cleared = await _until(lambda: _quiet(api, one.alert), CLEARS_TIMEOUT_S, f"{one.alert} no longer fires")
    return Fired(one.alert, one.what, fired, cleared, tuple(sorted(beside)))


async def _fires(api: PrometheusApi, alert: str) -> bool:
    return alert in await firing(api)


async def _quiet(api: PrometheusApi, alert: str) -> bool:
    return alert not in await firing(api)


async def _until(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> float:
    """Wait for a condition; return how long that took in seconds. Raises `ObserveFailed` with `what`."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > timeout_s:
            raise ObserveFailed(f"timed out after {timeout_s:g} s waiting until {what}")
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - started
