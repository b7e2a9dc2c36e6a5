"""A model of a whole cluster that breaks on purpose; one seed, one history.

It stands for the runtime (pods, disks) and for Raft (elections, replication, joint changes), and models what a planner
must not get wrong and no more: which disks hold what was committed, who votes, who is alive. `simulated_look` shows it
to the planner, `simulated_actions` performs what that asks for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from collectionstore_operator.model.certificate_lifetimes import renew_at
from collectionstore_operator.model.observed import Certificate, Configuration, Failure, SigningRequest, Workload
from collectionstore_operator.model.planned_work import PlannedWork

ZONES = 3
EPOCH_S = 1_700_000_000.0
"""Unix seconds at which every simulated cluster begins."""


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
    """Its machine is lost: no pod can start on it."""


@dataclass
class Process:
    """A pod; it runs from `runs_at` on, unless it has a failure."""

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
    replace_requested: bool = False
    certificate: Certificate | None = None
    """The one that the operator signed for it; only where nodes request theirs."""


class SimulatedCluster:
    """The truth. Time is in whole seconds, one per `tick`.

    With `requests` nodes generate their keys and request their certificates, as on Kubernetes; otherwise the operator
    issues all of them.
    """

    def __init__(self, name: str, seed: int, *, requests: bool = False) -> None:
        self.name = name
        self.random = random.Random(seed)
        self.time = 0
        self.cluster_id = ""
        self.initialized = False
        self.bootstrap_node = ""
        self.bootstraps = 0
        self.planned_work = PlannedWork()
        self.deleting = False
        """The user has asked for all of it to stop."""
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
        self.requests: dict[int, SigningRequest] | None = {} if requests else None
        self.catch_up_rate = 2_000
        self.joint_seen: list[Configuration] = []
        self._start_delays: dict[int, int] = {}
        self._serial = 0

    # What time does

    def tick(self) -> None:
        """Let one second pass."""
        self.time += 1
        self._run_workload()
        self._request_certificates()
        self._run_pods()
        self._elect()
        self._replicate()
        self._leave_joint()
        self._judge_readiness()

    def _run_workload(self) -> None:
        if self.workload is None:
            return  # the workload controller is stopped: no pod is started or deleted
        make_desired = self.workload.replicas
        for ordinal in [one for one in self.pods if one >= make_desired]:
            del self.pods[ordinal]
        for ordinal in range(make_desired):
            if ordinal not in self.pods:
                self._start(ordinal, self.workload.revision)

    def _start(self, ordinal: int, revision: str) -> None:
        runs_at = self.time + self._start_delays.pop(ordinal, self.random.randint(1, 3))
        self.pods[ordinal] = Process(self.draw("uid"), revision, runs_at, unready_since=self.time)
        self.disks.setdefault(ordinal, Disk(f"data-{self.name}-{ordinal}"))

    def _request_certificates(self) -> None:
        if self.requests is None:
            return
        for ordinal, pod in self.pods.items():
            held = pod.certificate
            if held is None or renew_at(held) <= EPOCH_S + self.time:
                name = f"{self.name}-{ordinal}"
                self.requests[ordinal] = SigningRequest(name=f"{name}-{pod.uid}", member=name, pod_uid=pod.uid)

    def _run_pods(self) -> None:
        for ordinal, pod in self.pods.items():
            disk = self.disks[ordinal]
            pod.failure = self._failure(pod, disk)
            was_running = pod.running
            admitted = self.requests is None or pod.certificate is not None
            pod.running = pod.failure is Failure.NONE and self.time >= pod.runs_at and admitted
            if pod.ill and not pod.running and pod.failure is Failure.NONE:
                pod.failure = Failure.CRASH
            if pod.running and not was_running:
                pod.running_since = self.time
            if pod.running and not disk.node_id:
                disk.node_id = self.draw("node")

    def _failure(self, pod: Process, disk: Disk) -> Failure:
        if disk.stranded:
            return Failure.MACHINE
        if self.requests is not None and not disk.node_id and self.time < pod.runs_at:
            return Failure.SCHEDULING  # its volume is being provisioned, as that of every new member on Kubernetes
        if pod.revision in self.bad_revisions:
            return Failure.IMAGE
        return Failure.DAMAGED if disk.damaged else Failure.NONE

    def _elect(self) -> None:
        alive = self.alive()
        if self.leader in alive and self.leader in self.voters() and self.quorate(alive):
            return
        self.leader = ""
        if not self.quorate(alive) or self.random.random() < 0.3:
            return
        candidates = sorted(one for one in self.voters() if one in alive)
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
        self.committed = max(self.committed, min(self._durable(half) for half in self.halves()))

    def _durable(self, voters: Iterable[str]) -> int:
        stored = sorted((self.stored(one) for one in voters), reverse=True)
        return stored[len(stored) // 2]

    def stored(self, node_id: str) -> int:
        disk = self.find(node_id)
        return disk.stored if disk else 0

    def _leave_joint(self) -> None:
        if self.configuration.joint and self.leader and self.random.random() < 0.7:
            old = self.configuration
            self.adopt(Configuration(index=old.index + 1, voters=old.voters, learners=old.learners))
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

    def kill(self, ordinal: int, seconds: int) -> None:
        """End a pod; its successor runs after that time."""
        del self.pods[ordinal]
        self._start_delays[ordinal] = seconds

    def crash(self, ordinal: int) -> None:
        """End a process; the runtime starts it again in the same pod."""
        pod = self.pods.get(ordinal)
        if pod is not None and pod.running:
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
        """Empty a disk under a member, as when a machine returns with a new disk."""
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

    def lose_zone(self, zone: int, seconds: int) -> None:
        """Let every third machine be without power for a while; what is on the disks stays."""
        for ordinal in self.pods:
            if ordinal % ZONES == zone:
                self.fall_ill(ordinal, seconds)

    def evict(self, ordinal: int, budget: int | None) -> bool:
        """Stop a pod for a drain if its budget allows it, as the API server's eviction does; return whether it did.

        `budget` is how many may be missing. A pod that is not ready may always go (AlwaysAllow); without a workload
        nobody knows how many there should be, and none that is ready may.
        """
        pod, expected = self.pods[ordinal], self.workload.replicas if self.workload else len(self.pods) + 1
        healthy = sum(one.ready for one in self.pods.values())
        if pod.ready and (budget is None or healthy - 1 < expected - budget):
            return False
        # Pods that are not ready are not protected: a budget that counted them would block drains forever.
        before = pod.ready and self.quorate(self.alive())
        del self.pods[ordinal]
        if before and not self.quorate(self.alive()):
            raise Unsafe(f"the budget {budget} let a drain take the quorum with pod {ordinal}")
        return True

    def lose_workload(self) -> None:
        """Take away what keeps the pods running, and leave them."""
        self.workload = None

    def may_lose(self, ordinal: int) -> bool:
        """Return whether the loss of a disk is one that a cluster must survive: what is committed stays on a quorum.

        Before it is formed it need not: a lost disk cannot be distinguished from an empty one, so it must be
        decided manually.
        """
        if not self.bootstraps or ordinal not in self.disks:
            return False
        node_id = self.disks[ordinal].node_id
        return self.data_survives(without=node_id)

    # The truth in short

    def alive(self) -> set[str]:
        """Return the incarnations whose process runs."""
        return {self.disks[o].node_id for o, pod in self.pods.items() if pod.running and self.disks[o].node_id}

    def quorate(self, voters: set[str]) -> bool:
        """Return whether these are a majority of every half of the configuration."""
        return bool(self.halves()) and all(2 * len(voters & set(half)) > len(half) for half in self.halves())

    def disk_of(self, node_id: str) -> Disk:
        """Return the disk in use of an incarnation."""
        disk = self.find(node_id)
        if disk is None:
            raise KeyError(node_id)
        return disk

    def ordinal_of(self, node_id: str) -> int:
        """Return where the disk of an incarnation is in use."""
        return next(ordinal for ordinal, disk in self.disks.items() if disk.node_id == node_id)

    def voters_by_name(self) -> list[str]:
        """Return the names of the voters, sorted."""
        return sorted(self.addresses[one] for one in self.configuration.voters)

    def data_survives(self, *, without: str) -> bool:
        """Return whether what is committed stays on a majority of intact disks, so that it can be elected."""
        if without not in self.voters():
            return True
        intact = {disk.node_id for disk in self.disks.values() if not disk.damaged and not disk.stranded} - {without}
        return all(2 * len(intact & set(half)) > len(half) for half in self.halves())

    def find(self, node_id: str) -> Disk | None:
        return next((disk for disk in self.disks.values() if disk.node_id == node_id), None)

    def voters(self) -> set[str]:
        return {*self.configuration.voters, *self.configuration.outgoing}

    def halves(self) -> list[tuple[str, ...]]:
        return [half for half in (self.configuration.voters, self.configuration.outgoing) if half]

    def adopt(self, configuration: Configuration) -> None:
        self.configuration = configuration
        for node_id in configuration.members() & self.alive():
            self.disk_of(node_id).configuration = configuration

    def draw(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}{self._serial:04d}"
