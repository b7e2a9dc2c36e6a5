"""Read replicas in the plan: up, down, replaced, restarted, and never a vote for them or because of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    ApplyObject,
    ChangeVoters,
    DeleteObject,
    EnsureWorkload,
    MarkVolume,
    RemoveLearners,
    RestartPod,
    RetireVolume,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    AppliedObject,
    Certificate,
    CertificateKind,
    Failure,
    Member,
    NodeStatus,
    Observed,
    Pod,
    Replicas,
    SigningRequest,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.planning.certificates import to_answer
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.resource.desired import Desired, FailedMember
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import (
    CLUSTER_ID,
    actions_of,
    blocked_steps,
    draw,
    make_desired,
    planned,
)

THREE = "0: leader\n1:\n2:"


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One read replica to draw."""

    member: bool = True
    joined: bool = True
    """Its node has been part of the cluster."""
    node_id: str = ""
    former: str = ""
    """An incarnation that is still in the configuration."""
    pod: bool = True
    ready: bool = True
    active: bool = True
    old: bool = False
    unready_s: float = 0.0
    failure: Failure = Failure.NONE
    removed: bool = False
    volume: bool = True
    votes: bool = False
    refused: bool = False
    """Its pod cannot be created, for a cause that does not pass."""
    lag: int = 0


def with_reads(
    desired: Desired, picture: str, *replicas: Replica, workload: int | None = None, **facts: object
) -> Observed:
    """Return the pictured voters with these read replicas beside them."""
    seen = draw(picture, desired, **facts)
    group = desired.reads()
    slots: list[Slot] = []
    members: list[Member] = []
    added: dict[str, list[str]] = {"learners": [], "voters": []}
    for ordinal, one in enumerate(replicas):
        node_id = one.node_id or f"read-{ordinal}"
        name = group.member(ordinal)
        for known, alive in ((node_id if one.member else "", one.active), (one.former, False)):
            if not known:
                continue
            added["voters" if one.votes else "learners"].append(known)
            silent_ms = 80.0 if alive else 60_000.0
            members.append(Member(known, name=name, match_index=9, lag=one.lag, active=alive, silent_ms=silent_ms))
        slots.append(_slot(group, ordinal, node_id, one))
    configuration = None
    for slot in seen.slots:
        if isinstance(slot.node, NodeStatus) and slot.node.configuration.voters:
            old = slot.node.configuration
            configuration = msgspec.structs.replace(
                old,
                learners=tuple(sorted((*old.learners, *added["learners"]))),
                voters=tuple(sorted((*old.voters, *added["voters"]))),
            )
    voters = tuple(
        msgspec.structs.replace(
            slot,
            node=msgspec.structs.replace(
                slot.node,
                configuration=configuration,
                members=(*slot.node.members, *members) if slot.node.role == "Leader" else (),
            ),
        )
        if isinstance(slot.node, NodeStatus) and configuration is not None
        else slot
        for slot in seen.slots
    )
    number = sum(one.pod for one in replicas) if workload is None else workload
    reads = Replicas(
        workload=Workload(replicas=number, revision=revision(group)) if replicas or workload else ABSENT,
        slots=tuple(slots),
    )
    return msgspec.structs.replace(seen, slots=voters, reads=reads)


def _slot(group: Desired, ordinal: int, node_id: str, one: Replica) -> Slot:
    pod: Pod | Absent = ABSENT
    node: NodeStatus | Unknown = Unknown("no answer")
    if one.pod:
        down = one.failure is not Failure.NONE
        pod = Pod(
            uid=f"uid-read-{ordinal}",
            running=not down,
            ready=one.ready and not down,
            revision="earlier" if one.old else revision(group),
            unready_s=one.unready_s or (0.0 if one.ready and not down else 600.0),
            failure=one.failure,
            peer_address=f"read-{ordinal}:7401",
            http_address=f"http://read-{ordinal}:7400",
        )
        if not down:
            node = NodeStatus(
                cluster_id=CLUSTER_ID,
                node_id=node_id,
                name=group.member(ordinal),
                state="Member" if one.member else "Uninitialized",
                role="Learner",
                term=7 if one.joined else 0,
                last_index=9 if one.joined else 0,
                uptime_s=3_600.0,
            )
    volume = (
        Volume(name=f"data-{group.member(ordinal)}", node_id=node_id, removed=one.removed) if one.volume else ABSENT
    )
    return Slot(ordinal=ordinal, pod=pod, node=node, volume=volume, pending_failed=one.refused)


def votes(actions: tuple[Action, ...]) -> set[str]:
    """Return the names of the members that actions give a vote."""
    return {member.name for one in actions if isinstance(one, ChangeVoters) for member in one.add}


def test_a_cluster_without_read_replicas_plans_as_before() -> None:
    desired = make_desired(3)
    assert planned(desired, draw(THREE, desired)).converged
    assert assess(desired, draw(THREE, desired)).reads() is None


def test_their_workload_is_created_with_all_that_they_need() -> None:
    desired = make_desired(3, read_replicas=2)
    made = planned(desired, draw(THREE, desired, objects=()))
    workload = [one for one in made.actions if isinstance(one, EnsureWorkload)]
    assert [(one.group, one.replicas) for one in workload if one.group == "reads"] == [("reads", 2)]
    applied = {(one.kind, one.name) for one in made.actions if isinstance(one, ApplyObject) and one.group == "reads"}
    assert applied == {
        ("Service", "demo-read"),
        ("Service", "demo-read-peers"),
        ("PodDisruptionBudget", "demo-read"),
        ("NetworkPolicy", "demo-read"),
    }


def test_they_wait_for_a_cluster_that_has_data() -> None:
    desired = make_desired(3, read_replicas=2)
    made = planned(desired, draw("0: fresh\n1: fresh\n2: fresh", desired))
    assert not any(one.group == "reads" for one in made.actions)


def test_they_join_as_learners_with_their_own_addresses() -> None:
    desired = make_desired(3, read_replicas=2)
    new = Replica(member=False, joined=False, ready=False)
    made = planned(desired, with_reads(desired, THREE, new, new))
    (joining,) = (one for one in made.actions if isinstance(one, AddLearners))
    assert [(one.name, one.address) for one in joining.members] == [
        ("demo-read-0", "read-0:7401"),
        ("demo-read-1", "read-1:7401"),
    ]


def test_joined_the_plan_is_empty() -> None:
    desired = make_desired(3, read_replicas=2)
    assert planned(desired, with_reads(desired, THREE, Replica(), Replica())).converged


def test_caught_up_they_are_not_promoted() -> None:
    """What a learner of the voters' workload would be."""
    desired = make_desired(3, read_replicas=2)
    made = planned(desired, with_reads(desired, THREE, Replica(lag=0), Replica(lag=0)))
    assert not votes(made.actions)


def test_scaling_the_voters_up_promotes_new_members_only() -> None:
    desired = make_desired(5, read_replicas=2)
    made = planned(desired, with_reads(desired, f"{THREE}\n3: learner\n4: learner", Replica(), Replica()))
    assert actions_of(made) == ["ChangeVoters +old-3 +old-4"]


def test_a_lost_voter_is_replaced_by_its_successor_and_no_read_replica() -> None:
    desired = make_desired(3, read_replicas=2)
    made = planned(desired, with_reads(desired, "0: leader\n1: rejoined\n2:", Replica(), Replica()))
    assert actions_of(made) == ["ChangeVoters +new-1 -old-1"]


def test_scaling_the_voters_down_is_not_held_by_read_replicas() -> None:
    """A member whose ordinal is not known keeps every pod; theirs are known not to be of that workload."""
    desired = make_desired(3, read_replicas=1)
    made = planned(desired, with_reads(desired, f"{THREE}\n3:\n4:", Replica()))
    assert "ChangeVoters -old-3 -old-4" in actions_of(made)
    later = planned(desired, with_reads(desired, f"{THREE}\n3: stale\n4: stale", Replica()))
    assert "EnsureWorkload 3" in actions_of(later)


def test_read_replicas_do_not_make_a_quorum() -> None:
    """One of three voters and any number of read replicas: nothing of the voters may be changed."""
    desired = make_desired(3, read_replicas=3)
    seen = with_reads(desired, "0: leader\n1: down=600\n2: down=600", *(Replica() for _ in range(3)))
    assessment = assess(desired, seen)
    assert "no quorum" in assessment.view.untrusted_reason
    assert assessment.view.fault_tolerance == 0
    assert not any(isinstance(one, ChangeVoters | RetireVolume) for one in planned(desired, seen).actions)


def test_the_budget_of_the_voters_counts_voters() -> None:
    desired = make_desired(3, read_replicas=3)
    seen = with_reads(desired, THREE, Replica(active=False, ready=False), Replica(), Replica())
    assert max_unavailable(assess(desired, seen)) == 1


def test_fault_tolerance_ignores_them() -> None:
    desired = make_desired(3, read_replicas=2)
    assert assess(desired, with_reads(desired, THREE, Replica(), Replica())).view.fault_tolerance == 1


def test_surplus_ones_leave_before_their_pods_stop() -> None:
    desired = make_desired(3, read_replicas=1)
    first = planned(desired, with_reads(desired, THREE, Replica(), Replica()))
    assert actions_of(first) == ["RemoveLearners demo-read-1"]
    then = with_reads(desired, THREE, Replica(), Replica(member=False))
    made = planned(desired, then)
    assert actions_of(made) == ["MarkVolume data-demo-read-1", "EnsureWorkload 1"]
    assert all(one.group == "reads" for one in made.actions)


def test_down_to_none_deletes_their_objects_last() -> None:
    desired = make_desired(3, read_replicas=0)
    objects = tuple(
        AppliedObject(kind=kind, name="demo-read") for kind in ("Service", "PodDisruptionBudget", "StatefulSet")
    )
    busy = planned(desired, msgspec.structs.replace(with_reads(desired, THREE, Replica()), objects=objects))
    assert not any(isinstance(one, DeleteObject) for one in busy.actions)
    idle = Replica(pod=False, member=False, removed=True)
    left = with_reads(desired, THREE, idle, workload=0)
    made = planned(desired, msgspec.structs.replace(left, objects=objects))
    deleted = [one for one in made.actions if isinstance(one, DeleteObject)]
    assert {(one.kind, one.group) for one in deleted} == {(one.kind, "reads") for one in objects}


def test_a_lost_volume_is_followed_by_a_new_incarnation() -> None:
    desired = make_desired(3, read_replicas=1)
    seen = with_reads(desired, THREE, Replica(member=False, joined=False, former="lost", ready=False))
    made = planned(desired, seen)
    assert actions_of(made) == ["RemoveLearners demo-read-0"]
    gone = with_reads(desired, THREE, Replica(member=False, joined=False, ready=False))
    assert actions_of(planned(desired, gone)) == ["AddLearners demo-read-0"]


def test_a_failed_one_is_replaced_without_a_quorum_to_ask() -> None:
    desired = make_desired(3, read_replicas=2)
    dead = Replica(active=False, failure=Failure.DISK)
    made = planned(desired, with_reads(desired, THREE, dead, Replica()))
    assert actions_of(made) == ["RetireVolume data-demo-read-0 keep"]
    assert made.actions[0].group == "reads"


def test_one_that_is_down_holds_no_repair_of_the_voters() -> None:
    desired = make_desired(3, read_replicas=1)
    dead = Replica(active=False, failure=Failure.MACHINE)
    made = planned(desired, with_reads(desired, "0: leader\n1:\n2: down=600 failure=Disk", dead))
    assert actions_of(made)[0] == "RetireVolume data-demo-2 keep"


def test_they_are_restarted_before_the_voters_and_one_at_a_time() -> None:
    desired = make_desired(3, read_replicas=2)
    seen = with_reads(desired, "0: leader old\n1: old\n2: old", Replica(old=True), Replica(old=True))
    made = planned(desired, seen)
    assert actions_of(made) == ["RestartPod demo-read-1"]
    assert any("demo-read-0 is restarted first" in step for step in blocked_steps(made))


def test_the_plan_is_not_empty_before_all_of_them_serve() -> None:
    desired = make_desired(3, read_replicas=2)
    made = planned(desired, with_reads(desired, THREE, Replica(), Replica(ready=False, unready_s=2.0)))
    assert made.actions == ()
    assert blocked_steps(made) == ["AwaitReadReplica demo-read-1: demo-read-1 is not ready"]


def test_the_next_one_waits_for_the_one_before() -> None:
    desired = make_desired(3, read_replicas=2)
    back = Replica(ready=False, unready_s=5.0)
    made = planned(desired, with_reads(desired, "0: leader old\n1: old\n2: old", Replica(old=True), back))
    assert actions_of(made) == []


@pytest.mark.parametrize(
    ("broken", "goes_on"),
    [
        (Replica(ready=False, unready_s=5.0), False),
        (Replica(ready=False, unready_s=600.0), True),
        (Replica(failure=Failure.IMAGE, active=False), False),
        (Replica(failure=Failure.CRASH, active=False, unready_s=600.0), False),
        (Replica(failure=Failure.DOWNGRADED, active=False, unready_s=600.0), False),
        (Replica(failure=Failure.MACHINE, active=False, unready_s=10.0), True),
        (Replica(pod=False, active=False), True),
    ],
)
def test_what_holds_the_rollout_of_the_voters(broken: Replica, goes_on: bool) -> None:  # noqa: FBT001 - a table
    """One that shows what the voters would do holds it; one that is lost for another reason does not."""
    desired = make_desired(3, read_replicas=1)
    made = planned(desired, with_reads(desired, "0: leader\n1: old\n2: old", broken, workload=1))
    restarted = any(isinstance(one, RestartPod) and one.group == "voters" for one in made.actions)
    assert restarted is goes_on


@pytest.mark.parametrize(
    ("lost", "goes_on"),
    [
        (Replica(failure=Failure.MACHINE, active=False, unready_s=600.0), True),
        (Replica(failure=Failure.SCHEDULING, active=False, unready_s=60.0), True),
        (Replica(ready=False, unready_s=600.0), True),
        (Replica(failure=Failure.MACHINE, active=False, unready_s=10.0), False),
        (Replica(ready=False, unready_s=10.0), False),
        (Replica(failure=Failure.IMAGE, active=False, unready_s=600.0), False),
        (Replica(failure=Failure.CRASH, active=False, unready_s=600.0), False),
        (Replica(pod=False, active=False), False),
        (Replica(pod=False, active=False, refused=True), True),
    ],
)
def test_a_lost_one_holds_no_restart_of_another(lost: Replica, goes_on: bool) -> None:  # noqa: FBT001 - a table
    """The voters wait for that other one: they would wait for a machine that never comes back."""
    desired = make_desired(3, read_replicas=2, failed_member=FailedMember(replacement="Manual"))
    seen = with_reads(desired, "0: leader old\n1: old\n2: old", lost, Replica(old=True), workload=2)
    assert actions_of(planned(desired, seen)) == (["RestartPod demo-read-1"] if goes_on else [])


def test_voters_are_restarted_beside_a_lost_one_once_the_others_are() -> None:
    desired = make_desired(3, read_replicas=2, failed_member=FailedMember(replacement="Manual"))
    lost = Replica(failure=Failure.MACHINE, active=False, unready_s=600.0)
    made = planned(desired, with_reads(desired, "0: leader old\n1: old\n2: old", lost, Replica()))
    assert actions_of(made) == ["RestartPod demo-2"]


def test_a_restarted_one_is_deleted_and_needs_no_eviction() -> None:
    desired = make_desired(3, read_replicas=1)
    made = planned(desired, with_reads(desired, THREE, Replica(old=True)))
    (restart,) = (one for one in made.actions if isinstance(one, RestartPod))
    assert not restart.evict


def test_one_that_votes_by_another_hand_is_shown_and_kept() -> None:
    desired = make_desired(3, read_replicas=0)
    made = planned(desired, with_reads(desired, THREE, Replica(votes=True)))
    assert not any(isinstance(one, RemoveLearners | ChangeVoters) for one in made.actions)
    assert not any(isinstance(one, EnsureWorkload) and one.shrinks for one in made.actions)
    assert any(step.startswith("DemoteVoter demo-read-0") for step in blocked_steps(made))


def test_one_that_votes_counts_for_the_quorum_that_it_is_part_of() -> None:
    """Four voters, one of them a read replica: two in sync are no majority, three are."""
    desired = make_desired(3, read_replicas=1)
    two = with_reads(desired, "0: leader\n1:\n2: down=600", Replica(votes=True, active=False))
    assert "no quorum" in assess(desired, two).view.untrusted_reason
    three = with_reads(desired, "0: leader\n1:\n2: down=600", Replica(votes=True))
    assert assess(desired, three).view.trusted


def test_an_autoscaler_sets_their_number() -> None:
    desired = make_desired(3, read_replicas=1, read_replicas_max=4)
    new = Replica(member=False, joined=False, ready=False)
    up = planned(desired, with_reads(desired, THREE, Replica(), new, new))
    assert actions_of(up) == ["AddLearners demo-read-1 demo-read-2"]


@pytest.mark.parametrize(("scaled", "number"), [(0, 1), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_an_autoscaler_is_followed_within_the_range(scaled: int, number: int) -> None:
    desired = make_desired(3, read_replicas=1, read_replicas_max=4)
    seen = with_reads(desired, THREE, workload=scaled)
    reads = assess(desired, seen).reads()
    assert reads is not None
    assert reads.desired.spec.replicas == number


def test_what_an_autoscaler_has_stopped_is_removed_and_not_started_again() -> None:
    desired = make_desired(3, read_replicas=1, read_replicas_max=4)
    stopped = Replica(pod=False, active=False)
    made = planned(desired, with_reads(desired, THREE, Replica(), stopped))
    assert actions_of(made) == ["RemoveLearners demo-read-1"]
    left = Replica(pod=False, member=False)
    assert actions_of(planned(desired, with_reads(desired, THREE, Replica(), left))) == ["MarkVolume data-demo-read-1"]


def test_the_volume_of_a_removed_one_is_never_started_on_again() -> None:
    desired = make_desired(3, read_replicas=1)
    left = Replica(pod=False, member=False, removed=True)
    made = planned(desired, with_reads(desired, THREE, left, workload=0))
    assert actions_of(made) == ["RetireVolume data-demo-read-0 keep"]


def test_paused_nothing_is_done() -> None:
    desired = make_desired(3, read_replicas=2, paused=True)
    assert planned(desired, draw(THREE, desired)).actions == ()


def test_deletion_stops_them_too() -> None:
    desired = msgspec.structs.replace(make_desired(3, read_replicas=1), deleting=True)
    made = planned(desired, with_reads(desired, THREE, Replica(), finalizer=True))
    assert any(isinstance(one, EnsureWorkload) and one.group == "reads" and one.replicas == 0 for one in made.actions)


def test_their_requests_for_certificates_are_answered_by_their_own_pods() -> None:
    desired = make_desired(3, read_replicas=1)
    seen = with_reads(desired, THREE, Replica())
    certificate = draw(THREE, desired)
    assert certificate.requests is None
    requests = (
        SigningRequest(name="good", member="demo-read-0", pod_uid="uid-read-0"),
        SigningRequest(name="earlier", member="demo-read-0", pod_uid="uid-0"),
        SigningRequest(name="stranger", member="demo-read-7", pod_uid="uid-0"),
    )
    authority = Certificate(kind=CertificateKind.AUTHORITY, name="demo", not_before=0, not_after=2e9, authority="key")
    seen = msgspec.structs.replace(seen, requests=requests, certificates=(authority,))
    answers = to_answer(desired, seen, range(3), range(1))
    assert [(type(one).__name__, one.request) for one in answers] == [
        ("SignRequest", "good"),
        ("DenyRequest", "earlier"),
        ("DenyRequest", "stranger"),
    ]
    assert answers[0].group == "reads"
    assert "DNS:demo-read.default.svc" in answers[0].names  # type: ignore[union-attr]


def test_the_status_shows_them_beside_the_voters() -> None:
    desired = make_desired(3, read_replicas=2)
    stale = Replica(ready=False)
    seen = with_reads(desired, THREE, Replica(), stale)
    assert seen.reads is not None
    old = seen.reads.slots[1]
    assert isinstance(old.node, NodeStatus)
    node = msgspec.structs.replace(old.node, staleness_ms=47_000, staleness_max_ms=10_000)
    slots = (seen.reads.slots[0], msgspec.structs.replace(old, node=node))
    seen = msgspec.structs.replace(seen, reads=msgspec.structs.replace(seen.reads, slots=slots))
    status = report(assess(desired, seen), planned(desired, seen), None)
    rows = [(one.name, one.role, one.group, one.staleness_seconds) for one in status.members if one.group == "reads"]
    assert rows == [("demo-read-0", "ReadReplica", "reads", 0), ("demo-read-1", "ReadReplica", "reads", 40)]
    assert (status.read_replicas, status.ready_read_replicas) == (2, 1)
    assert status.members_summary == "3/3"
    for kind in ("Available", "QuorumSafe", "MembersUpdated"):
        found = status.condition(kind)
        assert found is not None
        assert found.status == "True", kind


REPLICAS = st.builds(
    Replica,
    member=st.booleans(),
    joined=st.booleans(),
    former=st.sampled_from(["", "lost"]),
    pod=st.booleans(),
    ready=st.booleans(),
    active=st.booleans(),
    old=st.booleans(),
    failure=st.sampled_from(list(Failure)),
    removed=st.booleans(),
    volume=st.booleans(),
)
VOTERS = st.sampled_from(
    ["", "lag=9000", "down=600", "silent", "old", "down=600 failure=Disk", "mute", "hidden", "replace", "doomed"]
)


@given(
    voters=st.lists(VOTERS, min_size=2, max_size=4),
    replicas=st.lists(REPLICAS, max_size=3),
    wanted=st.integers(0, 3),
    size=st.sampled_from([1, 3, 5]),
)
def test_no_read_replica_is_ever_given_a_vote(
    voters: list[str], replicas: list[Replica], wanted: int, size: int
) -> None:
    """Whatever the state: no action adds a vote for one, and none that touches a voter is said to be about them."""
    desired = make_desired(size, read_replicas=wanted)
    picture = "\n".join(["0: leader", *(f"{number + 1}: {words}" for number, words in enumerate(voters))])
    made = planned(desired, with_reads(desired, picture, *replicas))
    assert not any(name.startswith("demo-read-") for name in votes(made.actions))
    for one in made.actions:
        if isinstance(one, RestartPod | RetireVolume | MarkVolume):
            assert ("demo-read-" in one.name) == (one.group == "reads")


@given(replicas=st.lists(REPLICAS, max_size=3), voters=st.lists(VOTERS, min_size=2, max_size=2))
def test_what_is_known_of_the_quorum_does_not_depend_on_them(replicas: list[Replica], voters: list[str]) -> None:
    desired = make_desired(3, read_replicas=len(replicas))
    picture = "\n".join(["0: leader", *(f"{number + 1}: {words}" for number, words in enumerate(voters))])
    without, beside = draw(picture, desired), with_reads(desired, picture, *replicas)
    first, second = assess(desired, without).view, assess(desired, beside).view
    assert first.in_sync_voters == second.in_sync_voters
    assert first.fault_tolerance == second.fault_tolerance
    assert first.trusted == second.trusted
