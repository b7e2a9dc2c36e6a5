"""Recovery from a lost quorum: every guard once, every phase, and the operator killed between any two actions."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_operator.model.actions import Action, EnsureWorkload, RecordRecovery, RetireVolume
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import NodeStatus, Volume
from collectionstore_operator.model.recovery import OldVolume, RecoveryPhase, RecoveryRecord
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.recovery import Recovery
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.lost_quorum import (
    GRACE_S,
    NODES,
    OLD,
    World,
    acknowledge,
    blocker,
    healthy,
    settle,
    two_lost,
    wait,
    with_recovery,
)


def condition(world: World) -> tuple[str, str, str]:
    found = world.status.condition("QuorumLost") if world.status else None
    assert found is not None
    return found.status, found.reason, found.message


# What is lost, and what is not


def test_a_healthy_cluster_has_lost_nothing() -> None:
    world = healthy()
    assert world.round() == []
    assert condition(world)[:2] == ("False", "QuorumWorks")
    assert world.offered().phase == ""


def test_the_loss_is_named_and_the_survivors_are_ranked() -> None:
    world = two_lost()
    status, reason, message = condition(world)
    assert (status, reason) == ("True", "DisksGone")
    assert message.startswith(
        "2 of 3 disks are gone: demo-0 (claim deleted, and the new one is empty), demo-1 (claim deleted, and the new "
        "one is empty); 1 survives"
    )
    offered = world.offered()
    assert offered.lost == ("demo-0", "demo-1")
    assert [(one.name, one.last_log_term, one.last_index, one.revision) for one in offered.survivors] == [
        ("demo-2", 4, 98, 98)
    ]
    assert offered.phase == "Offered"
    assert len(offered.nonce) == 32


@pytest.mark.parametrize("cause", ["claim deleted", "claim lost"])
def test_a_claim_that_does_not_exist_and_one_that_is_lost_are_gone(cause: str) -> None:
    world = healthy()
    for ordinal in (0, 1):
        if cause == "claim lost":
            world.stop(ordinal)
            world.lost.add(ordinal)
        else:
            world.take(ordinal)
    wait(world)
    assert f"demo-0 ({cause}), demo-1 ({cause}); 1 survives" in condition(world)[2]


def test_one_lost_disk_of_three_is_no_lost_quorum() -> None:
    world = healthy()
    world.lose(1)
    wait(world)
    assert condition(world)[0] == "False"
    assert world.offered().nonce == ""


def test_pods_that_cannot_start_are_no_lost_disks_and_are_offered_nothing() -> None:
    world = healthy()
    world.stop(0)
    world.stop(1)
    wait(world)
    status, reason, message = condition(world)
    assert (status, reason) == ("True", "PodsCannotStart")
    assert message.startswith("2 of 3 pods cannot start: demo-0 is not running: Image; demo-1 is not running: Image")
    assert (world.offered().phase, world.offered().nonce) == ("", "")


def test_a_volume_that_cannot_be_observed_is_never_gone() -> None:
    world = healthy()
    world.lose(0)
    world.stop(1)
    world.unseen.add(1)
    wait(world)
    assert condition(world)[1] == "PodsCannotStart"
    assert world.offered().nonce == ""


def test_a_disk_of_an_incarnation_that_does_not_respond_is_not_gone() -> None:
    """It may have replaced the voter in a configuration that is newer than that of any member that responds."""
    world = two_lost()
    world.stop(0)
    world.round()
    assert condition(world)[1] == "PodsCannotStart"
    assert world.offered().nonce == ""


def test_a_voter_whose_pod_is_not_known_is_not_gone() -> None:
    """A configuration with a member of no ordinal of ours: two known losses of four are no majority."""
    world = two_lost()
    world.configuration = msgspec.structs.replace(world.configuration, voters=(*NODES, f"{99:016x}", f"{98:016x}"))
    world.status = None
    wait(world)
    assert world.offered().nonce == ""


# Frozen


def test_nothing_is_changed_while_a_majority_of_the_disks_is_gone() -> None:
    world = two_lost()
    for fields in ({}, {"replicas": 5}, {"replicas": 1}, {"version": "0.2.0"}):
        planned = plan(assess(with_recovery(world, **fields), world.observe()))
        assert planned.actions == ()
        assert [step.name for step in planned.steps] == ["RecoverQuorum"]


def test_nothing_is_offered_before_the_grace_time() -> None:
    world = healthy()
    world.lose(0)
    world.lose(1)
    world.round()
    assert (world.offered().phase, world.offered().nonce) == ("Waiting", "")
    real = two_lost().offered().nonce
    acknowledge(world, real)
    assert world.round() == []
    assert "after spec.failedMember.graceSeconds" in blocker(world.look())
    world.now += GRACE_S
    assert world.look().actions != ()


def test_the_grace_time_begins_anew_when_the_disks_were_back() -> None:
    world = healthy()
    lost = world.disks[0]
    world.lose(0)
    world.lose(1)
    world.round()
    fresh, world.disks[0] = world.disks[0], lost
    world.now += GRACE_S
    world.round()
    assert world.offered().phase == ""
    world.disks[0] = fresh
    world.look()
    assert world.offered().phase == "Waiting"


def test_nothing_begins_without_the_nonce() -> None:
    world = two_lost()
    assert world.round() == []
    assert blocker(world.look()) == "nothing is recovered without spec.recovery.nonce, from status.recovery.nonce"


def test_a_wrong_nonce_begins_nothing() -> None:
    world = two_lost()
    acknowledge(world, "f" * 32)
    assert world.round() == []
    assert "of another loss" in blocker(world.look())


def test_the_nonce_of_an_earlier_loss_begins_nothing() -> None:
    """Another disk is gone by now: what was acknowledged is not what would be lost."""
    world = healthy()
    world.lose(0)
    world.lose(1)
    wait(world)
    acknowledge(world)
    before = world.offered().nonce
    world.disks[1] = healthy().disks[1]
    world.lose(2)
    assert [type(one) for one in world.look().actions] == []
    assert world.offered().nonce not in ("", before)


def test_a_majority_that_came_back_is_never_recovered() -> None:
    world = two_lost()
    acknowledge(world)
    world.disks[0] = healthy().disks[0]
    settle(world)
    assert world.record is None
    assert world.formed == []
    assert world.cluster_id == OLD


def test_a_paused_cluster_is_not_recovered() -> None:
    world = two_lost()
    acknowledge(world)
    assert plan(assess(with_recovery(world, paused=True), world.observe())).actions == ()


@pytest.mark.parametrize("recorded", [False, True])
def test_survivor_whose_claim_is_being_deleted_is_not_stopped(*, recorded: bool) -> None:
    """Its running process is all that keeps its disk: the claim goes as soon as its pod does."""
    world = two_lost()
    acknowledge(world)
    if recorded:
        world.round()
        assert world.record is not None
    seen = world.observe()
    slots = tuple(
        msgspec.structs.replace(slot, volume=msgspec.structs.replace(slot.volume, terminating=True))
        if isinstance(slot.volume, Volume) and isinstance(slot.node, NodeStatus)
        else slot
        for slot in seen.slots
    )
    made = plan(assess(world.desired, msgspec.structs.replace(seen, slots=slots)))
    assert made.actions == ()
    assert "would delete its disk" in blocker(made)


# Which survivor


def test_the_most_up_to_date_log_survives() -> None:
    """By the term of the last entry first: a longer log of an older term has entries that were never committed.

    In a joint configuration one lost disk is enough, where it is the majority of one half.
    """
    world = healthy()
    world.configuration = msgspec.structs.replace(
        world.configuration, voters=NODES[1:], outgoing=(NODES[0],), joint=True
    )
    world.lose(0)
    world.disks[1].term, world.disks[1].index = 4, 500
    world.disks[2].term, world.disks[2].index = 5, 90
    wait(world)
    acknowledge(world)
    assert [one.name for one in world.offered().survivors] == ["demo-2", "demo-1"]
    (action,) = world.look().actions
    assert isinstance(action, RecordRecovery)
    assert (action.record.survivor, action.record.revision, action.record.highest_revision) == ("demo-2", 90, 500)


def test_a_better_log_that_does_not_respond_must_be_ruled_out_by_the_user() -> None:
    world = healthy()
    world.configuration = msgspec.structs.replace(
        world.configuration, voters=NODES[1:], outgoing=(NODES[0],), joint=True
    )
    world.lose(0)
    world.stop(1)
    wait(world)
    acknowledge(world)
    assert world.look().actions == ()
    assert "spec.recovery.survivor must name the survivor" in blocker(world.look())
    assert "demo-1 (demo-1 is not running: Image)" in blocker(world.look())
    acknowledge(world, survivor="demo-2")
    (action,) = world.look().actions
    assert isinstance(action, RecordRecovery)
    assert action.record.survivor == "demo-2"


def test_the_user_may_name_the_survivor() -> None:
    world = two_lost()
    acknowledge(world, survivor="demo-2")
    (action,) = world.look().actions
    assert isinstance(action, RecordRecovery)
    assert (action.record.survivor, action.record.node_id) == ("demo-2", NODES[2])


@pytest.mark.parametrize("named", ["demo-0", "demo-7", "other-2"])
def test_a_survivor_without_data_is_refused(named: str) -> None:
    world = two_lost()
    acknowledge(world, survivor=named)
    assert world.look().actions == ()
    assert f"spec.recovery.survivor is {named}, whose disk is not known to survive" in blocker(world.look())


def test_a_survivor_whose_disk_cannot_be_observed_is_refused() -> None:
    world = healthy()
    world.configuration = msgspec.structs.replace(
        world.configuration, voters=NODES[1:], outgoing=(NODES[0],), joint=True
    )
    world.lose(0)
    world.stop(1)
    world.unseen.add(1)
    wait(world)
    acknowledge(world, survivor="demo-1")
    assert world.look().actions == ()
    assert "spec.recovery.survivor is demo-1, whose disk is not known to survive" in blocker(world.look())


def test_a_survivor_that_does_not_respond_must_be_named() -> None:
    """Its position in the log is not known, so it cannot be said to be the best."""
    world = healthy()
    world.lose(0)
    world.lose(1)
    wait(world)
    world.stop(2)
    assert world.look().actions == ()


def test_when_every_disk_is_gone_no_survivor_is_made_up() -> None:
    world = healthy()
    for ordinal in range(3):
        world.lose(ordinal)
    wait(world)
    assert condition(world)[2].startswith("3 of 3 disks are gone")
    acknowledge(world)
    assert world.look().actions == ()
    assert "no disk survives" in blocker(world.look())


# From the first phase to the last


def check_recovered(world: World) -> None:
    assert world.formed == [world.cluster_id], "exactly one survivor formed exactly one cluster"
    assert world.cluster_id != OLD
    assert world.record is not None
    assert world.record.phase is RecoveryPhase.FINISHED
    assert len(world.configuration.voters) == 3
    assert world.disks[2].node_id in world.configuration.voters
    assert not {*world.configuration.voters} & {*NODES}
    assert world.offered().phase == "Finished"
    assert (world.offered().survivor, world.offered().cluster_id) == ("demo-2", world.cluster_id)
    assert world.status is not None
    assert world.status.cluster_id == world.cluster_id


def test_the_survivor_forms_a_new_cluster_and_the_others_join_it() -> None:
    world = two_lost()
    acknowledge(world)
    phases: list[str] = []
    for _ in range(40):
        world.round()
        if world.offered().phase not in phases[-1:]:
            phases.append(world.offered().phase)
        if world.look().converged:
            break
    assert phases == ["Offered", "Stopping", "SettingAside", "Forming", "Finished"]
    check_recovered(world)
    assert len(world.kept) == 2
    assert "recovered from demo-2 with revision 98" in world.offered().message
    assert "what only demo-0, demo-1 had is lost" in world.offered().message


def test_the_acknowledgement_stays_harmless_afterwards() -> None:
    world = two_lost()
    acknowledge(world)
    settle(world)
    stale = world.recovery
    for _ in range(3):
        assert world.round() == []
    # The same loss again, with the old acknowledgement still in the spec.
    world.lose(0)
    world.lose(1)
    wait(world)
    assert stale is not None
    assert world.offered().nonce not in ("", stale.nonce)
    assert world.round() == []
    acknowledge(world)
    settle(world)
    assert len(world.formed) == 2


def test_another_nonce_afterwards_is_ignored_with_a_note() -> None:
    world = two_lost()
    acknowledge(world)
    settle(world)
    world.recovery = Recovery(nonce="e" * 32)
    assert world.round() == []
    assert f"spec.recovery names the nonce {'e' * 32}, which is ignored" in world.offered().message


def test_the_survivor_is_not_decided_again() -> None:
    """Once it was recorded, neither the spec nor a better log changes it."""
    world = two_lost()
    acknowledge(world)
    world.round()
    world.recovery = Recovery(nonce=world.record.nonce if world.record else "", survivor="demo-0")
    settle(world)
    check_recovered(world)


def test_the_removal_of_the_acknowledgement_does_not_stop_it_half_way() -> None:
    world = two_lost()
    acknowledge(world)
    world.round()
    world.recovery = None
    settle(world)
    check_recovered(world)


def test_no_disk_is_set_aside_while_that_of_the_survivor_is_not_there() -> None:
    world = two_lost()
    acknowledge(world)
    while world.record is None or world.record.phase is not RecoveryPhase.SETTING_ASIDE:
        world.round()
    kept = world.disks.pop(2)
    for _ in range(3):
        assert world.round() == []
    assert "is not there any more" in blocker(world.look())
    world.disks[2] = replace(kept, uid="another claim")
    assert world.round() == []
    world.disks[2] = kept
    settle(world)
    check_recovered(world)


def test_no_disk_is_set_aside_while_anything_runs() -> None:
    """A pod that a controller started again, or one that was not seen before."""
    world = two_lost()
    acknowledge(world)
    while world.record is None or world.record.phase is not RecoveryPhase.SETTING_ASIDE:
        world.round()
    world.running[1] = True
    assert world.round() == []
    assert blocker(world.look()) == "demo-1 must terminate first"
    del world.running[1]
    settle(world)
    check_recovered(world)


def test_every_volume_is_kept_whatever_the_retention_is() -> None:
    world = two_lost()
    acknowledge(world)
    while world.record is None or world.record.phase is not RecoveryPhase.SETTING_ASIDE:
        world.round()
    desired = with_recovery(world, storage=msgspec.structs.replace(world.desired.spec.storage, retention="Delete"))
    retired = [one for one in plan(assess(desired, world.observe())).actions if isinstance(one, RetireVolume)]
    assert retired
    assert all(one.keep for one in retired)


def test_the_operator_is_killed_between_any_two_actions() -> None:
    """A new process begins with what is recorded: the status is the only other thing that it reads."""
    world = two_lost()
    acknowledge(world)
    for _ in range(60):
        world.round(actions_max=1)
        if world.look().converged:
            break
    check_recovered(world)


def test_two_operators_with_the_same_observation_form_one_cluster() -> None:
    """The second performs a plan that it made before the first had done anything: each record has a precondition."""
    world = two_lost()
    acknowledge(world)
    for _ in range(40):
        late = world.look()
        world.round()
        for action in late.actions:
            if isinstance(action, RecordRecovery):
                world.perform(action)
        if world.look().converged:
            break
    check_recovered(world)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["round", "one", "lose 0", "lose 1", "lose 2", "stop 0", "stop 2", "start", "wait", "ack", "late"]
        ),
        max_size=40,
    )
)
def test_at_most_one_survivor_is_formed_and_no_disk_of_a_member_is_deleted(events: list[str]) -> None:
    """Any order of losses, acknowledgements, restarts and late operators; `World.perform` judges every action."""
    world = healthy()
    late: tuple[Action, ...] = ()
    for event in events:
        word, _, ordinal = event.partition(" ")
        match word:
            case "lose" if world.record is None or not world.record.active:
                world.lose(int(ordinal))
            case "stop" if int(ordinal) in world.running:
                world.stop(int(ordinal))
            case "start":
                for one in list(world.running):
                    world._start(one)
            case "wait":
                wait(world)
            case "ack" if world.offered().nonce:
                acknowledge(world)
            case "late":
                for action in late:
                    if isinstance(action, RecordRecovery):
                        world.perform(action)
                late = world.look().actions
            case "one":
                world.round(actions_max=1)
            case "round":
                world.round()
            case _:
                pass
        assert len(world.formed) == len(set(world.formed)), "a cluster was formed twice"
        if world.record is None:
            assert world.cluster_id == OLD
    if world.record is not None:
        assert world.record.survivor not in world.record.lost


def test_the_workload_is_never_ensured_with_members_before_it_forms() -> None:
    world = two_lost()
    acknowledge(world)
    seen = []
    for _ in range(40):
        for action in world.round():
            if isinstance(action, EnsureWorkload):
                seen.append((world.record.phase if world.record else None, action.replicas))
        if world.look().converged:
            break
    assert seen == [(RecoveryPhase.STOPPING, 0), (RecoveryPhase.FORMING, 3)]


def test_the_status_of_a_lost_quorum_holds_still() -> None:
    world = two_lost()
    first = world.status
    world.now += 3
    assessment = assess(world.desired, world.observe())
    assert report(assessment, plan(assessment), first) == first


def test_a_recovery_takes_over_the_volumes_that_a_restore_was_to_delete() -> None:
    world = two_lost()
    old = (OldVolume(name="pv-1", claim_uid="claim-1"),)
    world.record = RecoveryRecord(
        nonce="a" * 32,
        phase=RecoveryPhase.FINISHED,
        survivor="demo-0",
        ordinal=0,
        node_id="",
        from_cluster="old",
        cluster_id=world.cluster_id,
        delete_old=True,
        old_volumes=old,
    )
    acknowledge(world, survivor="demo-2")
    (action,) = world.look().actions
    assert isinstance(action, RecordRecovery)
    assert action.record.overdue == old
