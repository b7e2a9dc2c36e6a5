"""The operator dies at every fault point of every procedure; the next process ends with the same result.

The procedures: create, grow, upgrade, replace a member whose disk is lost, hibernate, wake, shrink, grow again (which
retires volumes), delete. The cluster is simulated behind an API server in this process, and judges every action as in
`test_faults`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import pytest
from click.testing import CliRunner

from collectionstore_operator import faults
from collectionstore_operator.__main__ import main
from collectionstore_operator.model.access.actions import AccessAction
from collectionstore_operator.model.backups.actions import BackupAction
from collectionstore_operator.settings import InvalidSetting, OperatorSettings, Settings
from collectionstore_operator.tests.kubernetes.test_faults import CLUSTER, Life, living

SEED: Final = 31
NEVER: Final = frozenset(
    {
        # What these are about does not happen in the procedures; each has tests of its own.
        *(
            f"{name}.{edge}"
            for name in (
                "AdoptVolume",
                "CreateFinalBackup",
                "DeleteIdentity",
                "DeleteObject",
                "DeleteReleased",
                "CreateClaim",
                "DenyRequest",
                "DiscardVolumes",
                "GateWorkload",
                "GrantEnrolment",
                "GrowVolume",
                "PrepareAuthority",
                "PromoteAuthority",
                "RaiseEpoch",
                "RecordProtectedDeletion",
                "RecordRecovery",
                "ReleasePod",
                "RecordRestore",
                "RecordRestoreClaim",
                "RecordRevision",
                "RemoveLearners",
                "ReplaceWorkload",
                "RestoreIdentity",
                "RestoreLabels",
                "RetireAuthority",
                "SetReclaimPolicy",
                "SignRequest",
                "StartPod",
                "StopPod",
            )
            for edge in ("before", "after")
        ),
        # Of backups and schedules: `kubernetes.backups` has their tests.
        *(f"{kind.__name__}.{edge}" for kind in get_args(BackupAction) for edge in ("before", "after")),
        "BackupRound.observed",
        "BackupRound.published",
        # Of users and roles: `kubernetes.access` has their tests.
        *(f"{kind.__name__}.{edge}" for kind in get_args(AccessAction) for edge in ("before", "after")),
        "AccessRound.observed",
        "AccessRound.published",
        "IssueCredential.issued",
        "ApplyObject.adopted",
        "ApplyObject.cleaned",
        "DeleteIdentity.keys-deleted",
        "DeleteReleased.policy-restored",
        "DiscardVolumes.one",
        "SignRequest.approved",
        # Steps of local clusters.
        "EnsureWorkload.recorded",
        "RetireVolume.stopped",
    }
)
"""Points that the simulation does not reach; the list is checked."""


class Killed(asyncio.CancelledError):
    """The process ends here: nothing of it may catch this, as a cancellation that no code of ours may swallow."""


class Result(NamedTuple):
    """What a procedure must have come to, however often the operator died."""

    voters: tuple[str, ...]
    members: int
    revisions: int
    bootstraps: int
    retired: int


class Story:
    """All procedures, one after the other; in each the operator dies once at each of the points `kill_at`."""

    def __init__(self, life: Life, kill_at: Collection[str]) -> None:
        self.life = life
        self.kill_at = kill_at
        self.reached: set[str] = set()
        self.deaths: set[str] = set()
        self._left: set[str] = set()

    def arrive(self, point: str) -> None:
        """Be told of a point."""
        self.reached.add(point)
        if point in self._left:
            self._left.remove(point)
            self.deaths.add(point)
            self.life.world.trouble.dead = True  # `Life.round` lets the next process follow
            raise Killed

    async def run(self) -> list[Result]:
        """Run the procedures; return the result of each."""
        found = []
        with faults.armed(self.arrive):
            for procedure in (
                self._create,
                self._grow,
                self._upgrade,
                self._replace,
                self._hibernate,
                self._wake,
                self._shrink,
                self._grow,
            ):
                self._left = set(self.kill_at)
                procedure()
                await self.life.settle()
                found.append(self._result())
            self._left = set(self.kill_at)
            await self._delete()
        return found

    def _create(self) -> None:
        self.life.want(replicas=3)

    def _grow(self) -> None:
        self.life.want(replicas=5)

    def _upgrade(self) -> None:
        self.life.want(version="0.2.0")

    def _replace(self) -> None:
        self.life.world.cluster.lose_disk(1)
        self.life.world.show()

    def _hibernate(self) -> None:
        self.life.want(hibernate=True)

    def _wake(self) -> None:
        self.life.want(hibernate=False)

    def _shrink(self) -> None:
        self.life.want(replicas=3)

    async def _delete(self) -> None:
        objects = self.life.world.server.objects
        objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
        self.life.world.cluster.deleting = True
        for _ in range(80):
            if await self.life.round() == "Gone":
                break
        assert objects[CLUSTER]["metadata"]["finalizers"] == []
        assert not self.life.world.cluster.pods

    def _result(self) -> Result:
        cluster = self.life.world.cluster
        return Result(
            voters=tuple(cluster.voters_by_name()),
            members=len(cluster.configuration.members()),
            revisions=len({pod.revision for pod in cluster.pods.values()}),
            bootstraps=cluster.bootstraps,
            retired=len(cluster.retired),
        )


async def told(kill_at: Collection[str] = ()) -> tuple[Story, list[Result]]:
    """Run all procedures; return what was reached, and the results."""
    async with living(SEED) as life:
        story = Story(life, kill_at)
        return story, await story.run()


@functools.cache
def undisturbed() -> tuple[frozenset[str], tuple[Result, ...]]:
    """Return the points and the results of procedures in which nothing dies."""
    story, results = asyncio.run(told())
    return frozenset(story.reached), tuple(results)


def test_procedures_reach_every_point_that_is_not_excepted() -> None:
    reached, results = undisturbed()
    assert reached | NEVER == set(faults.POINTS)
    assert not reached & NEVER
    assert [len(one.voters) for one in results] == [3, 5, 5, 5, 5, 5, 3, 5]
    assert [one.revisions for one in results] == [1, 1, 1, 1, 0, 1, 1, 1]
    assert {one.bootstraps for one in results} == {1}


@pytest.mark.parametrize("point", sorted(one for one in set(faults.POINTS) - NEVER if not one.endswith(".before")))
def test_operator_that_dies_at_a_point_is_followed_by_one_that_finishes(point: str) -> None:
    """In each procedure that reaches it: done, and not remembered. The next process has nothing of the former one."""
    story, results = asyncio.run(told([point]))
    assert story.deaths == {point}
    assert results == list(undisturbed()[1])


def test_operator_that_dies_at_every_point_once_finishes_every_procedure() -> None:
    points = set(faults.POINTS) - NEVER
    story, results = asyncio.run(told(points))
    assert story.deaths == points
    assert results == list(undisturbed()[1])


def test_points_cost_nothing_and_do_nothing_unless_armed() -> None:
    faults.reach("RestartPod.before")
    with faults.armed(None):
        faults.reach("RestartPod.before")
    assert faults.signalling(None) is None


def test_only_the_point_that_was_named_has_an_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append((pid, number)))
    reached: Callable[[str], None] | None = faults.signalling(faults.parse("RestartPod.after:stop"))
    with faults.armed(reached):
        faults.reach("RestartPod.before")
        assert sent == []
        faults.reach("RestartPod.after")
    assert [number for _, number in sent] == [19]
    faults.reach("RestartPod.after")
    assert len(sent) == 1


@pytest.mark.parametrize("text", ["RestartPod", "RestartPod.after:explode", "Nowhere.before:kill", ":kill"])
def test_wrong_fault_points_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidSetting, match="allowed:"):
        OperatorSettings.from_environment({"COLLECTIONSTORE_FAULT_POINT": text})


def test_fault_point_is_read_from_the_environment() -> None:
    made: dict[str, Any] = {"COLLECTIONSTORE_FAULT_POINT": "Bootstrap.recorded:kill"}
    assert OperatorSettings.from_environment(made).fault == ("Bootstrap.recorded", "kill", None)
    assert OperatorSettings.from_environment({}).fault is None


def test_every_point_has_its_effect_once_also_for_later_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Noted before the signal: the process that dies there has no other chance."""
    sent: list[str] = []
    record = tmp_path / "points"
    monkeypatch.setattr("os.kill", lambda *_: sent.append(record.read_text()))
    fault = faults.parse("every:kill", str(record))
    for _ in range(2):
        with faults.armed(faults.signalling(fault)):
            faults.reach("Round.observed")
            faults.reach("RestartPod.before")
            faults.reach("Round.observed")
    assert sent == ["Round.observed\n", "Round.observed\nRestartPod.before\n"]
    record.write_text("")
    with faults.armed(faults.signalling(fault)):
        faults.reach("Round.observed")
    assert len(sent) == 3


@pytest.mark.parametrize(("point", "record"), [("every:kill", ""), ("RestartPod.after:kill", "/tmp/points")])
def test_only_every_point_needs_a_record(point: str, record: str) -> None:
    """Without one the operator would die at the same point for ever."""
    with pytest.raises(InvalidSetting, match="a record"):
        OperatorSettings.from_environment(
            {"COLLECTIONSTORE_FAULT_POINT": point, "COLLECTIONSTORE_FAULT_RECORD": record}
        )


def test_local_supervisor_has_the_same_setting() -> None:
    made = Settings.from_environment({"COLLECTIONSTORE_FAULT_POINT": "Bootstrap.recorded:kill"})
    assert made.fault == ("Bootstrap.recorded", "kill", None)
    assert Settings.from_environment({}).fault is None


def test_all_points_can_be_listed() -> None:
    result = CliRunner().invoke(main, ["--list-fault-points"])
    assert result.exit_code == 0
    assert tuple(result.output.split()) == faults.POINTS
