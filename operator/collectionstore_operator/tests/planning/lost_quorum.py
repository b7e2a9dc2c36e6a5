"""A cluster of three whose disks can be lost, and a runtime that does what the planner asks: the truth of a recovery.

It judges every action: a disk of a member is never deleted, none is set aside while anything runs, and at most one
survivor forms a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    ChangeVoters,
    EnsureWorkload,
    RecordInitialized,
    RecordRecovery,
    RemoveLearners,
    RestartPod,
    RetireVolume,
    TransferLeadership,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    Configuration,
    Failure,
    Member,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.model.recovery import RecoveryPhase, RecoveryRecord
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired, FailedMember, Spec
from collectionstore_operator.resource.recovery import Recovery
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.recovery_status import RecoveryStatus, lost_since
from collectionstore_operator.status.report import report

START = 1_787_832_000.0
GRACE_S = 60
OLD = "0123456789abcdef"
NODES = tuple(f"{10 + ordinal:016x}" for ordinal in range(3))


@dataclass
class Disk:
    """What is on a volume; `cluster_id` and `node_id` are empty until a node started on it."""

    cluster_id: str = ""
    node_id: str = ""
    term: int = 0
    index: int = 0
    uid: str = ""


@dataclass
class World:
    """The truth: disks, processes, and what the operator has recorded."""

    disks: dict[int, Disk] = field(default_factory=dict)
    running: dict[int, bool] = field(default_factory=dict)
    """Whether a pod's node responds, by ordinal of the pods that exist."""
    replicas: int = 3
    cluster_id: str = OLD
    record: RecoveryRecord | None = None
    configuration: Configuration = field(default_factory=lambda: Configuration(index=7, voters=NODES))
    now: float = START
    status: Status | None = None
    recovery: Recovery | None = None
    kept: list[Disk] = field(default_factory=list)
    formed: list[str] = field(default_factory=list)
    """IDs of the clusters that a survivor has formed, with its node ID."""
    unseen: set[int] = field(default_factory=set)
    """Ordinals whose volume cannot be observed."""
    lost: set[int] = field(default_factory=set)
    """Ordinals whose claim is bound to a volume that does not exist any more."""
    serial: int = 0
    names: dict[str, str] = field(default_factory=lambda: {node: f"demo-{o}" for o, node in enumerate(NODES)})
    """Of every incarnation that there ever was."""

    @property
    def desired(self) -> Desired:
        spec = Spec(recovery=self.recovery, failed_member=FailedMember(grace_seconds=GRACE_S))
        return Desired(name="demo", spec=spec)

    def offered(self) -> RecoveryStatus:
        """Return status.recovery."""
        return (self.status or Status()).recovery

    # What breaks

    def lose(self, ordinal: int) -> None:
        """Take a disk away, with its claim; the controller starts the pod on a new one."""
        self.serial += 1
        self.disks[ordinal] = Disk(uid=f"claim-{ordinal}-{self.serial}")
        self._start(ordinal)

    def take(self, ordinal: int) -> None:
        """Take a disk away, with its claim, and its pod: nothing has come back yet."""
        self.disks.pop(ordinal, None)
        self.running.pop(ordinal, None)

    def stop(self, ordinal: int) -> None:
        """Let a pod not start; its disk stays."""
        self.running[ordinal] = False

    # What the operator does

    def observe(self) -> Observed:
        leader = self._leader()
        before = self.status
        return Observed(
            now=self.now,
            cluster_id=self.cluster_id,
            initialized=True,
            initialized_recorded=True,
            epoch=3,
            recovery=self.record,
            quorum_lost_since=lost_since(before.recovery) if before else 0.0,
            workload=Workload(replicas=self.replicas, revision=revision(self.desired)),
            slots=tuple(self._slot(ordinal, leader) for ordinal in range(3)),
        )

    def look(self) -> Plan:
        """Return the plan, and publish the status."""
        assessment = assess(self.desired, self.observe())
        planned = plan(assessment)
        self.status = report(assessment, planned, self.status)
        return planned

    def round(self, actions_max: int = 99) -> list[Action]:
        """Perform the first actions of a plan, as an operator that is killed after them; return them."""
        performed = list(self.look().actions[:actions_max])
        for action in performed:
            self.perform(action)
        self.now += 5
        return performed

    def perform(self, action: Action) -> None:
        """Do what is asked, or fail where the truth forbids it."""
        match action:
            case RecordRecovery():
                self._record(action)
            case EnsureWorkload():
                self.replicas = action.replicas
                for ordinal in range(3):
                    if ordinal >= action.replicas:
                        self.running.pop(ordinal, None)
                    elif ordinal not in self.running:
                        self._start(ordinal)
            case RetireVolume():
                self._retire(action)
            case AddLearners():
                new = {*self.configuration.learners, *(one.node_id for one in action.members)}
                self._adopt(voters=self.configuration.voters, learners=tuple(sorted(new)))
            case ChangeVoters():
                added = {one.node_id for one in action.add}
                voters = ({*self.configuration.voters} | added) - {one.node_id for one in action.remove}
                learners = tuple(one for one in self.configuration.learners if one not in added)
                self._adopt(voters=tuple(sorted(voters)), learners=learners)
            case RemoveLearners():
                gone = {one.node_id for one in action.members}
                learners = tuple(one for one in self.configuration.learners if one not in gone)
                self._adopt(voters=self.configuration.voters, learners=learners)
            case RecordInitialized() | TransferLeadership() | RestartPod():
                pass
            case _:
                raise AssertionError(f"{action} is no part of a recovery")

    def _retire(self, action: RetireVolume) -> None:
        disk = self.disks[action.ordinal]
        assert action.keep, f"{action} deletes a disk"
        if self.record is not None and self.record.active:
            assert not self.running, f"{action} while {self.running} run"
            assert action.ordinal != self.record.ordinal, f"{action} takes the survivor's disk"
        else:
            others = {self.disks[one].node_id for one in self.disks if one != action.ordinal}
            assert disk.node_id not in self.configuration.voters or len(others & {*self.configuration.voters}) > 1
        self.kept.append(self.disks.pop(action.ordinal))
        self.lost.discard(action.ordinal)
        if self.running.pop(action.ordinal, None) is not None:
            self._start(action.ordinal)

    def _record(self, action: RecordRecovery) -> None:
        if not recoveries.precedes(self.record, action.record, action.before, self.cluster_id):
            return  # refused: another operator was faster
        self.record = action.record
        if action.record.phase is RecoveryPhase.FORMING:
            self.cluster_id = action.record.cluster_id

    def _start(self, ordinal: int) -> None:
        """Start a pod, and let its node do what a node does with its disk and its instruction."""
        self.serial += 1
        disk = self.disks.setdefault(ordinal, Disk(uid=f"claim-{ordinal}-{self.serial}"))
        told = recoveries.instruction(self.record)
        if told and told.split("/")[0] == f"demo-{ordinal}" and disk.cluster_id != self.cluster_id:
            _, node_id, old, _ = told.split("/")
            if (disk.node_id, disk.cluster_id) == (node_id, old):
                self.serial += 1
                disk.cluster_id, disk.node_id = self.cluster_id, f"{0x1000 + self.serial:016x}"
                disk.term += 1
                self.formed.append(self.cluster_id)
                self.configuration = Configuration(index=disk.index, voters=(disk.node_id,))
        if not disk.node_id:
            disk.cluster_id, disk.node_id = self.cluster_id, f"{0x2000 + self.serial:016x}"
        self.names[disk.node_id] = f"demo-{ordinal}"
        self.running[ordinal] = disk.cluster_id == self.cluster_id

    def _adopt(self, *, voters: tuple[str, ...], learners: tuple[str, ...]) -> None:
        self.configuration = Configuration(index=self.configuration.index + 1, voters=voters, learners=learners)
        for disk in self.disks.values():
            if disk.node_id in {*voters, *learners}:
                best = max(self.disks.values(), key=lambda one: (one.term, one.index))
                disk.term, disk.index = best.term, best.index

    def _leader(self) -> int | None:
        up = [o for o, runs in self.running.items() if runs and self.disks[o].node_id in self.configuration.voters]
        if 2 * len(up) <= len(self.configuration.voters):
            return None
        return max(up, key=lambda one: (self.disks[one].term, self.disks[one].index, one))

    def _slot(self, ordinal: int, leader: int | None) -> Slot:
        disk, up = self.disks.get(ordinal), self.running.get(ordinal)
        pod: Pod | Absent = ABSENT
        if up is not None:
            pod = Pod(
                uid=f"pod-{ordinal}",
                running=up,
                ready=up and leader is not None,
                unready_s=0.0 if up and leader is not None else 600.0,
                failure=Failure.NONE if up else Failure.IMAGE,
                revision=revision(self.desired),
                peer_address=f"demo-{ordinal}:7401",
                http_address=f"https://demo-{ordinal}:7400",
            )
        volume: Volume | Absent | Unknown = ABSENT
        if ordinal in self.unseen:
            volume = Unknown("the API server does not answer")
        elif disk is not None:
            volume = Volume(
                name=f"data-demo-{ordinal}", uid=disk.uid, node_id=disk.node_id or ABSENT, lost=ordinal in self.lost
            )
        node: NodeStatus | Unknown = Unknown("its process does not run")
        if disk is not None and up:
            node = self._node(ordinal, disk, leader)
        return Slot(ordinal=ordinal, pod=pod, node=node, volume=volume)

    def _node(self, ordinal: int, disk: Disk, leader: int | None) -> NodeStatus:
        member = disk.node_id in self.configuration.members()
        members = tuple(
            Member(one, name=f"demo-{o}", match_index=disk.index, lag=0, active=True, silent_ms=1.0)
            for o, other in self.disks.items()
            if (one := other.node_id) in self.configuration.members() and self.running.get(o)
        )
        known = tuple(Member(one, name=self.names[one]) for one in self.configuration.members() if one in self.names)
        return NodeStatus(
            cluster_id=disk.cluster_id,
            node_id=disk.node_id,
            name=f"demo-{ordinal}",
            state="Member" if member else "Uninitialized",
            role="Leader" if leader == ordinal else "Follower",
            term=disk.term,
            last_log_term=disk.term,
            last_index=disk.index,
            commit_index=disk.index,
            revision=disk.index,
            configuration=self.configuration if member else Configuration(),
            members=(members if leader == ordinal else known) if member else (),
        )


def healthy() -> World:
    """Return a cluster of three whose logs end at 100, 99 and 98 in term 4."""
    disks = {o: Disk(OLD, NODES[o], 4, 100 - o, f"claim-{o}") for o in range(3)}
    return World(disks=disks, running=dict.fromkeys(range(3), True))


def two_lost() -> World:
    """Return a cluster that has lost the disks of 0 and 1, for longer than the grace time."""
    world = healthy()
    world.lose(0)
    world.lose(1)
    wait(world)
    return world


def wait(world: World) -> None:
    """Let the grace time pass."""
    world.round()
    world.now += GRACE_S
    world.look()


def acknowledge(world: World, nonce: str | None = None, survivor: str | None = None) -> None:
    """Copy the nonce of the status into the spec."""
    world.recovery = Recovery(nonce=nonce or world.offered().nonce, survivor=survivor)


def settle(world: World, rounds: int = 40) -> None:
    """Run rounds until nothing remains to be done."""
    for _ in range(rounds):
        world.round()
        if world.look().converged:
            return
    raise AssertionError(f"not settled: {world.look().steps}")


def blocker(planned: Plan) -> str:
    """Return what the recovery waits for."""
    return next(step.blocked_by for step in planned.steps if step.name == "RecoverQuorum")


def with_recovery(world: World, **fields: object) -> Desired:
    """Return the desired state with other fields of the spec."""
    return msgspec.structs.replace(world.desired, spec=msgspec.structs.replace(world.desired.spec, **fields))
