"""A model of a whole cluster that performs the planner's actions and breaks on purpose; one seed, one history.

It stands for the runtime (pods, disks), for Raft (elections, replication, joint changes) and for the observer's bad
luck (Unknown answers). It models what the planner must not get wrong and no more: which disks hold what was committed,
who votes, who is alive. Every action is judged against the truth, not against what the planner was shown.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from collectionstore_operator.actions import (
    Action,
    AddLearners,
    ApplyObject,
    Bootstrap,
    ChangeVoters,
    EnsureWorkload,
    EstablishIdentity,
    IssueCertificate,
    MarkVolume,
    RemoveLearners,
    RestartPod,
    RetireVolume,
    TransferLeadership,
)
from collectionstore_operator.observed import (
    ABSENT,
    Absent,
    Certificate,
    Configuration,
    Failure,
    Leader,
    Member,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Volume,
    Workload,
)

CLUSTER_ID = "c0ffee"
UNKNOWN = Unknown("no answer in time")


class Unsafe(AssertionError):
    """The planner asked for something that could have cost data or the quorum."""


@dataclass
class Disk:
    """A volume with what a node has written to it; `node_id` is empty until a node started on it."""

    name: str
    node_id: str = ""
    stored: int = 0
    term: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    removed: bool = False
    damaged: bool = False
    stranded: bool = False
    """It lies on a machine that is gone: nothing can start on it."""


@dataclass
class Process:
    """A pod; it runs from `runs_at` on, unless something ails it."""

    uid: str
    revision: str
    runs_at: int
    running: bool = False
    running_since: int = 0
    ready: bool = False
    unready_since: int = 0
    failure: Failure = Failure.NONE
    ill: bool = False
    last_heard: int = 0


class SimulatedCluster:
    """The truth. Time is in whole seconds, one per `tick`."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = random.Random(seed)
        self.time = 0
        self.cluster_id = ""
        self.initialized = False
        self.bootstrap_node = ""
        self.bootstraps = 0
        self.workload: Workload | None = None
        self.pods: dict[int, Process] = {}
        self.disks: dict[int, Disk] = {}
        self.retired: list[Disk] = []
        self.configuration = Configuration()
        self.addresses: dict[str, str] = {}
        self.removed: set[str] = set()
        self.leader = ""
        self.term = 0
        self.committed = 0
        self.bad_revisions: set[str] = set()
        self.certificates: dict[tuple[str, str], Certificate] = {}
        self.catch_up_rate = 2_000
        self.joint_seen: list[Configuration] = []
        self.performed: list[Action] = []
        self._serial = 0

    # What time does

    def tick(self) -> None:
        """Let one second pass."""
        self.time += 1
        self._run_workload()
        self._run_pods()
        self._elect()
        self._replicate()
        self._leave_joint()
        self._judge_readiness()

    def _run_workload(self) -> None:
        wanted = self.workload.replicas if self.workload else 0
        for ordinal in [one for one in self.pods if one >= wanted]:
            del self.pods[ordinal]
        for ordinal in range(wanted):
            if ordinal not in self.pods and self.workload is not None:
                self._start(ordinal, self.workload.revision)

    def _start(self, ordinal: int, revision: str) -> None:
        runs_at = self.time + self.random.randint(1, 3)
        self.pods[ordinal] = Process(self._draw("uid"), revision, runs_at, unready_since=self.time)
        self.disks.setdefault(ordinal, Disk(f"data-{self.name}-{ordinal}"))

    def _run_pods(self) -> None:
        for ordinal, pod in self.pods.items():
            disk = self.disks[ordinal]
            pod.failure = self._failure(pod, disk)
            was_running = pod.running
            pod.running = pod.failure is Failure.NONE and self.time >= pod.runs_at
            if pod.ill and not pod.running and pod.failure is Failure.NONE:
                pod.failure = Failure.CRASH
            if pod.running and not was_running:
                pod.running_since = self.time
            if pod.running and not disk.node_id:
                disk.node_id = self._draw("node")

    def _failure(self, pod: Process, disk: Disk) -> Failure:
        if disk.stranded:
            return Failure.MACHINE
        if pod.revision in self.bad_revisions:
            return Failure.IMAGE
        return Failure.DISK if disk.damaged else Failure.NONE

    def _elect(self) -> None:
        alive = self.alive()
        if self.leader in alive and self.leader in self._voters() and self.quorate(alive):
            return
        self.leader = ""
        if not self.quorate(alive) or self.random.random() < 0.3:
            return
        candidates = sorted(one for one in self._voters() if one in alive)
        best = max(candidates, key=lambda one: (self.disk_of(one).stored, one))
        if self.disk_of(best).stored < self.committed:
            raise Unsafe(f"a leader was elected without {self.committed - self.disk_of(best).stored} committed entries")
        self.leader = best
        self.term += 1

    def _replicate(self) -> None:
        if not self.leader:
            return
        source = self.disk_of(self.leader)
        source.stored += self.random.randint(0, 40)
        for node_id in self.configuration.members() & self.alive():
            disk = self.disk_of(node_id)
            if node_id != self.leader:
                behind = source.stored - disk.stored
                disk.stored += behind if behind <= 100 else min(behind, self.catch_up_rate)
            disk.term, disk.configuration = self.term, self.configuration
            self.pods[self.ordinal_of(node_id)].last_heard = self.time
        self.committed = max(self.committed, min(self._durable(half) for half in self._halves()))

    def _durable(self, voters: Iterable[str]) -> int:
        stored = sorted((self._stored(one) for one in voters), reverse=True)
        return stored[len(stored) // 2]

    def _stored(self, node_id: str) -> int:
        disk = self._find(node_id)
        return disk.stored if disk else 0

    def _leave_joint(self) -> None:
        if self.configuration.joint and self.leader and self.random.random() < 0.7:
            old = self.configuration
            self._adopt(Configuration(index=old.index + 1, voters=old.voters, learners=old.learners))
            self.removed |= old.members() - self.configuration.members()

    def _judge_readiness(self) -> None:
        for ordinal, pod in self.pods.items():
            node_id = self.disks[ordinal].node_id
            lag = self.committed - self.disks[ordinal].stored
            ready = pod.running and bool(self.leader) and node_id in self.configuration.members() and lag < 1_000
            if pod.ready and not ready:
                pod.unready_since = self.time
            pod.ready = ready

    # What breaks

    def crash(self, ordinal: int) -> None:
        """End a process; the runtime starts it again in the same pod."""
        pod = self.pods[ordinal]
        if pod.running:
            pod.running, pod.runs_at = False, self.time + self.random.randint(2, 6)
            if pod.ready:
                pod.unready_since = self.time
            pod.ready = False

    def fall_ill(self, ordinal: int, seconds: int) -> None:
        """Let a process end again and again for a while; its disk stays whole."""
        self.crash(ordinal)
        self.pods[ordinal].runs_at = self.time + seconds
        self.pods[ordinal].ill = True

    def lose_disk(self, ordinal: int) -> None:
        """Empty a disk under a member, as when a machine comes back wiped."""
        self.crash(ordinal)
        self.disks[ordinal] = Disk(f"data-{self.name}-{ordinal}")

    def damage_disk(self, ordinal: int) -> None:
        """Make a disk unreadable: its node refuses it from now on."""
        self.crash(ordinal)
        self.disks[ordinal].damaged = True

    def lose_machine(self, ordinal: int) -> None:
        """Take the machine away under a pod, and the disk with it."""
        self.crash(ordinal)
        self.disks[ordinal].stranded = True

    def may_lose(self, ordinal: int) -> bool:
        """Return whether the loss of a disk is one that a cluster must survive: what is committed stays on a quorum.

        Before it is formed it need not: nobody could tell a lost disk from one with data, so a person must.
        """
        if not self.bootstraps or ordinal not in self.disks:
            return False
        node_id = self.disks[ordinal].node_id
        return self._data_survives(without=node_id)

    # What the planner is shown

    def observe(self, unknown: float = 0.0) -> Observed:
        """Look at everything; each answer is Unknown with that probability."""
        lost = [self.random.random() < unknown for _ in range(4 * 16)]
        ordinals = sorted(set(self.pods) | set(self.disks))
        slots = tuple(self._slot(ordinal, lost[4 * n : 4 * n + 3]) for n, ordinal in enumerate(ordinals))
        workload: Workload | Absent | Unknown = self.workload or ABSENT
        return Observed(
            now=1_700_000_000.0 + self.time,
            cluster_id=self.cluster_id,
            initialized=self.initialized,
            bootstrap_node=self.bootstrap_node,
            epoch=1,
            workload=UNKNOWN if lost[-1] else workload,
            slots=slots,
            certificates=tuple(self.certificates.values()),
        )

    def _slot(self, ordinal: int, lost: list[bool]) -> Slot:
        pod, disk = self.pods.get(ordinal), self.disks.get(ordinal)
        return Slot(
            ordinal=ordinal,
            pod=UNKNOWN if lost[0] else self._seen_pod(ordinal, pod) if pod else ABSENT,
            node=self._seen_node(ordinal) if pod and pod.running and not lost[1] else UNKNOWN,
            volume=UNKNOWN if lost[2] else self._seen_volume(disk) if disk else ABSENT,
        )

    def _seen_pod(self, ordinal: int, pod: Process) -> Pod:
        return Pod(
            uid=pod.uid,
            running=pod.running,
            ready=pod.ready,
            revision=pod.revision,
            unready_s=0.0 if pod.ready else float(self.time - pod.unready_since),
            failure=pod.failure,
            detail=pod.failure.value if pod.failure is not Failure.NONE else "",
            peer_address=f"{self.name}-{ordinal}:7401",
            http_address=f"http://{self.name}-{ordinal}:7400",
        )

    @staticmethod
    def _seen_volume(disk: Disk) -> Volume:
        return Volume(name=disk.name, node_id=disk.node_id or ABSENT, removed=disk.removed)

    def _seen_node(self, ordinal: int) -> NodeStatus:
        disk = self.disks[ordinal]
        leads = disk.node_id == self.leader
        member = disk.node_id in disk.configuration.members()
        fresh = disk.term == 0 and disk.stored == 0
        return NodeStatus(
            cluster_id=self.cluster_id,
            node_id=disk.node_id,
            name=f"{self.name}-{ordinal}",
            version="0.1.0",
            state="Member" if member else "Uninitialized" if fresh else "Joining",
            role="Leader" if leads else "Follower",
            term=disk.term,
            last_index=disk.stored,
            uptime_s=float(self.time - self.pods[ordinal].running_since),
            epoch=1 if disk.term else 0,
            configuration=disk.configuration,
            leader=Leader(self.leader) if self.leader else None,
            members=tuple(self._seen_member(one) for one in sorted(self.configuration.members())) if leads else (),
        )

    def _seen_member(self, node_id: str) -> Member:
        disk, alive = self._find(node_id), node_id in self.alive()
        stored = disk.stored if disk else 0
        ordinal = self.ordinal_of(node_id) if disk else -1
        heard = self.pods[ordinal].last_heard if ordinal in self.pods else 0
        return Member(
            node_id=node_id,
            name=self.addresses[node_id],
            match_index=stored,
            lag=max(0, self.committed - stored),
            active=alive,
            silent_ms=0 if alive else 1_000.0 * max(3, self.time - heard),
        )

    # What the planner asks for

    def execute(self, action: Action) -> None:
        """Perform an action, or raise Unsafe when the truth forbids it."""
        self.performed.append(action)
        match action:
            case EstablishIdentity():
                self.cluster_id = CLUSTER_ID
            case IssueCertificate():
                self._issue(action)
            case EnsureWorkload():
                self._ensure(action)
            case Bootstrap():
                self._bootstrap(action)
            case AddLearners():
                self._add_learners(action)
            case ChangeVoters():
                self._change_voters(action)
            case RemoveLearners():
                self._remove_learners(action)
            case TransferLeadership():
                self._transfer(action)
            case RestartPod():
                self._restart(action)
            case MarkVolume():
                self.disks[action.ordinal].removed = True
            case RetireVolume():
                self._retire(action)
            case ApplyObject():
                raise Unsafe("there are no objects here")

    def _issue(self, action: IssueCertificate) -> None:
        now = 1_700_000_000.0 + self.time
        self.certificates[action.kind.value, action.name] = Certificate(
            kind=action.kind,
            name=action.name,
            not_before=now,
            not_after=now + action.lifetime_s,
            names=action.names,
            authority="key",
        )

    def _ensure(self, action: EnsureWorkload) -> None:
        held = {self.ordinal_of(one) for one in self.configuration.members() if self._find(one)}
        if any(ordinal >= action.replicas for ordinal in held):
            raise Unsafe(f"{action} stops a member")
        if self.workload and action.replicas < self.workload.replicas and not action.shrinks:
            raise Unsafe(f"{action} shrinks without saying so")
        started = range(self.workload.replicas if self.workload else 0, action.replicas)
        if any(ordinal in self.disks and self.disks[ordinal].removed for ordinal in started):
            raise Unsafe(f"{action} starts a pod on the disk of a removed member")
        if not all(("Member", f"{self.name}-{ordinal}") in self.certificates for ordinal in started):
            raise Unsafe(f"{action} starts a pod without a certificate")
        self.workload = Workload(replicas=action.replicas, revision=action.revision)

    def _bootstrap(self, action: Bootstrap) -> None:
        if self.bootstraps or any(disk.stored for disk in (*self.disks.values(), *self.retired)):
            raise Unsafe("a cluster with data is bootstrapped again")
        self.bootstrap_node = action.node_id
        self.bootstraps += 1
        disk = self.disk_of(action.node_id)
        self.addresses[action.node_id] = f"{self.name}-{action.ordinal}"
        self.term = disk.term = disk.stored = self.committed = 1
        self.leader = action.node_id
        self._adopt(Configuration(index=1, voters=(action.node_id,)))
        disk.configuration = self.configuration
        # A long log, so that joining takes time.
        disk.stored = self.committed = 10_000

    def _add_learners(self, action: AddLearners) -> None:
        self._guard(action.expected_index)
        for member in action.members:
            if member.node_id in self.removed or self.disk_of(member.node_id).stored:
                raise Unsafe(f"{member.name} joins with a disk that has a past")
            self.addresses[member.node_id] = member.name
        learners = {*self.configuration.learners, *(member.node_id for member in action.members)}
        self._adopt(self._next(learners=tuple(sorted(learners))))

    def _remove_learners(self, action: RemoveLearners) -> None:
        self._guard(action.expected_index)
        gone = {member.node_id for member in action.members}
        if gone & set(self.configuration.voters):
            raise Unsafe(f"{action} removes a voter")
        self.removed |= gone
        self._adopt(self._next(learners=tuple(one for one in self.configuration.learners if one not in gone)))

    def _change_voters(self, action: ChangeVoters) -> None:
        self._guard(action.expected_index)
        old, add = self.configuration, {member.node_id for member in action.add}
        remove = {member.node_id for member in action.remove}
        if not add <= set(old.learners) or not remove <= set(old.voters):
            raise Unsafe(f"{action} does not fit {old}")
        if self.leader in remove:
            raise Unsafe("the leader is removed before it handed over")
        voters = tuple(sorted({*old.voters, *add} - remove))
        learners = tuple(one for one in old.learners if one not in add)
        self._adopt(
            Configuration(index=old.index + 1, voters=voters, outgoing=old.voters, learners=learners, joint=True)
        )
        self.joint_seen.append(self.configuration)
        self._check_change(voters)

    def _check_change(self, voters: tuple[str, ...]) -> None:
        sound = {one for one in self.alive() if self._stored(one) >= self.committed - 1_000}
        if not self.quorate(sound):
            raise Unsafe("the joint configuration has no quorum of voters that are alive and have caught up")
        if len(voters) % 2 == 0:
            raise Unsafe(f"an even number of voters: {voters}")

    def _transfer(self, action: TransferLeadership) -> None:
        if action.to.node_id not in self.configuration.voters or action.to.node_id not in self.alive():
            raise Unsafe(f"{action} hands over to nobody")
        if self.random.random() < 0.8 and self._stored(action.to.node_id) >= self.committed:
            self.leader = action.to.node_id
            self.term += 1

    def _restart(self, action: RestartPod) -> None:
        pod, node_id = self.pods[action.ordinal], self.disks[action.ordinal].node_id
        if pod.uid != action.uid:
            raise Unsafe(f"{action} is about another pod")
        before, voters = self.alive(), len(self.configuration.voters)
        if voters > 2 and self.quorate(before) and not self.quorate(before - {node_id}):
            raise Unsafe(f"{action} costs the quorum")
        del self.pods[action.ordinal]

    def _retire(self, action: RetireVolume) -> None:
        disk, pod = self.disks[action.ordinal], self.pods.get(action.ordinal)
        if pod is not None and pod.uid != action.uid:
            raise Unsafe(f"{action} is about another pod")
        if action.node_id and disk.node_id and action.node_id != disk.node_id:
            raise Unsafe(f"{action} is about another disk")
        alive = self.alive()
        if self.quorate(alive) and not self.quorate(alive - {disk.node_id}):
            raise Unsafe(f"{action} costs the quorum")
        if not self._data_survives(without=disk.node_id):
            raise Unsafe(f"{action} costs committed data")
        self.pods.pop(action.ordinal, None)
        self.retired.append(self.disks.pop(action.ordinal))

    # The truth in short

    def alive(self) -> set[str]:
        """Return the incarnations whose process runs."""
        return {self.disks[o].node_id for o, pod in self.pods.items() if pod.running and self.disks[o].node_id}

    def quorate(self, voters: set[str]) -> bool:
        """Return whether these are a majority of every half of the configuration."""
        return bool(self._halves()) and all(2 * len(voters & set(half)) > len(half) for half in self._halves())

    def disk_of(self, node_id: str) -> Disk:
        """Return the disk in use of an incarnation."""
        disk = self._find(node_id)
        if disk is None:
            raise KeyError(node_id)
        return disk

    def ordinal_of(self, node_id: str) -> int:
        """Return where the disk of an incarnation is in use."""
        return next(ordinal for ordinal, disk in self.disks.items() if disk.node_id == node_id)

    def voters_by_name(self) -> list[str]:
        """Return the names of the voters, sorted."""
        return sorted(self.addresses[one] for one in self.configuration.voters)

    def _data_survives(self, *, without: str) -> bool:
        """Return whether what is committed stays on a majority of intact disks, so that it can be elected."""
        if without not in self._voters():
            return True
        intact = {disk.node_id for disk in self.disks.values() if not disk.damaged and not disk.stranded} - {without}
        return all(2 * len(intact & set(half)) > len(half) for half in self._halves())

    def _find(self, node_id: str) -> Disk | None:
        return next((disk for disk in self.disks.values() if disk.node_id == node_id), None)

    def _voters(self) -> set[str]:
        return {*self.configuration.voters, *self.configuration.outgoing}

    def _halves(self) -> list[tuple[str, ...]]:
        return [half for half in (self.configuration.voters, self.configuration.outgoing) if half]

    def _next(self, *, learners: tuple[str, ...]) -> Configuration:
        return Configuration(index=self.configuration.index + 1, voters=self.configuration.voters, learners=learners)

    def _adopt(self, configuration: Configuration) -> None:
        self.configuration = configuration
        for node_id in configuration.members() & self.alive():
            self.disk_of(node_id).configuration = configuration

    def _guard(self, expected_index: int) -> None:
        if expected_index != self.configuration.index or self.configuration.joint or not self.leader:
            raise Unsafe(f"planned against configuration {expected_index}, it is {self.configuration}")

    def _draw(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}{self._serial:04d}"
