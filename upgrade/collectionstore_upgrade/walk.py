"""The steps of an upgrade, in order, under clients whose history is checked at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from collectionstore_testkit.clusters.local import send_signal
from collectionstore_testkit.recorded_load import RecordedLoad
from collectionstore_testkit.tools.older_version import OlderVersion, supported_level
from collectionstore_upgrade.programs import Version
from collectionstore_upgrade.rollout import Rollout, UpgradeFailed

REPLICAS: Final = 3
LARGER: Final = 5
WRITES: Final = 100
"""Acknowledged writes in every state of the cluster, so that a state in which nothing works is seen."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One upgrade and its way back. `say` prints what was done."""

    rollout: Rollout
    load: RecordedLoad
    older: OlderVersion
    say: Callable[[str], None]

    async def run(self) -> None:
        """Run all steps. Raises UpgradeFailed, ClusterFailed or PromiseBroken."""
        await self._take_over()
        first, *rest = await self.rollout.order(REPLICAS)
        await self._upgrade(first)
        await self._lead_each_other(first, rest[0])
        await self._scale_mixed()
        # While one member is of the older version the feature level is not raised, and everybody can go back.
        await self._roll(Version.OLDER, "downgraded by the operator's rollout")
        for member in await self.rollout.order(REPLICAS):
            await self._upgrade(member)
        await self._expect(Version.TODAY)
        older, today = supported_level(self.older.python), supported_level(self.rollout.programs.today)
        async with self._step(f"all members have raised the feature level to {today}"):
            await self.rollout.until(self._has_level(today), f"feature level {today}")
        if older < today:
            await self._refuse_downgrade()
        else:
            await self._roll(Version.OLDER, "downgraded by the operator's rollout at the same feature level")
        await self._roll(Version.TODAY, "restarted or upgraded by the operator's rollout")

    def _has_level(self, level: int) -> Callable[[], Awaitable[bool]]:
        async def all_have() -> bool:
            found = await self.rollout.statuses(REPLICAS)
            return len(found) == REPLICAS and {one.feature_level for one in found.values()} == {level}

        return all_have

    async def _refuse_downgrade(self) -> None:
        """See that the older version refuses data of the raised level, and that today's goes on with it unharmed."""
        member = (await self.rollout.order(REPLICAS))[0]
        async with self._step(f"{member} refuses to be downgraded, and is upgraded again"):
            await self.rollout.refuse(member, Version.OLDER)
            await self.rollout.bring_back(member, Version.TODAY, REPLICAS)
        await self._expect(Version.TODAY)

    async def _take_over(self) -> None:
        """Replace the older supervisor by today's, which adopts the members without restarting them."""
        cluster = self.rollout.cluster
        before = {name: one.pid for name, one in (await self.rollout.statuses(REPLICAS)).items()}
        supervisor = cluster.supervisor_pid()
        send_signal(supervisor, signal.SIGTERM)
        await self.rollout.until(_exited(supervisor), "the older supervisor has exited")
        async with self._step("today's supervisor adopts the members of the older one"):
            await cluster.resume()
        found = self.rollout.programs.running(cluster.supervisor_pid())
        if found is not Version.TODAY:
            raise UpgradeFailed(f"the supervisor runs {found}, not today's version")
        after = {name: one.pid for name, one in (await self.rollout.statuses(REPLICAS)).items()}
        if before != after:
            raise UpgradeFailed(f"the new supervisor restarted members: {before} became {after}")

    async def _upgrade(self, member: str) -> None:
        async with self._step(f"{member} upgraded"):
            await self.rollout.replace(member, Version.TODAY, REPLICAS)

    async def _lead_each_other(self, upgraded: str, older: str) -> None:
        async with self._step(f"{upgraded} (today) leads older followers"):
            await self.rollout.transfer(upgraded, REPLICAS)
        async with self._step(f"{older} (older) leads a follower of today"):
            await self.rollout.transfer(older, REPLICAS)

    async def _scale_mixed(self) -> None:
        """Add a member of each version, which both start from a snapshot, and remove them again."""
        cluster, programs = self.rollout.cluster, self.rollout.programs
        await self.rollout.until(self._compacted, "the leader has compacted its log: new members need a snapshot")
        programs.choose(cluster.member(REPLICAS), Version.OLDER)
        programs.choose(cluster.member(REPLICAS + 1), Version.TODAY)
        async with self._step("scaled to five with a new member of each version, by snapshot"):
            await cluster.apply({"replicas": LARGER})
        found = {version for version in (await self.rollout.versions(LARGER)).values() if version is not None}
        if found != set(Version):
            raise UpgradeFailed(f"members run {found}, not both versions")
        async with self._step("scaled back to three"):
            await cluster.apply({"replicas": REPLICAS})

    async def _compacted(self) -> bool:
        return (await self.rollout.leader(REPLICAS)).first_index > 1

    async def _roll(self, version: Version, what: str) -> None:
        async with self._step(what):
            await self.rollout.roll(version, REPLICAS)
        await self._expect(version)

    async def _expect(self, version: Version) -> None:
        found = await self.rollout.versions(REPLICAS)
        if set(found.values()) != {version}:
            raise UpgradeFailed(f"all members should run {version.value}; they run {found}")

    @asynccontextmanager
    async def _step(self, what: str) -> AsyncIterator[None]:
        """Say a step once it is done, and see that clients can write in the state it leads to."""
        began = self.load.now()
        yield
        before = self.load.writes()
        await self.rollout.until(self._written(before), f"{WRITES} writes after: {what}")
        self.say(f"{what}: {self.load.now() - began:.1f} s, {self.load.counts()}")

    def _written(self, before: int) -> Callable[[], Awaitable[bool]]:
        async def enough() -> bool:
            return self.load.writes() >= before + WRITES

        return enough


def _exited(pid: int) -> Callable[[], Awaitable[bool]]:
    async def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return gone
