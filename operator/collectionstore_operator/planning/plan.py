"""What to do now, and what remains: Assessment -> Plan. Pure.

A cluster that has lost a majority of its disks is frozen: nothing but its recovery is planned, once it is acknowledged.

The parts run in order of urgency: prerequisites, repair, scaling, rollout of a new revision. Each part proposes
independently; this module limits one round to at most one action that is disruptive or changes the membership, because
its result must be observed before the next.

Two kinds of proposals differ in what can hold them back:
- upkeep: the finalizer, the epoch, records of what was seen, volumes that must outlive their claims, processes that the
  workload includes. Only a namespace that is being deleted holds it back, since nothing can be created there;
- changes of the cluster. They are held back also while the resource is paused, by another operator's epoch, and while
  it is not certain which cluster this is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from collectionstore_operator.model.actions import Action, AddLearners, RecordPlannedWork, disruptive
from collectionstore_operator.model.assessment import Assessment, contradicts_authorities, fenced_reason
from collectionstore_operator.model.observed import Workload
from collectionstore_operator.model.plan import Plan, Proposal, Step, postpone, postponed
from collectionstore_operator.planning import (
    certificates,
    endangered,
    fencing,
    final_backup,
    finalizer,
    hibernation,
    identity,
    in_place_restore,
    labelling,
    leadership,
    member_fencing,
    membership,
    objects,
    ownership,
    read_replicas,
    records,
    recovery,
    released_volumes,
    replacement,
    restore,
    retention,
    rollout,
    switchover,
    teardown,
    volume_expansion,
    volumes,
    workload,
)
from collectionstore_operator.planning.access import cluster as access


def plan(assessment: Assessment) -> Plan:
    """Return the actions to perform now, in order, and every step that remains with what it waits for."""
    desired, observed = assessment.desired, assessment.observed
    if desired.deleting and observed.namespace_terminating:
        return _schedule(finalizer.release_with_namespace(assessment))
    namespace = f"the namespace {desired.namespace} is terminating" if observed.namespace_terminating else ""
    due = teardown.due(assessment)
    conflict = "" if due else observed.identity_conflict or contradicts_authorities(desired, observed)
    blocker = fenced_reason(observed) or conflict or ("spec.paused is true" if desired.spec.paused else "") or namespace
    upkeep = _held_back(_upkeep(assessment, blocker), namespace)
    changes = _held_back(_changes(assessment), blocker)
    remaining = (*upkeep, *changes)
    # LAST, and only when nothing remains, also nothing that is held back: it is what lets the resource go.
    return _schedule((*remaining, *finalizer.release(assessment, remaining)))


def _held_back(proposals: Iterable[Proposal], blocker: str) -> tuple[Proposal, ...]:
    return tuple(postponed(one, blocker) if blocker else one for one in proposals)


def _upkeep(assessment: Assessment, blocker: str) -> Iterator[Proposal]:
    """Yield what is done in every state of the cluster, BEFORE any change of it; `blocker` holds changes back."""
    yield from finalizer.add(assessment)
    yield from fencing.raise_epoch(assessment)
    yield from retention.record_protected_deletion(assessment)
    yield from final_backup.hold(assessment)
    yield from final_backup.record_end(assessment, blocker)
    yield from retention.protect(assessment)
    yield from records.record(assessment)
    if not teardown.due(assessment):
        yield from workload.start_idle(assessment)
        yield from workload.stop_surplus(assessment)
    yield from read_replicas.upkeep(assessment)


def _changes(assessment: Assessment) -> Iterator[Proposal]:
    """Yield what every part proposes, most urgent first."""
    desired = assessment.desired
    if teardown.due(assessment):
        yield from read_replicas.tear_down(assessment)
        yield from teardown.tear_down(assessment)
        return
    if desired.deleting and not desired.spec.deletion_protection:
        yield from final_backup.take(assessment)
    elif desired.deleting:
        reason = "the resource is being deleted"
        yield postpone("EnsureWorkload", reason=reason, blocked_by="spec.deletionProtection is true")
    yield from ownership.conflicts(assessment)
    if ownership.hold_everything(assessment):
        return
    if not assessment.observed.cluster_id:
        # Nothing else in this round: every object, volume and certificate carries the ID.
        established = identity.establish(assessment)
        yield established
        if established.actions:
            yield from certificates.publish_authority(assessment)
        return
    yield from labelling.restore(assessment)
    to_restore = restore.record(assessment)
    if to_restore is not None:
        # Nothing starts before it is recorded, nor instead of it.
        yield to_restore
        return
    if in_place_restore.concerns(assessment):
        # Frozen, also if the quorum is lost: what there is is set aside, and nothing rests on it.
        yield from in_place_restore.proceed(assessment)
        return
    yield from in_place_restore.held_back(assessment)
    if recovery.concerns(assessment):
        if not recovery.is_under_way(assessment):
            # Its log may be the better one, and is read only while it runs.
            yield from member_fencing.release(assessment)
        # Frozen: nothing else may scale, restart, replace or retire what a recovery rests on.
        yield from recovery.proceed(assessment)
        return
    yield from retention.release(assessment)
    yield from certificates.issue(assessment)
    yield from certificates.enrol(assessment)
    yield from certificates.answer(assessment)
    yield from objects.apply(assessment)
    if hibernation.suspends(assessment):
        yield from hibernation.suspended(assessment)
        return
    yield from restore.prepare(assessment)
    yield from workload.ensure(assessment)
    yield from member_fencing.release(assessment)
    yield from workload.unexplained(assessment)
    yield from read_replicas.ensure(assessment)
    yield from restore.renew(assessment)
    yield from restore.release(assessment)
    yield from restore.wait(assessment)
    yield from membership.bootstrap(assessment)
    yield from leadership.await_leader(assessment)
    yield from access.configure(assessment)
    yield from rollout.restart_broken(assessment)
    yield from volumes.force_delete_stuck(assessment)
    yield from volumes.clear_stale(assessment)
    yield from membership.repair(assessment)
    yield from volumes.replace_failed(assessment)
    yield from endangered.replace(assessment)
    yield from replacement.replace(assessment)
    yield from switchover.transfer(assessment)
    yield from member_fencing.fence(assessment)
    yield from membership.scale(assessment)
    yield from workload.shrink(assessment)
    if isinstance(assessment.observed.workload, Workload):
        yield from volumes.discard_removed(assessment, assessment.observed.workload)
    yield from volume_expansion.grow(assessment)
    yield from read_replicas.maintain(assessment)
    yield from read_replicas.before_voters(assessment, rollout.restart_healthy(assessment))
    yield from volume_expansion.renew_template(assessment)
    yield from hibernation.prepare(assessment)
    # LAST: each can be refused for as long as a volume is in use, and nothing may wait for them.
    yield from in_place_restore.discard_old(assessment)
    yield from released_volumes.clean_up(assessment)


def _schedule(proposals: Iterable[Proposal]) -> Plan:
    """Admit at most one proposal that is disruptive or changes the membership, and block those after it."""
    actions: list[Action] = []
    steps: list[Step] = []
    first = ""
    for proposal in proposals:
        if any(_exclusive(action) for action in proposal.actions):
            if first:
                proposal = postponed(proposal, f"{first} must complete first")
            else:
                first = f"{proposal.step.name} {proposal.step.subject}".strip()
        actions += proposal.actions
        steps.append(msgspec.structs.replace(proposal.step, action_count=len(proposal.actions)))
    return Plan(actions=tuple(actions), steps=tuple(steps))


def _exclusive(action: Action) -> bool:
    # AddLearners removes no member, but it moves the configuration index that every other change is planned from; so
    # does RecordPlannedWork the record.
    return disruptive(action) or isinstance(action, AddLearners | RecordPlannedWork)
