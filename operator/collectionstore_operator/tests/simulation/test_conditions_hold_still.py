"""A day of a healthy cluster, accelerated: which conditions change, in which phase, and no others.

An operator on call is woken by conditions. So a day with renewed certificates, a rolling restart, a scale-up and a
scale-down and a pod that restarts has no Degraded=True, and Available stays True all day.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest
from msgspec.structs import replace

from collectionstore_operator import manifests
from collectionstore_operator.model.actions import Action, ApplyObject
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.certificate_lifetimes import renew_at, renew_authority_at
from collectionstore_operator.model.observed import AppliedObject, Certificate, CertificateKind, Observed
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.status.changes import changed_conditions
from collectionstore_operator.status.history import ELECTION_S
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.simulation.simulated_cluster import EPOCH_S, SimulatedCluster
from collectionstore_operator.tests.simulation.simulated_life import Life

HOUR_S: Final = 3_600
IDLE_STEP_S: Final = 60
"""Simulated seconds per round while nothing happens."""
CHANGE: Final = Counter({"Progressing=True": 1, "Ready=False": 1, "Progressing=False": 1, "Ready=True": 1})
"""What every change shows, once: that it is in progress."""
RESTART_S: Final = 20


class Day(Life):
    """A life whose changes of conditions are recorded, by phase."""

    def __init__(self, seed: int, *, requests: bool) -> None:
        super().__init__(seed)
        self.cluster = SimulatedCluster("demo", seed, requests=requests)
        self.objects: dict[tuple[str, str], AppliedObject] | None = {} if requests else None
        self.settle()
        self.cluster.certificates = {key: self._due_later(one, 1) for key, one in self.cluster.certificates.items()}
        for ordinal, pod in self.cluster.pods.items():
            if pod.certificate is not None:
                pod.certificate = self._due_later(pod.certificate, 2 + ordinal)
        self.look()

    def observe(self, unknown: float = 0.0) -> Observed:
        """Look at the objects too: on Kubernetes there are some."""
        observed = super().observe(unknown)
        return observed if self.objects is None else replace(observed, objects=tuple(self.objects.values()))

    def perform(self, action: Action) -> None:
        """Apply objects as the API server would, and perform everything else."""
        if self.objects is None or not isinstance(action, ApplyObject):
            super().perform(action)
            return
        built = manifests.build(self.desired, disruptions=action.max_unavailable)
        (body,) = [one.body for one in built if (one.kind, one.name) == (action.kind, action.name)]
        self.objects[action.kind, action.name] = AppliedObject(
            kind=action.kind, name=action.name, digest=action.digest, live=body
        )

    def _due_later(self, certificate: Certificate, hours: int) -> Certificate:
        """Return a certificate that is older, so that its renewal is due after so many hours."""
        due_at = renew_authority_at if certificate.kind is CertificateKind.AUTHORITY else renew_at
        by = EPOCH_S + self.cluster.time + hours * HOUR_S - due_at(certificate)
        return replace(certificate, not_before=certificate.not_before + by, not_after=certificate.not_after + by)

    def look(self) -> Status:
        """Look without acting, so that the phase before is over."""
        assessment = assess(self.desired, self.observe())
        self.status = report(assessment, plan(assessment), self.status)
        return self.status

    def watch(self, seconds: int, *, step_s: int = 1) -> Counter[str]:
        """Let time pass and return which conditions changed to what, and how often."""
        changes: Counter[str] = Counter()
        previous = self.status
        for _ in range(0, seconds, step_s):
            self.cluster.time += step_s - 1
            self.round()
            assert self.status is not None
            for one in changed_conditions(previous, self.status):
                changes[f"{one.type}={one.status}"] += 1
                self.trace.append(f"{self.cluster.time}: {one.type}={one.status} {one.reason}: {one.message}")
            previous = self.status
        assert plan(assess(self.desired, self.observe())).converged, self.trace[-20:]
        return changes

    def told(self) -> str:
        """Return the history for a failed assertion."""
        return "\n".join(self.trace[-60:])


@pytest.mark.parametrize("requests", [False, True], ids=["issued", "requested"])
@pytest.mark.parametrize("seed", range(2))
def test_day_without_a_misleading_change_of_a_condition(seed: int, *, requests: bool) -> None:
    """Each phase has the changes that it must have, and no other; idle hours have none at all."""
    day = Day(seed, requests=requests)
    issued_before = set(day.cluster.certificates.values()) | {one.certificate for one in day.cluster.pods.values()}

    assert day.watch(12 * HOUR_S, step_s=IDLE_STEP_S) == Counter(), day.told()
    issued = set(day.cluster.certificates.values()) | {one.certificate for one in day.cluster.pods.values()}
    assert not (issued & issued_before) - {None}, "a certificate was not renewed: the phase shows nothing"

    day.want(version="0.2.0")
    changes = day.watch(300)
    # While one of three restarts, no other can fail: true, and worth an Event. Once for each of them.
    restarts = Counter({"QuorumSafe=False": 3, "QuorumSafe=True": 3})
    assert changes == CHANGE + restarts + Counter({"MembersUpdated=False": 1, "MembersUpdated=True": 1}), day.told()

    assert day.watch(2 * HOUR_S, step_s=IDLE_STEP_S) == Counter(), day.told()

    day.want(replicas=5)
    assert day.watch(300) == CHANGE, day.told()
    day.want(replicas=3)
    assert day.watch(300) == CHANGE, day.told()

    assert day.watch(2 * HOUR_S, step_s=IDLE_STEP_S) == Counter(), day.told()

    for killed in ("a follower", "the leader"):
        leader = day.cluster.ordinal_of(day.cluster.leader)
        day.cluster.kill(leader if killed == "the leader" else (leader + 1) % 3, RESTART_S)
        changes = day.watch(120)
        expected = Counter({"Ready=False": 1, "Ready=True": 1, "QuorumSafe=False": 1, "QuorumSafe=True": 1})
        # An election is a step of the plan, unless it is over before anybody looks.
        election = Counter({"Progressing=True": 1, "Progressing=False": 1})
        allowed = [expected, expected + election] if killed == "the leader" else [expected]
        assert changes in allowed, (killed, day.told())

    assert day.watch(8 * HOUR_S, step_s=IDLE_STEP_S) == Counter(), day.told()


def test_cluster_that_elects_no_leader_is_unavailable_after_an_election_would_have_ended() -> None:
    """Conditions hold still for as long as an election may take, and not longer; the status says what it waits for."""
    day = Day(0, requests=True)
    quorate = day.cluster.quorate
    day.cluster.quorate = lambda voters: False  # type: ignore[method-assign]  # all respond, and none is elected
    available = []
    for _ in range(int(ELECTION_S) + 3):
        day.round()
        assert day.status is not None
        found = day.status.condition("Available")
        assert found is not None
        available.append(f"{found.status} {found.reason}")
    assert available[0] == "True QuorumWorks"
    assert available[1:6] == ["True LeaderElection"] * int(ELECTION_S)
    assert available[6:] == ["False NoQuorum"] * 2
    day.cluster.quorate = quorate  # type: ignore[method-assign]
    day.settle()
    assert day.look().condition("Available").status == "True"  # type: ignore[union-attr]
