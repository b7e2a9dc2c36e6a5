"""A simulated cluster with its user and the operator's loop: look, plan, report, act, and let time pass."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec

from collectionstore_operator.model.actions import Action, AddLearners, RestartPod, RetireVolume, disruptive
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Observed, Pod
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired, FailedMember, Spec
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.simulation.simulated_actions import execute
from collectionstore_operator.tests.simulation.simulated_cluster import SimulatedCluster
from collectionstore_operator.tests.simulation.simulated_look import observe

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
        self.budget: int | None = None

    def want(self, **fields: object) -> None:
        """Edit the spec."""
        spec = msgspec.structs.replace(self.desired.spec, **fields)
        self.desired = msgspec.structs.replace(self.desired, spec=spec)
        self.trace.append(f"{self.cluster.time}: wanted {fields}")

    def annotate(self, annotations: dict[str, str]) -> None:
        """Replace the annotations."""
        self.desired = msgspec.structs.replace(self.desired, annotations=annotations)
        self.trace.append(f"{self.cluster.time}: annotated {annotations}")

    def observe(self, unknown: float = 0.0) -> Observed:
        """Look at everything."""
        return observe(self.cluster, unknown)

    def perform(self, action: Action) -> None:
        """Perform an action of the plan."""
        execute(self.cluster, action)

    def round(self, *, unknown: float = 0.0, failing: float = 0.0) -> Plan:
        """Look, plan, act, and let a second pass."""
        observed = self.observe(unknown)
        assessment = assess(self.desired, observed)
        made = plan(assessment)
        check_form(made, observed)
        self.status = report(assessment, made, self.status)
        allowed = max_unavailable(assessment)
        self.budget = self.budget if allowed is None else allowed
        for action in made.actions:
            if self.random.random() < failing:
                self.trace.append(f"{self.cluster.time}: FAILED {action}")
                break
            self.trace.append(f"{self.cluster.time}: {action}")
            self.perform(action)
        self.cluster.tick()
        return made

    def delete(self) -> None:
        """Delete the resource and run until nothing is left but disks."""
        self.desired = msgspec.structs.replace(self.desired, deleting=True)
        self.cluster.deleting = True
        self.settle()
        assert not self.cluster.pods
        self.cluster.lose_workload()
        self.cluster.deleting = False

    def settle(self, rounds: int = QUIET_S) -> None:
        """Run undisturbed until nothing remains to be done, and stay so."""
        for _ in range(rounds):
            if self.round().converged and self.round().converged:
                return
        steps = [
            f"{step.name} {step.subject}: {step.blocked_by}"
            for step in plan(assess(self.desired, observe(self.cluster))).steps
        ]
        raise AssertionError(f"seed {self.seed} did not settle; remaining: {steps}\n" + "\n".join(self.trace[-40:]))


def check_form(made: Plan, observed: Observed) -> None:
    """Whatever is planned: at most one step at a time, and nothing destructive about what was not seen."""
    exclusive = [one for one in made.actions if disruptive(one) or isinstance(one, AddLearners)]
    assert len(exclusive) <= 1, exclusive
    for action in made.actions:
        if isinstance(action, RestartPod | RetireVolume) and action.uid:
            pod = observed.slot(action.ordinal).pod
            assert isinstance(pod, Pod)
            assert pod.uid == action.uid
    for step in made.steps:
        assert (step.action_count > 0) != bool(step.blocked_by), f"it neither acts nor says what it waits for: {step}"
    assert sum(step.action_count for step in made.steps) == len(made.actions)
