"""Whole lives of simulated clusters: whatever happens, nothing unsafe is asked for, and afterwards all is as wanted."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from collectionstore_operator.actions import AddLearners, Plan, disturbing
from collectionstore_operator.environment import revision
from collectionstore_operator.observed import Observed, Pod, Slot
from collectionstore_operator.plan import plan
from collectionstore_operator.resources import Desired, FailedMember, Spec
from collectionstore_operator.status import Status, report
from collectionstore_operator.tests.simulated_cluster import SimulatedCluster

SEEDS = 60
TROUBLED_S = 120
QUIET_S = 400
GRACE_S = 20


@dataclass
class Life:
    """A cluster, what its user wants, and the operator's loop."""

    seed: int
    desired: Desired = field(
        default_factory=lambda: Desired(name="demo", spec=Spec(failed_member=FailedMember(grace_seconds=GRACE_S)))
    )

    def __post_init__(self) -> None:
        self.cluster = SimulatedCluster("demo", self.seed)
        self.random = random.Random(self.seed + 1)
        self.trace: list[str] = []
        self.status: Status | None = None

    def want(self, **fields: object) -> None:
        """Edit the spec."""
        spec = msgspec.structs.replace(self.desired.spec, **fields)
        self.desired = msgspec.structs.replace(self.desired, spec=spec)
        self.trace.append(f"{self.cluster.time}: wanted {fields}")

    def round(self, *, unknown: float = 0.0, failing: float = 0.0) -> Plan:
        """Look, plan, act, and let a second pass."""
        observed = self.cluster.observe(unknown)
        made = plan(self.desired, observed)
        check_form(made, observed)
        self.status = report(self.desired, observed, made, self.status)
        if self.random.random() >= failing:
            self.cluster.initialized = self.status.initialized
        for action in made.actions:
            if self.random.random() < failing:
                self.trace.append(f"{self.cluster.time}: FAILED {action}")
                break
            self.trace.append(f"{self.cluster.time}: {action}")
            self.cluster.execute(action)
        self.cluster.tick()
        return made

    def settle(self, rounds: int = QUIET_S) -> None:
        """Run undisturbed until nothing remains to be done, and stay so."""
        for _ in range(rounds):
            if self.round().settled and self.round().settled:
                return
        steps = [
            f"{step.name} {step.subject}: {step.blocked_by}"
            for step in plan(self.desired, self.cluster.observe()).steps
        ]
        raise AssertionError(f"seed {self.seed} did not settle; remaining: {steps}\n" + "\n".join(self.trace[-40:]))


def check_form(made: Plan, observed: Observed) -> None:
    """Whatever is planned: at most one step at a time, and nothing destructive about what was not seen."""
    exclusive = [one for one in made.actions if disturbing(one) or isinstance(one, AddLearners)]
    assert len(exclusive) <= 1, exclusive
    for action in made.actions:
        if type(action).__name__ in ("RestartPod", "RetireVolume"):
            slot: Slot = observed.slot(action.ordinal)  # type: ignore[union-attr]
            assert not action.uid or (isinstance(slot.pod, Pod) and slot.pod.uid == action.uid)  # type: ignore[union-attr]


def trouble(life: Life) -> None:
    """Let one thing happen that a cluster must bear."""
    cluster, chance = life.cluster, life.random
    ordinal = chance.choice(sorted(cluster.pods)) if cluster.pods else 0
    match chance.randrange(10):
        case 0:
            life.want(replicas=chance.choice((3, 5, 7)))
        case 1:
            life.want(version=f"0.{chance.randrange(5)}.0")
        case 2:
            life.want(version=f"bad-{chance.randrange(5)}")
            cluster.bad_revisions.add(revision(life.desired))
        case 3 if cluster.pods:
            cluster.crash(ordinal)
        case 4 if cluster.may_lose(ordinal):
            cluster.lose_disk(ordinal)
            life.trace.append(f"{cluster.time}: lost disk {ordinal}")
        case 5 if cluster.may_lose(ordinal):
            cluster.damage_disk(ordinal)
            life.trace.append(f"{cluster.time}: damaged disk {ordinal}")
        case 6 if cluster.may_lose(ordinal):
            cluster.lose_machine(ordinal)
            life.trace.append(f"{cluster.time}: lost machine {ordinal}")
        case 7:
            cluster.catch_up_rate = chance.choice((50, 300, 2_000))
        case 8:
            life.want(paused=chance.random() < 0.3)
        case 9 if cluster.pods:
            cluster.fall_ill(ordinal, chance.randrange(10, 90))
            life.trace.append(f"{cluster.time}: fell ill {ordinal}")
        case _:
            pass  # nothing there that could break


@pytest.mark.parametrize("seed", range(SEEDS))
def test_troubled_cluster_stays_safe_and_converges(seed: int) -> None:
    """Under crashes, lost disks and machines, bad images, changed minds and blind spots: safe, and settled after."""
    life = Life(seed)
    for _ in range(TROUBLED_S):
        if life.random.random() < 0.15:
            trouble(life)
        life.round(unknown=0.05, failing=0.1)
    life.want(paused=False, version="1.0.0", replicas=life.random.choice((3, 5)))
    life.cluster.catch_up_rate = 2_000
    life.settle()
    wanted = [f"demo-{ordinal}" for ordinal in range(life.desired.spec.replicas)]
    assert life.cluster.voters_by_name() == wanted
    assert not life.cluster.configuration.learners
    assert {pod.revision for pod in life.cluster.pods.values()} == {revision(life.desired)}
    assert life.cluster.bootstraps == 1
