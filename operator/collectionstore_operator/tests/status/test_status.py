"""The status: conditions and fields, stable timestamps, and no change while the cluster is idle."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.model.actions import IssueCertificate
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    AuditSink,
    Authority,
    AuthorityCertificate,
    Certificate,
    CertificateKind,
    Configuration,
    NodeAudit,
    NodeStatus,
    NodeTls,
    Observed,
    ShownCertificate,
    Space,
    Unknown,
)
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.planning import certificates
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.auditing import Audit, AuditFiles
from collectionstore_operator.resource.desired import Desired, Unsafe
from collectionstore_operator.resource.network import Tls
from collectionstore_operator.status.ailments import RECOVERY_S
from collectionstore_operator.status.changes import changed_conditions
from collectionstore_operator.status.conditions import TYPES
from collectionstore_operator.status.history import ELECTION_S
from collectionstore_operator.status.published import STEPS_MAX, Status
from collectionstore_operator.status.report import refused, report
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, draw, make_desired, planned

HEALTHY = "0: leader\n1: voter\n2: voter"
THEN = rfc3339(NOW)
LATER = rfc3339(NOW + 60)


def tell(picture: str, desired: Desired, previous: Status | None = None, *, after_s: float = 0) -> Status:
    """Return the status of a pictured cluster."""
    observed = draw(picture, desired, now=NOW + after_s)
    return report(assess(desired, observed), planned(desired, observed), previous)


def states_of(status: Status) -> dict[str, str]:
    """Return status and reason of every condition."""
    return {one.type: f"{one.status} {one.reason}" for one in status.conditions}


def message(status: Status, kind: str) -> str:
    """Return the message of a condition."""
    found = status.condition(kind)
    assert found is not None
    return found.message


def test_conditions_and_fields_of_a_healthy_cluster() -> None:
    """Every condition, and the summary fields."""
    desired = make_desired(3)
    desired = msgspec.structs.replace(desired, spec=msgspec.structs.replace(desired.spec, unsafe=Unsafe()))
    status = tell(HEALTHY, desired)
    assert states_of(status) == {
        "Ready": "True AllMembersWork",
        "Accepted": "True Valid",
        "Available": "True QuorumWorks",
        "Progressing": "False Settled",
        "Degraded": "False AllMembersWork",
        "QuorumSafe": "True CanLose",
        "MembersUpdated": "True AllUpdated",
        "CertificatesReady": "Unknown NotIssuedHere",
        "RecordsValid": "True AllValid",
        "VolumesSafe": "True AllSafe",
        "StorageAvailable": "Unknown NoReport",
        "ObjectsApplied": "Unknown NoObjectsHere",
        "Paused": "False NotPaused",
        "QuorumLost": "False QuorumWorks",
    }
    assert (status.leader, status.term, status.fault_tolerance, status.members_summary) == ("demo-0", 7, 1, "3/3")
    assert status.configuration.voters == ("demo-0", "demo-1", "demo-2")
    assert [one.role for one in status.members] == ["Leader", "Voter", "Voter"]
    assert status.plan == ()
    assert status.selector == (
        "app.kubernetes.io/component=node,app.kubernetes.io/instance=demo,app.kubernetes.io/name=collectionstore"
    )


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("0: fresh\n1: fresh\n2: fresh", {"Ready": "False NotInitialized", "Progressing": "True Bootstrap"}),
        (
            "0: leader\n1: learner lag=9000\n2: learner",
            {"Ready": "False Blocked", "Progressing": "True Blocked", "Degraded": "False AllMembersWork"},
        ),
        ("0: leader\n1: voter\n2: fresh", {"Degraded": "False AllMembersWork", "Progressing": "True AddLearners"}),
        ("0: leader\n1: voter\n2: fresh unready=200 mute", {"Degraded": "True MembersDown"}),
        ("0: leader\n1: voter\n2: fresh down=5 failure=Image", {"Degraded": "True MembersDown"}),
        ("0: leader\n1: voter\n2: voter stopping", {"Degraded": "False MembersRestarting"}),
        ("0: leader\n1: voter\n2: voter down=5", {"Degraded": "False MembersRestarting"}),
        ("0: leader\n1: voter down=5\n2: voter down=60", {"Degraded": "True MembersDown"}),
        ("0: leader\n1: incoming\n2: incoming", {"Available": "True QuorumWorks", "Progressing": "True Blocked"}),
        ("0: leader\n1: voter\n2: voter down=60", {"Available": "True QuorumWorks", "Degraded": "True MembersDown"}),
        ("0: leader\n1: voter\n2: voter down=60", {"QuorumSafe": "False NoTolerance", "Ready": "False MembersDown"}),
        ("0: voter\n1: voter\n2: voter", {"Available": "False NoQuorum", "QuorumSafe": "Unknown NoLeader"}),
        ("0: leader\n1: voter\n2: voter old", {"MembersUpdated": "False RolloutPending", "Ready": "False RestartPod"}),
        ("0: leader\n1: voter\n2: voter hidden", {"MembersUpdated": "Unknown PodUnknown"}),
    ],
)
def test_conditions_of_an_unhealthy_cluster(picture: str, expected: dict[str, str]) -> None:
    """Available, Progressing, Degraded and QuorumSafe."""
    states = states_of(tell(picture, make_desired(3)))
    assert {kind: states[kind] for kind in expected} == expected


def test_unresponsive_cluster_is_unknown_not_unavailable() -> None:
    """It has data and no node responds: that proves nothing about its quorum."""
    desired = make_desired(3)
    observed = draw("0: voter mute\n1: voter mute\n2: voter mute", desired, initialized=True)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["Available"] == "Unknown NoAnswer"
    assert {one.role for one in status.members} == {"Unknown"}


def test_conditions_name_the_pod_and_its_failure() -> None:
    """The message of the condition is enough to find the pod."""
    status = tell("0: leader\n1: voter\n2: voter down=9 failure=Image", make_desired(3))
    assert message(status, "Degraded") == "demo-2 is not running: Image"
    assert status.members[2].message == "demo-2 is not running: Image"
    assert message(status, "Progressing") == (
        "demo-2: demo-2 is down; blocked: demo-2 is not running: Image; a new volume would not help"
    )


def test_member_that_restarts_for_too_long_is_down() -> None:
    """A restart is expected to end; the time counts from the first status that shows it, for an absent pod too."""
    picture = "0: leader\n1: voter\n2: voter down=5"
    first = tell(picture, make_desired(3))
    assert first.members[2].unhealthy_since == THEN
    assert states_of(first)["Ready"] == "False MembersRestarting"
    before = tell(picture, make_desired(3), first, after_s=RECOVERY_S - 1)
    assert states_of(before)["Degraded"] == "False MembersRestarting"
    after = tell(picture, make_desired(3), before, after_s=RECOVERY_S)
    assert states_of(after)["Degraded"] == "True MembersDown"
    assert after.members[2].unhealthy_since == THEN
    healed = tell(HEALTHY, make_desired(3), after, after_s=RECOVERY_S + 1)
    assert healed.members[2].unhealthy_since == ""
    assert states_of(healed)["Degraded"] == "False AllMembersWork"


def test_one_cause_of_many_members_is_told_once() -> None:
    """As when an image cannot be pulled."""
    status = tell("\n".join(f"{ordinal}: fresh down=5 failure=Image" for ordinal in range(3)), make_desired(3))
    assert message(status, "Degraded") == "demo-0, demo-1, demo-2: not running: Image"
    assert message(status, "Ready") == message(status, "Degraded")


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("ErrImagePull: failed to pull: not found: registry/a:1", "ErrImagePull"),
        ("exit code 65: the chain breaks at entry 83", "exit code 65: the chain breaks at entry 83"),
        ("", "Disk"),
    ],
)
def test_plan_and_members_name_a_cause_without_the_text_of_others(detail: str, told: str) -> None:
    """All of it is in Degraded; the reason of a node's end is its own and short."""
    desired = make_desired(3)
    observed = draw("0: leader\n1: voter\n2: voter down=9 failure=Disk", desired)
    pod = msgspec.structs.replace(observed.slots[2].pod, detail=detail)
    observed = msgspec.structs.replace(
        observed, slots=(*observed.slots[:2], msgspec.structs.replace(observed.slots[2], pod=pod))
    )
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert status.members[2].message == f"demo-2 is not running: {told}"
    assert status.plan[0].blocked_by.startswith(f"demo-2 is not running: {told}; ")
    assert message(status, "Degraded") == f"demo-2 is not running: {detail or told}"


def test_pod_that_no_machine_takes_is_named_at_once() -> None:
    """Not as Degraded: the volume of a new pod is being provisioned for a moment. But Ready says why it is not."""
    status = tell("0: fresh down=5 failure=Scheduling\n1: fresh\n2: fresh", make_desired(3))
    assert states_of(status)["Degraded"] == "False NotInitialized"
    assert message(status, "Ready") == ("the cluster has not been bootstrapped yet: demo-0 is not running: Scheduling")
    grown = tell("0: leader\n1: voter\n2: voter\n3: fresh down=5 failure=Scheduling\n4: fresh", make_desired(5))
    assert states_of(grown)["Degraded"] == "False MembersRestarting"
    late = tell("0: leader\n1: voter\n2: voter\n3: fresh down=121 failure=Scheduling\n4: fresh", make_desired(5))
    assert states_of(late)["Degraded"] == "True MembersDown"


def test_lost_quorum_names_the_members_that_are_down() -> None:
    """`no leader is known` alone does not say where to look."""
    status = tell("0: voter\n1: voter down=9 failure=Disk\n2: voter down=9 failure=Disk", make_desired(3))
    assert message(status, "Available") == "no leader is known: demo-1, demo-2: not running: Disk"
    assert states_of(status)["Ready"] == "False NoQuorum"


def test_election_is_no_outage_until_it_takes_too_long() -> None:
    """A transfer of leadership, or a crash of the leader, while a quorum of voters responds."""
    healthy, picture = tell(HEALTHY, make_desired(3)), "0: voter\n1: voter\n2: voter"
    first = tell(picture, make_desired(3), healthy)
    second = tell(picture, make_desired(3), first, after_s=ELECTION_S - 1)
    for status in (first, second):
        states = states_of(status)
        assert (states["Available"], states["QuorumSafe"]) == ("True LeaderElection", "True CanLose")
        assert not [one for one in changed_conditions(healthy, status) if one.recorded]
    third = tell(picture, make_desired(3), second, after_s=ELECTION_S)
    assert (states_of(third)["Available"], states_of(third)["QuorumSafe"]) == ("False NoQuorum", "Unknown NoLeader")
    later = tell(picture, make_desired(3), third, after_s=ELECTION_S + 1)
    assert states_of(later)["Available"] == "False NoQuorum"


@pytest.mark.parametrize("fields", [{"term": 8}, {"configuration": Configuration(index=99, voters=("old-0",))}])
def test_members_that_were_asked_a_moment_apart_change_no_condition(fields: dict[str, object]) -> None:
    """One that was asked after a transfer or a change of voters knows more than the leader did before it."""
    desired = make_desired(3)
    healthy, observed = tell(HEALTHY, desired), draw(HEALTHY, desired)
    node = msgspec.structs.replace(observed.slots[1].node, **fields)
    slots = (observed.slots[0], msgspec.structs.replace(observed.slots[1], node=node), observed.slots[2])
    observed = msgspec.structs.replace(observed, slots=slots)
    assert assess(desired, observed).view.untrusted_reason
    status = report(assess(desired, observed), planned(desired, observed), healthy)
    assert not [one for one in changed_conditions(healthy, status) if one.recorded]


def test_member_without_a_pod_has_nothing_to_be_updated() -> None:
    """Its next pod starts at the revision of the workload: neither a restart nor a scale-up is a rollout."""
    assert states_of(tell("0: leader\n1: voter\n2: free", make_desired(3)))["MembersUpdated"] == "True AllUpdated"
    assert states_of(tell(HEALTHY, make_desired(5)))["MembersUpdated"] == "True AllUpdated"
    observed = msgspec.structs.replace(draw(HEALTHY, make_desired(3)), workload=ABSENT)
    status = report(assess(make_desired(5), observed), planned(make_desired(5), observed), None)
    assert states_of(status)["MembersUpdated"] == "False RolloutPending"


def test_lost_quorum_is_an_outage_at_once() -> None:
    """Too few voters respond: no election is expected. Without an earlier status none is, either."""
    healthy = tell(HEALTHY, make_desired(3))
    lost = tell("0: voter\n1: voter down=2\n2: voter down=2", make_desired(3), healthy)
    assert states_of(lost)["Available"] == "False NoQuorum"
    assert states_of(tell("0: voter\n1: voter\n2: voter", make_desired(3)))["Available"] == "False NoQuorum"


def test_paused_scale_up_is_not_ready() -> None:
    """The message counts the members that are ready, not those that are desired."""
    status = tell(HEALTHY, make_desired(5, paused=True))
    assert states_of(status)["Ready"] == "False Paused"
    assert message(status, "Ready").endswith("; 3 of 5 members are ready")
    assert states_of(tell(HEALTHY, make_desired(3, paused=True)))["Ready"] == "True AllMembersWork"


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        (("a", "b", "c"), "True CanLose"),
        (("a", "b", "a"), "False SharedFailureDomain"),
        (("a", "a", "a"), "True CanLose"),
        (("", "", ""), "True CanLose"),
    ],
)
@pytest.mark.parametrize("domain", ["machine", "zone"])
def test_members_that_share_a_machine_or_zone_fail_together(
    domain: str, machines: tuple[str, ...], expected: str
) -> None:
    """Two of three on one of two machines: one failure that costs the quorum. One machine for all is a choice."""
    desired = make_desired(3)
    observed = draw(HEALTHY, desired)
    slots = tuple(
        msgspec.structs.replace(slot, pod=msgspec.structs.replace(slot.pod, **{domain: machine}))
        for slot, machine in zip(observed.slots, machines, strict=True)
    )
    observed = msgspec.structs.replace(observed, slots=slots)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["QuorumSafe"] == expected
    if expected.startswith("False"):
        assert " a holds demo-0, demo-2: " in message(status, "QuorumSafe")


def test_changes_between_statuses() -> None:
    """Each flip of a condition, the healthy ones as such; none for the first status of a cluster."""
    healthy = tell(HEALTHY, make_desired(3))
    broken = tell("0: leader\n1: voter\n2: voter down=9 failure=Disk", make_desired(3), healthy)
    assert list(changed_conditions(None, healthy)) == []
    assert list(changed_conditions(healthy, healthy)) == []
    worse = {one.type: (one.status, one.good, one.recorded) for one in changed_conditions(healthy, broken)}
    assert worse == {
        "Ready": ("False", False, False),
        "Progressing": ("True", True, False),
        "Degraded": ("True", False, True),
        "QuorumSafe": ("False", False, True),
    }
    assert {one.type: one.good for one in changed_conditions(broken, healthy)} == dict.fromkeys(worse, True)


def test_unsafe_flags_are_reported() -> None:
    """The flag in use, and that no failure is tolerated."""
    status = tell("0: leader", make_desired(1))
    assert message(status, "Accepted") == (
        "the resource is valid with spec.unsafe: allowEvenReplicas, allowSingleReplica"
    )
    assert states_of(status)["QuorumSafe"] == "False TooFewReplicas"
    assert states_of(status)["Ready"] == "True AllMembersWork"


def test_paused_cluster_is_reported_and_its_status_is_updated() -> None:
    """Pausing suspends changes, not observation: all steps of the plan are blocked."""
    status = tell("0: leader\n1: voter\n2: voter old", make_desired(3, paused=True))
    assert states_of(status)["Paused"] == "True Paused"
    assert states_of(status)["Progressing"] == "False Paused"
    assert [(one.step, one.blocked_by) for one in status.plan] == [("RestartPod", "spec.paused is true")]


def test_joint_configuration_shows_both_halves() -> None:
    """A change of voters in progress: both sets of voters, by name."""
    status = tell("0: leader\n1: voter\n2: voter\n3: outgoing\n4: outgoing", make_desired(3))
    assert status.configuration.joint
    assert status.configuration.voters == ("demo-0", "demo-1", "demo-2")
    assert status.configuration.outgoing == ("demo-0", "demo-1", "demo-2", "demo-3", "demo-4")
    assert [one.role for one in status.members] == ["Leader", "Voter", "Voter", "Outgoing", "Outgoing"]


def test_replaced_member_shows_its_new_incarnation() -> None:
    """The old one still has the vote; the one that responds is a learner."""
    member = tell("0: leader\n1: rejoined lag=9123\n2: voter", make_desired(3)).members[1]
    assert (member.node_id, member.role, member.lag) == ("new-1", "Learner", 9_000)


def test_surplus_members_have_a_message() -> None:
    """Pods that will terminate, and retained volumes."""
    status = tell(f"{HEALTHY}\n3: stale\n4: left", make_desired(3))
    assert [one.message for one in status.members[3:]] == [
        "no longer part of the desired state",
        "removed from the cluster, its volume is retained",
    ]
    assert [one.role for one in status.members[3:]] == ["None", "None"]


def test_transition_times_change_only_with_the_status() -> None:
    """A message may change without a transition."""
    first = tell("0: leader\n1: voter\n2: voter down=9 failure=Disk", make_desired(3))
    second = tell("0: leader\n1: voter\n2: voter down=9 failure=Image", make_desired(3), first, after_s=60)
    third = tell(HEALTHY, make_desired(3), second, after_s=120)
    times = [status.condition("Degraded").last_transition_time for status in (first, second, third)]  # type: ignore[union-attr]
    assert times == [THEN, THEN, rfc3339(NOW + 120)]
    assert message(first, "Degraded") != message(second, "Degraded")


def test_plan_steps_keep_their_time_while_blocked_by_the_same() -> None:
    """A step with the same blocker keeps its time; one with another blocker gets a new one."""
    first = tell("0: leader old\n1: voter old\n2: voter down=39", make_desired(3))
    second = tell("0: leader old\n1: voter old\n2: voter down=99", make_desired(3), first, after_s=60)
    assert [one.since for one in second.plan] == [THEN] * 3
    third = tell("0: leader old\n1: voter old\n2: voter unready=2", make_desired(3), second, after_s=60)
    assert [one.since for one in third.plan] == [LATER, THEN]
    assert third.plan[0].blocked_by == "demo-2 is not ready"


def test_status_of_an_unchanged_cluster_is_equal() -> None:
    """Time passes and members write: the status does not change."""
    first = tell("0: leader\n1: voter lag=3\n2: voter lag=40", make_desired(3))
    assert tell("0: leader\n1: voter lag=90\n2: voter", make_desired(3), first, after_s=3_600) == first


def test_initialized_is_never_reset() -> None:
    """Whatever is observed later."""
    first = tell(HEALTHY, make_desired(3))
    assert first.initialized
    assert tell("0: voter mute\n1: voter mute\n2: voter mute", make_desired(3), first).initialized


def test_long_plan_is_truncated_and_says_so() -> None:
    """The status of an API object stays small."""
    desired = make_desired(9)
    observed = Observed(now=NOW, cluster_id=CLUSTER_ID, certificates=())
    made = planned(desired, observed)
    many = msgspec.structs.replace(made, steps=made.steps * 4)
    status = report(assess(desired, observed), many, None)
    assert len(status.plan) == STEPS_MAX
    assert status.steps_omitted == len(many.steps) - STEPS_MAX


def test_invalid_resource_keeps_the_last_known_status() -> None:
    """The cluster is not observed; the condition Accepted lists the errors."""
    before = tell(HEALTHY, make_desired(3))
    error = InvalidResource([FieldError("spec.replicas", "4 is even", "3, 5, 7 or 9")], generation=8)
    status = refused(error, before, NOW + 60)
    assert states_of(status) == states_of(before) | {"Accepted": "False InvalidSpec", "Ready": "False NotAccepted"}
    assert message(status, "Accepted") == "spec.replicas: 4 is even; allowed: 3, 5, 7 or 9"
    assert (status.observed_generation, status.leader, status.members) == (8, "demo-0", before.members)
    assert status.condition("Accepted").last_transition_time == LATER  # type: ignore[union-attr]
    assert status.condition("Available").last_transition_time == THEN  # type: ignore[union-attr]
    assert refused(error, status, NOW + 120) == status


def test_invalid_resource_without_a_status_has_all_conditions() -> None:
    """All types are set in the first round."""
    status = refused(InvalidResource([FieldError("spec", "is wrong", "right")]), None, NOW)
    assert [one.type for one in status.conditions] == list(TYPES)
    assert states_of(status)["Available"] == "Unknown NotAccepted"


def test_certificates_are_ready_when_none_would_be_issued() -> None:
    """Missing ones are named; if all exist, the earliest expiry."""
    desired = make_desired(1)
    observed = draw("0: leader", desired, certificates=())
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["CertificatesReady"] == "False IssuePending"
    issued = tuple(
        Certificate(kind=one.kind, name=one.name, not_before=NOW, not_after=NOW + one.lifetime_s, names=one.names)
        for one in planned(desired, observed).actions
        if isinstance(one, IssueCertificate)
    )
    observed = msgspec.structs.replace(observed, certificates=issued)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["CertificatesReady"] == "True AllValid"
    assert status.certificates_expire == rfc3339(NOW + 90 * 86_400)


def test_member_shows_when_its_certificate_expires_and_whether_it_was_renewed_in_time() -> None:
    """A node renews it after two thirds of its lifetime; an overdue one is named."""
    desired, day_s = make_desired(3), 86_400
    observed = draw(HEALTHY, desired)
    shown = msgspec.structs.replace(
        observed.slots[1].node, certificate_not_before=NOW, certificate_not_after=NOW + 90 * day_s
    )
    slots = (observed.slots[0], msgspec.structs.replace(observed.slots[1], node=shown), observed.slots[2])
    held = Certificate(kind=CertificateKind.MEMBER, name="demo-1", not_before=NOW, not_after=NOW + 90 * day_s)
    issued = certificates.to_issue(desired, Observed(now=NOW, cluster_id=CLUSTER_ID, certificates=()), ())
    own = tuple(
        Certificate(
            kind=one.kind,
            name=one.name,
            not_before=NOW,
            not_after=NOW + 900 * day_s,
            names=one.names,
            authority="key",
        )
        for one in issued
    )
    facts = {"slots": slots, "certificates": (*own, held), "requests": ()}
    observed = msgspec.structs.replace(observed, **facts)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert [member.certificate_expires for member in status.members] == ["", rfc3339(NOW + 90 * day_s), ""]
    assert status.certificates_expire == rfc3339(NOW + 90 * day_s)
    for days, expected in ((74, "True AllValid"), (75, "False RenewalOverdue")):
        later = msgspec.structs.replace(observed, now=NOW + days * day_s)
        status = report(assess(desired, later), planned(desired, later), None)
        assert states_of(status)["CertificatesReady"] == expected
    assert "certificates have not been renewed: demo-1 (expires on" in message(status, "CertificatesReady")


def with_authority(*keys: str, held: bool = False, now: float = NOW, days: int = 900) -> Observed:
    """Return a healthy cluster whose members use certificates of the first key, and trust all these keys."""
    desired, until = make_desired(3), NOW + days * 86_400
    shown = ShownCertificate(not_before=NOW, not_after=NOW + 90 * 86_400, serial="2a", authority=keys[0])
    report_of = NodeTls(peers=shown, clients=msgspec.structs.replace(shown, not_after=until), trusted=keys)
    observed = draw(HEALTHY, desired)
    slots = tuple(
        msgspec.structs.replace(slot, node=msgspec.structs.replace(slot.node, tls=report_of)) for slot in observed.slots
    )
    trusted = tuple(AuthorityCertificate(key=key, since=NOW, not_after=until) for key in keys)
    names = certificates.operator(desired, CLUSTER_ID).names
    issued = (
        Certificate(kind=CertificateKind.AUTHORITY, name="demo", not_before=NOW, not_after=until, authority=keys[0]),
        Certificate(
            kind=CertificateKind.OPERATOR,
            name="operator",
            not_before=NOW,
            not_after=until,
            names=names,
            authority=keys[0],
        ),
    )
    return msgspec.structs.replace(
        observed,
        now=now,
        slots=slots,
        certificates=issued,
        requests=(),
        authority=Authority(trusted=trusted, next_held=held),
        authority_published=True,
    )


@pytest.mark.parametrize(
    ("days", "expected"),
    [(None, "False ClientCertificateRefused"), (10, "True AllValid"), (75, "False ClientCertificateExpiring")],
)
def test_condition_says_what_is_wrong_with_the_certificate_of_the_user(days: int | None, expected: str) -> None:
    """It is renewed by another party, so only the time left tells whether it is."""
    day_s = 86_400
    observed = with_authority("a")
    begin = NOW - (days or 0) * day_s
    given = None if days is None else ShownCertificate(not_before=begin, not_after=begin + 90 * day_s)
    slots = []
    for slot in observed.slots:
        assert isinstance(slot.node, NodeStatus)
        assert slot.node.tls is not None
        tls = msgspec.structs.replace(slot.node.tls, given=given)
        slots.append(msgspec.structs.replace(slot, node=msgspec.structs.replace(slot.node, tls=tls)))
    observed = msgspec.structs.replace(observed, slots=tuple(slots))
    desired = make_desired(3, tls=Tls(client_secret_name="public"))
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["CertificatesReady"] == expected
    assert ("Secret public" in message(status, "CertificatesReady")) == (expected != "True AllValid")
    plain = report(assess(make_desired(3), observed), planned(make_desired(3), observed), None)
    assert states_of(plain)["CertificatesReady"] == "True AllValid"


@pytest.mark.parametrize(
    ("keys", "held", "phase"),
    [(("a",), False, "Steady"), (("a", "b"), True, "Trusting"), (("b", "a"), False, "Reissuing")],
)
def test_authority_and_the_phase_of_its_rotation_are_shown(keys: tuple[str, ...], phase: str, *, held: bool) -> None:
    desired, observed = make_desired(3), with_authority(*keys, held=held)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert (status.authority.phase, status.authority.key) == (phase, keys[0])
    assert status.authority.other_key == (keys[1] if len(keys) > 1 else "")
    assert status.authority.expires == rfc3339(NOW + 900 * 86_400)
    one = status.members[0]
    expected = (rfc3339(NOW + 90 * 86_400), "2a", keys[0])
    assert (one.certificate_expires, one.certificate_serial, one.certificate_authority) == expected


def test_rotation_that_waits_is_named_while_all_is_valid() -> None:
    """What is in use is renewed with the old key, however long the rotation waits."""
    desired = make_desired(3)
    observed = with_authority("a", now=NOW + 2_500 * 86_400, days=3_650)
    silent = msgspec.structs.replace(observed.slots[1], node=Unknown("no answer"))
    observed = msgspec.structs.replace(observed, slots=(observed.slots[0], silent, observed.slots[2]))
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["CertificatesReady"] == "True KeyRotationWaits"
    assert "demo-1 does not respond" in message(status, "CertificatesReady")


@pytest.mark.parametrize(
    ("days", "expected"), [(674, "True AllValid"), (676, "True AllValid"), (751, "False IssuePending")]
)
def test_paused_cluster_says_long_before_its_authority_ends(days: int, expected: str) -> None:
    """Five sixths of 900 days: 150 remain to end the pause, and nothing is broken yet."""
    desired = make_desired(3, paused=True)
    observed = with_authority("a", now=NOW + days * 86_400)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["CertificatesReady"] == expected


def test_status_is_json_with_kubernetes_names() -> None:
    """camelCase, with the initialisms that Kubernetes writes in capitals; and it can be read back."""
    status = tell(HEALTHY, make_desired(3))
    text = msgspec.json.encode(status)
    fields = msgspec.json.decode(text)
    assert {"observedGeneration", "clusterID", "faultTolerance", "membersSummary"} <= fields.keys()
    assert {"podUID", "nodeID"} <= fields["members"][0].keys()
    assert fields["conditions"][0].keys() == {
        "type",
        "status",
        "reason",
        "message",
        "observedGeneration",
        "lastTransitionTime",
    }
    assert msgspec.json.decode(text, type=Status) == status


@given(st.integers(0, 4_102_444_800))
def test_timestamp_equals_that_of_datetime(number: int) -> None:
    """Compared with the standard library, which the pure rooms must not import; and it can be read back."""
    assert rfc3339(number) == datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert seconds(rfc3339(number)) == number


@pytest.mark.parametrize(
    ("shortages", "state", "named"),
    [
        (("", "", ""), "True EnoughSpace", ""),
        (("", None, None), "True EnoughSpace", ""),
        ((None, None, None), "Unknown NoReport", ""),
        (("", "Disk", ""), "False DiskFull", "demo-1 has almost no space left"),
        (("Quota", "", None), "False QuotaReached", "demo-0 has reached spec.storage.quota"),
        (("", "", "Inodes"), "False Short", "demo-2 is short of space"),
    ],
)
def test_storage_is_available_unless_a_member_says_otherwise(
    shortages: tuple[str | None, ...], state: str, named: str
) -> None:
    """A member that does not report, such as one of an earlier version, is not taken for full."""
    desired = make_desired(3)
    observed = draw(HEALTHY, desired)
    slots = tuple(
        msgspec.structs.replace(
            slot,
            node=msgspec.structs.replace(slot.node, space=None if shortage is None else Space(shortage=shortage)),
        )
        for slot, shortage in zip(observed.slots, shortages, strict=True)
        if isinstance(slot.node, NodeStatus)
    )
    observed = msgspec.structs.replace(observed, slots=slots)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["StorageAvailable"] == state
    found = status.condition("StorageAvailable")
    assert found is not None
    assert named in found.message


@pytest.mark.parametrize(
    ("failing", "state", "named"),
    [
        (("", "", ""), "True Recording", "take records"),
        (("", None, ""), "True Recording", "take records"),
        ((None, None, None), "Unknown NoReport", "no member"),
        (("", "No space left on device", ""), "False SinkFailing", "the sink file of demo-1: No space left on device"),
    ],
)
def test_a_failing_sink_of_an_audit_log_is_a_condition(failing: tuple[str | None, ...], state: str, named: str) -> None:
    desired = make_desired(3)
    assert "AuditLogWorks" not in states_of(
        report(assess(desired, draw(HEALTHY, desired)), planned(desired, draw(HEALTHY, desired)), None)
    )
    desired = msgspec.structs.replace(
        desired, spec=msgspec.structs.replace(desired.spec, audit=Audit(files=AuditFiles(), blocking="WhenFailing"))
    )
    observed = draw(HEALTHY, desired)
    slots = tuple(
        msgspec.structs.replace(
            slot,
            node=msgspec.structs.replace(
                slot.node, audit=None if why is None else NodeAudit(sinks=(AuditSink(name="file", failing=why),))
            ),
        )
        for slot, why in zip(observed.slots, failing, strict=True)
        if isinstance(slot.node, NodeStatus)
    )
    observed = msgspec.structs.replace(observed, slots=slots)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert states_of(status)["AuditLogWorks"] == state
    found = status.condition("AuditLogWorks")
    assert found is not None
    assert named in found.message


def test_members_that_are_kept_from_running_say_so() -> None:
    """Not that they have not been started: that reads like a fault."""
    fenced = msgspec.structs.replace(make_desired(3), annotations={labels.FENCE: "demo-2"})
    assert [one.message for one in tell("0: leader\n1: voter\n2: gone", fenced).members] == [
        "",
        "",
        "fenced: it is kept from running, with its volume",
    ]
    asleep = tell("0: gone\n1: gone\n2: gone", make_desired(3, hibernate=True))
    assert {one.message for one in asleep.members} == {"hibernated: it is kept from running, with its volume"}
