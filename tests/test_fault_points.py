"""The supervisor of a local cluster dies at every fault point of every procedure, while clients work.

Real nodes, and a supervisor that is started again whenever it has died. In each procedure it dies at each point that it
reaches, once (`every:kill`); the procedure must end with the cluster as if nothing had happened, and what clients were
told must be linearizable.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from collectionstore_local.processes.supervisor_process import MODULE, is_supervised
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_local.state.published_status import read_status
from collectionstore_operator import faults
from collectionstore_operator.status.published import Status
from collectionstore_testkit.clusters.local import LocalCluster, make_folder
from collectionstore_testkit.clusters.ports import free_base_port
from collectionstore_testkit.histories.checker import Linearizable, check
from collectionstore_testkit.recorded_load import RecordedLoad

pytestmark = pytest.mark.xdist_group("real_cluster")

TIMEOUT_S: Final = 240.0
POLL_S: Final = 0.05
SEED: Final = 23
Ended: TypeAlias = Callable[[Status, Status], bool]
"""Whether a procedure has ended, from the status before it and the one now."""
EVERY_ROUND: Final = frozenset({"Round.observed", "Round.published"})


class Keeper:
    """Starts the supervisor again whenever it has died, for as long as it keeps."""

    def __init__(self, directory: ClusterDirectory, record: Path, armed: Mapping[str, str]) -> None:
        """`armed` are the variables of the environment that let a supervisor die, and note it in `record`."""
        self._directory = directory
        self._record = record
        self._environment = {**os.environ, **armed}

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Keep a supervisor for the block, which dies at every point once; after it none of these runs."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def points(self) -> frozenset[str]:
        """Return the passed points, and those at which a supervisor has died since the last `forget`."""
        return frozenset(self._record.read_text().split())

    def forget(self, passed: frozenset[str]) -> None:
        """Let every point but the `passed` have its effect once more."""
        self._record.write_text("".join(f"{one}\n" for one in passed))

    def disarm(self) -> None:
        """Let no point have its effect any more."""
        self._record.write_text("\n".join(faults.POINTS))

    async def _keep(self) -> None:
        while True:
            if is_supervised(self._directory) or not self._directory.resource.exists():
                await asyncio.sleep(POLL_S)
                continue
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", MODULE, str(self._directory.path)),
                env=self._environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                # As csctl starts it: nodes must not end with the session of a supervisor.
                start_new_session=True,
            )
            try:
                await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()


class Procedures:
    """The procedures of one cluster, each through all its points."""

    def __init__(self, cluster: LocalCluster, keeper: Keeper) -> None:
        self._cluster = cluster
        self._keeper = keeper
        self.died_at: set[str] = set()
        self._directory = ClusterDirectory(cluster.state / cluster.name)

    async def run(
        self,
        what: str,
        expected: set[str],
        begin: Callable[[], Awaitable[object]],
        ended: Ended,
        *,
        members: int,
        passed: frozenset[str] = frozenset(),
    ) -> None:
        """Begin a procedure and wait until it has `ended`; the supervisor must have died around all `expected`.

        `passed` are points at which it does not die: who dies within an action does not come to its end.
        """
        before = self.status()
        self._keeper.forget(passed)
        await begin()
        async with asyncio.timeout(TIMEOUT_S):
            while not self._over(ended, before, members):  # noqa: ASYNC110  # a file that other processes write
                await asyncio.sleep(POLL_S)
        died_at = self._keeper.points() - passed
        within = {point.partition(".")[0] for point in died_at if point in faults.INNER}
        ends = {f"{name}.after" for name in expected - within}
        due = {f"{name}.before" for name in expected} | ends | EVERY_ROUND
        assert died_at >= due, f"{what}: never reached {sorted(due - died_at)}; died at {sorted(died_at)}"
        self.died_at |= died_at

    def status(self) -> Status:
        """Return the status that was published last."""
        return read_status(self._directory) or Status()

    def _over(self, holds: Ended, before: Status, members: int) -> bool:
        status = self.status()
        ready = status.condition("Ready")
        return (
            ready is not None
            and ready.status == "True"
            and not status.plan
            and status.ready_members == members
            and len(status.configuration.voters) == members
            and holds(before, status)
        )


def another_size(before: Status, status: Status) -> bool:
    """The number of voters has changed."""
    return len(before.configuration.voters) != len(status.configuration.voters)


def another_revision(before: Status, status: Status) -> bool:
    """All members run with a new revision."""
    voters = [one for one in status.members if one.name in status.configuration.voters]
    return status.revision != before.revision and all(one.updated for one in voters)


def another_member(before: Status, status: Status) -> bool:
    """A voter has another node ID."""
    return _ids(status) != _ids(before)


def another_key(before: Status, status: Status) -> bool:
    """Another key signs, and is the only one that is trusted."""
    return status.authority.phase == "Steady" and status.authority.key not in ("", before.authority.key)


def _ids(status: Status) -> dict[str, str]:
    return {one.name: one.node_id for one in status.members if one.name in status.configuration.voters}


LOCAL_POINTS: Final = frozenset(
    {
        *(
            f"{name}.{edge}"
            for name in (
                "AddLearners",
                "Bootstrap",
                "ChangeVoters",
                "EnsureWorkload",
                "EstablishIdentity",
                "IssueCertificate",
                "MarkVolume",
                "PrepareAuthority",
                "PromoteAuthority",
                "PublishAuthority",
                "RecordInitialized",
                "RestartPod",
                "RetireAuthority",
                "RetireVolume",
                "StartPod",
                "TransferLeadership",
            )
            for edge in ("before", "after")
        ),
        "Bootstrap.recorded",
        "EnsureWorkload.recorded",
        "RetireVolume.kept",
        "RetireVolume.stopped",
        *EVERY_ROUND,
    }
)
"""What the procedures reach together."""


async def test_supervisor_that_dies_at_every_point_finishes_every_procedure(tmp_path: Path) -> None:
    """Restart stands for an upgrade: the same rollout, since a local cluster has the version of its installation."""
    record = tmp_path / "points"
    record.touch()
    armed = {"COLLECTIONSTORE_FAULT_POINT": "every:kill", "COLLECTIONSTORE_FAULT_RECORD": str(record)}
    cluster = LocalCluster(make_folder("faults"), free_base_port(50, within=range(20_000, 30_000)), armed, "faults")
    keeper = Keeper(ClusterDirectory(cluster.state / cluster.name), record, armed)
    try:
        async with keeper.keeping():
            await _through_all(cluster, keeper)
        keeper.disarm()
    finally:
        await cluster.stop(keep=False)
        shutil.rmtree(cluster.folder, ignore_errors=True)


async def _through_all(cluster: LocalCluster, keeper: Keeper) -> None:
    through = Procedures(cluster, keeper)

    def csctl(*words: str) -> Callable[[], Awaitable[str]]:
        return functools.partial(cluster.csctl, *words, timeout_s=TIMEOUT_S)

    create = functools.partial(cluster.start, 3, {"snapshot": {"commands": 1_000}}, timeout_s=TIMEOUT_S)
    created = {"EstablishIdentity", "IssueCertificate", "EnsureWorkload", "Bootstrap", "AddLearners", "ChangeVoters"}
    await through.run("create", created, create, another_size, members=3)
    load = RecordedLoad(lambda: cluster.urls(3), seed=SEED, clients=4, rate=40.0)
    try:
        async with load.working():
            up, down = (csctl("scale", f"--replicas={count}", "--no-wait") for count in (5, 3))
            rotation = {"PrepareAuthority", "PromoteAuthority", "RetireAuthority", "PublishAuthority"}
            joins = {"EnsureWorkload", "AddLearners", "ChangeVoters"}
            await through.run("scale up", joins, up, another_size, members=5)
            leaves, whole = {"ChangeVoters", "EnsureWorkload"}, frozenset({"EnsureWorkload.recorded"})
            await through.run("scale down", leaves, down, another_size, members=3, passed=whole)
            again, whole = joins | {"RetireVolume"}, frozenset({"RetireVolume.stopped", "RetireVolume.kept"})
            await through.run("scale up again", again, up, another_size, members=5, passed=whole)
            await through.run("upgrade", {"RestartPod"}, csctl("restart", "--no-wait"), another_revision, members=5)
            replaced = {"ChangeVoters", "RetireVolume", "AddLearners"}
            await through.run("replace", replaced, csctl("replace", cluster.member(1)), another_member, members=5)
            rotate = csctl("rotate-authority", "--no-wait")
            await through.run("rotate certificates", rotation, rotate, another_key, members=5)
        missed = LOCAL_POINTS - through.died_at
        assert not missed, sorted(missed)
        await load.read_all()
    finally:
        await load.close()
    verdict = check(load.history)
    assert verdict.linearizable is Linearizable.YES, verdict.explanation
    assert load.writes() > 0
