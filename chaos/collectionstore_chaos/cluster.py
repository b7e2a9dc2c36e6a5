"""The cluster under test: a local cluster, its members by name, and what they report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collectionstore_testkit.clusters.local import LocalCluster
from collectionstore_testkit.clusters.members import Members
from collectionstore_testkit.clusters.node_status import Nodes, Status

NAME: Final = "chaos"
UP_TIMEOUT_S: Final = 120.0
SNAPSHOT_COMMANDS: Final = 1_000
"""The lowest value allowed, so that members that were down for a while need snapshots."""
LAG_MAX: Final = 100
"""In entries: a member with less counts as up to date."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A local cluster that is created with `size` members."""

    local: LocalCluster
    members: Members
    nodes: Nodes
    size: int

    def founders(self) -> list[str]:
        """Return the members of the initial size, running or not."""
        return [self.local.member(ordinal) for ordinal in range(self.size)]

    async def start(self) -> None:
        """Start the cluster and wait until it is Ready. Raises ClusterFailed."""
        await self.local.start(self.size, {"snapshot": {"commands": SNAPSHOT_COMMANDS}}, timeout_s=UP_TIMEOUT_S)

    async def status(self, name: str) -> Status | None:
        """Return a member's status, None if it does not answer."""
        return await self.nodes.status(self.local.url_of(name))

    async def statuses(self) -> dict[str, Status]:
        """Return the status of each member that answers, by name."""
        urls = {self.local.url_of(name): name for name in self.members.running()}
        return {urls[url]: status for url, status in (await self.nodes.statuses(list(urls))).items()}

    async def leader(self) -> Status | None:
        """Return the status of the leader with the highest term, None if there is no leader."""
        leaders = [one for one in (await self.statuses()).values() if one.leads]
        return max(leaders, key=lambda one: one.term, default=None)

    async def is_whole(self, name: str, *, not_as: str = "") -> bool:
        """Return whether a member is an active voter and up to date, with another node ID than `not_as`."""
        leader, own = await self.leader(), await self.status(name)
        if leader is None or own is None or own.node_id == not_as:
            return False
        mine = [member for member in leader.members if member.name == name]
        return (
            len(mine) == 1
            and mine[0].node_id == own.node_id
            and own.node_id in leader.configuration.voters
            and not leader.configuration.joint
            and (own.leads or (bool(mine[0].active) and mine[0].lag is not None and mine[0].lag < LAG_MAX))
        )
