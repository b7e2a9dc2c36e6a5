"""Restarts members one after the other with another version, and waits until each is a full member again."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, send_signal
from collectionstore_testkit.clusters.node_status import Nodes, Status
from collectionstore_upgrade.programs import Programs, Version

RESTART_S: Final = 60.0
"""How long one member may take to be a full member again."""
ROLLOUT_S: Final = 180.0
POLL_S: Final = 0.05
LAG_MAX: Final = 100
"""Entries; a member that lags less keeps up with the load."""

T = TypeVar("T")


class UpgradeFailed(Exception):
    """The cluster did not do what an upgrade requires; the text says what."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Members `[0, replicas)` of a cluster, and what each of them runs."""

    cluster: LocalCluster
    programs: Programs
    nodes: Nodes

    async def statuses(self, replicas: int) -> dict[str, Status]:
        """Return the status of every member that answers, by name."""
        found = await self.nodes.statuses(self.cluster.urls(replicas))
        return {status.name: status for status in found.values()}

    async def leader(self, replicas: int) -> Status:
        """Return the status of the leader. Raises ClusterFailed."""
        return (await self.nodes.leader(self.cluster.urls(replicas)))[1]

    async def order(self, replicas: int) -> list[str]:
        """Return the members, followers first and the leader last. Raises ClusterFailed."""
        leader = (await self.leader(replicas)).name
        return [*(name for name in map(self.cluster.member, range(replicas)) if name != leader), leader]

    async def replace(self, member: str, version: Version, replicas: int) -> None:
        """Stop a member in order, and return when it runs `version` as a voter that keeps up. Raises UpgradeFailed."""
        before = await self.until(
            lambda: self.nodes.status(self.cluster.url_of(member)), f"{member} answers before its restart"
        )
        self.programs.choose(member, version)
        send_signal(before.pid, signal.SIGTERM)
        await self.until(
            lambda: self._is_whole(member, before, replicas), f"{member} is a voter again as {version.value}"
        )
        if (found := await self.version(member)) is not version:
            raise UpgradeFailed(f"{member} runs {found}, not {version}")

    async def refuse(self, member: str, version: Version) -> None:
        """Restart a member as `version`, and return when that has refused its data. Raises UpgradeFailed."""
        before = await self.until(
            lambda: self.nodes.status(self.cluster.url_of(member)), f"{member} answers before its restart"
        )
        [log] = [path for path in self.cluster.node_logs() if path.parent.name == member]
        known = len(_refusals(log))
        self.programs.choose(member, version)
        send_signal(before.pid, signal.SIGTERM)

        async def has_refused() -> bool:
            return len(_refusals(log)) > known

        await self.until(has_refused, f"{member} refuses its data as {version.value}")

    async def bring_back(self, member: str, version: Version, replicas: int) -> None:
        """Let a member that cannot start run `version`; return when it keeps up again. Raises UpgradeFailed."""
        self.programs.choose(member, version)
        seen = (await self.leader(replicas)).member(member)
        if seen is None:
            raise UpgradeFailed(f"{member} is no member any more")

        async def is_back() -> bool:
            status = await self.nodes.status(self.cluster.url_of(member))
            if status is None:
                return False
            if status.node_id != seen.node_id:
                raise UpgradeFailed(f"{member} came back as another node: {status.node_id} instead of {seen.node_id}")
            leader = (await self.leader(replicas)).member(member)
            return leader is not None and leader.lag is not None and leader.lag < LAG_MAX

        await self.until(is_back, f"{member} is a voter again as {version.value}")

    async def version(self, member: str) -> Version | None:
        """Return which version a member runs, None if it does not answer."""
        status = await self.nodes.status(self.cluster.url_of(member))
        return None if status is None else self.programs.running(status.pid)

    async def versions(self, replicas: int) -> dict[str, Version | None]:
        """Return which version each member runs."""
        names = [self.cluster.member(ordinal) for ordinal in range(replicas)]
        return dict(zip(names, await asyncio.gather(*map(self.version, names)), strict=True))

    async def roll(self, version: Version, replicas: int) -> None:
        """Restart all members in the operator's own order (`csctl local restart`). Raises ClusterFailed."""
        self.programs.choose_all(version)
        await self.cluster.csctl("restart", "--timeout", f"{ROLLOUT_S:g}", timeout_s=ROLLOUT_S + 15)

        async def all_run() -> bool:
            # On a busy machine a member may not answer in time, although it was ready a moment ago.
            found = await self.versions(replicas)
            if set(found.values()) - {version, None}:
                raise UpgradeFailed(f"after the rollout to {version.value} members run {found}")
            return None not in found.values()

        await self.until(all_run, f"all members answer after the rollout to {version.value}")

    async def transfer(self, to: str, replicas: int) -> None:
        """Hand leadership to a member. Raises UpgradeFailed."""
        leader, target = await self.leader(replicas), (await self.statuses(replicas))[to]
        url = f"{self.cluster.url_of(leader.name)}/api/v1/cluster/transfer-leadership"
        body, headers = {"node_id": target.node_id}, self.cluster.admin_headers
        async with self.nodes.session.post(url, json=body, headers=headers) as answer:
            text = await answer.text()
        if answer.status != 200:
            raise UpgradeFailed(f"{leader.name} did not hand over to {to}: {answer.status} {text}")
        if (found := (await self.leader(replicas)).name) != to:
            raise UpgradeFailed(f"{found} leads instead of {to}: {json.loads(text)}")

    async def until(self, holds: Callable[[], Awaitable[T | None]], what: str, timeout_s: float = RESTART_S) -> T:
        """Return the first value of `holds` that is not None or False. Raises UpgradeFailed after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if found := await holds():
                        return found
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise UpgradeFailed(f"not within {timeout_s:g} s: {what}") from None

    async def agree(self, replicas: int) -> bool:
        """Return whether all members have applied the same entries and hold the same state."""
        found = await self.statuses(replicas)
        return len(found) == replicas and len({(one.applied_index, one.state_digest) for one in found.values()}) == 1

    async def _is_whole(self, member: str, before: Status, replicas: int) -> bool:
        try:
            own, leader = await self.nodes.status(self.cluster.url_of(member)), await self.leader(replicas)
        except (ClusterFailed, aiohttp.ClientError):
            return False
        seen = leader.member(member)
        if own is None or own.pid == before.pid or seen is None:
            return False
        if own.node_id != before.node_id:
            raise UpgradeFailed(f"{member} came back as another node: {own.node_id} instead of {before.node_id}")
        keeps_up = own.leads or (bool(seen.active) and seen.lag is not None and seen.lag < LAG_MAX)
        return seen.node_id in leader.configuration.voters and keeps_up


def _refusals(log: Path) -> list[str]:
    """Return the lines of a node's log in which a version refuses the format of its data."""
    return [line for line in log.read_text().splitlines() if '"node.refused"' in line and "has data format" in line]
