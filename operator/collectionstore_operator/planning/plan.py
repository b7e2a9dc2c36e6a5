"""The plan: actions to execute now and steps that remain, from (desired, observed). Pure.

The parts run in order of urgency: prerequisites, repair, scaling, rollout of a new revision. Each part proposes
independently; this module limits one round to at most one action that is disruptive or changes the membership, because
its result must be observed before the next.

All actions are blocked while the resource is paused, and after another operator has taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collectionstore_operator import manifests
from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    ApplyObject,
    DeleteObject,
    EnsureWorkload,
    EstablishIdentity,
    Plan,
    Proposal,
    RetireVolume,
    SignRequest,
    Step,
    disruptive,
    postpone,
    postponed,
    propose,
)
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    assess,
    change_blocked_by,
    fenced_reason,
    is_serving,
    replaced_members,
)
from collectionstore_operator.model.observed import Absent, Observed, Unknown, Volume, Workload
from collectionstore_operator.planning import certificates, membership, rollout, volume_expansion, volumes, workload
from collectionstore_operator.resource.desired import Desired


def plan(desired: Desired, observed: Observed) -> Plan:
    """Return the actions to execute now, in order, and all remaining steps with what blocks them."""
    assessment = assess(desired, observed)
    blocker = fenced_reason(observed) or (
        "spec.paused is true" if desired.spec.paused else _namespace_terminating(desired, observed)
    )
    proposals = tuple(_proposals(assessment))
    if blocker:
        proposals = tuple(postponed(proposal, blocker) for proposal in proposals)
    return _schedule(proposals)


def _namespace_terminating(desired: Desired, observed: Observed) -> str:
    """Return why no object can be created any more; deletion of the cluster is not blocked."""
    if not observed.namespace_terminating or (desired.deleting and not desired.spec.deletion_protection):
        return ""
    return f"the namespace {desired.namespace} is terminating"


def _proposals(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the proposals of every part, the most urgent first."""
    desired = assessment.desired
    if desired.deleting and not desired.spec.deletion_protection:
        yield from _tear_down(assessment)
        return
    if desired.deleting:
        reason = "the resource is being deleted"
        yield postpone("EnsureWorkload", reason=reason, blocked_by="spec.deletionProtection is true")
    if not assessment.observed.cluster_id:
        yield propose(EstablishIdentity(reason="volumes and certificates are stamped with the cluster ID"))
        return
    yield from _issue_certificates(assessment)
    yield from _apply_objects(assessment)
    yield from workload.ensure(assessment)
    yield from membership.bootstrap(assessment)
    yield from _await_cluster(assessment)
    yield from rollout.restart_broken(assessment)
    yield from volumes.force_delete_stuck(assessment)
    yield from volumes.clear_stale(assessment)
    yield from membership.repair(assessment)
    yield from volumes.replace_failed(assessment)
    yield from membership.scale(assessment)
    yield from workload.shrink(assessment)
    if isinstance(assessment.observed.workload, Workload):
        yield from volumes.discard_removed(assessment, assessment.observed.workload)
    yield from volume_expansion.grow(assessment)
    yield from rollout.restart_healthy(assessment)
    yield from volume_expansion.renew_template(assessment)


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
        steps.append(proposal.step)
    return Plan(actions=tuple(actions), steps=tuple(steps))


def _exclusive(action: Action) -> bool:
    # AddLearners is not disruptive, but it advances the configuration index that is the precondition of other changes.
    return disruptive(action) or isinstance(action, AddLearners)


def _issue_certificates(assessment: Assessment) -> Iterator[Proposal]:
    kept = assessment.observed.workload
    pods = max(workload.size(assessment), kept.replicas if isinstance(kept, Workload) else 0)
    for action in certificates.to_issue(assessment.desired, assessment.observed, range(pods)):
        yield propose(action, subject=action.name)
    for answer in certificates.to_answer(assessment.desired, assessment.observed, range(pods)):
        yield propose(answer, subject=answer.name if isinstance(answer, SignRequest) else answer.request)


def _apply_objects(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the objects that are missing or differ from their manifests, if the runtime has such objects."""
    observed = assessment.observed
    if observed.objects is None:
        return
    applied = {(one.kind, one.name): one.digest for one in observed.objects}
    required = manifests.build(assessment.desired, disruptions=disruptions(assessment))
    for manifest in required:
        found = applied.get((manifest.kind, manifest.name))
        if found != manifest.digest:
            reason = "the object does not exist" if found is None else "the object differs from its manifest"
            action = ApplyObject(kind=manifest.kind, name=manifest.name, digest=manifest.digest, reason=reason)
            yield propose(action, subject=f"{manifest.kind} {manifest.name}")
    required_kinds = {manifest.kind for manifest in required}
    for kind, name in applied:
        if kind in manifests.OPTIONAL and kind not in required_kinds:
            reason = "the resource no longer requires it"
            yield propose(DeleteObject(kind=kind, name=name, reason=reason), subject=f"{kind} {name}")


def disruptions(assessment: Assessment) -> int | None:
    """Return maxUnavailable of the PodDisruptionBudget, from the current voters; None to keep the current value.

    At most one, so that a node drain and a restart by the operator together cannot exceed the fault tolerance. A budget
    counts pods, not voters: a voter that is lost while the pod of its successor is ready is subtracted here. A cluster
    with a single replica is not protected, otherwise its Kubernetes node could never be drained.
    """
    view = assessment.view
    if assessment.desired.spec.replicas == 1:
        return 1
    if not view.maybe_initialized:
        return 0
    if not view.trusted:
        exists = any(one.kind == "PodDisruptionBudget" for one in assessment.observed.objects or ())
        return None if exists else 0
    tolerance = min(quorum.full_tolerance(len(half)) for half in quorum.halves(view.configuration))
    return max(0, min(1, tolerance - sum(_lost_but_ready(assessment, member) for member in view.members)))


def _lost_but_ready(assessment: Assessment, member: MemberView) -> bool:
    """Return whether a voter is not in sync while its pod is ready, so that the budget does not count it."""
    if not member.voter or member.in_sync:
        return False
    if member.ordinal is None:
        return True
    return member in replaced_members(assessment, member.ordinal) or is_serving(
        assessment.observed.slot(member.ordinal).pod
    )


def _await_cluster(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the events that the plan has to wait for: an election, a leadership transfer, the end of a joint change."""
    view = assessment.view
    blocker = change_blocked_by(assessment)
    if not view.initialized or not blocker:
        return
    if view.untrusted_reason:
        reason = "membership changes and restarts require a leader that no member contradicts"
        yield postpone("AwaitLeader", reason=reason, blocked_by=blocker)
    elif view.configuration.joint:
        yield postpone("LeaveJoint", reason="a change of voters is in progress", blocked_by=blocker)
    else:
        yield postpone("AwaitLeader", reason="another member is about to become leader", blocked_by=blocker)


def _tear_down(assessment: Assessment) -> Iterator[Proposal]:
    """Terminate all pods, then delete the volumes if retention is Delete. The membership does not change."""
    observed, reason = assessment.observed, "the resource is being deleted"
    if isinstance(observed.workload, Unknown):
        yield postpone(
            "EnsureWorkload", reason=reason, blocked_by=f"the workload cannot be observed: {observed.workload.reason}"
        )
        return
    if isinstance(observed.workload, Workload) and observed.workload.replicas > 0:
        revision = observed.workload.revision
        yield propose(EnsureWorkload(replicas=0, revision=revision, shrinks=True, reason=reason))
        return
    remaining = [slot.ordinal for slot in observed.slots if not isinstance(slot.pod, Absent)]
    if remaining:
        names = ", ".join(assessment.name(ordinal) for ordinal in remaining)
        yield postpone("EnsureWorkload", reason=reason, blocked_by=f"{names} must terminate first")
        return
    if assessment.desired.spec.storage.retention == "Delete":
        yield from _discard_all(assessment)


def _discard_all(assessment: Assessment) -> Iterator[Proposal]:
    reason = "the resource is being deleted, and spec.storage.retention is Delete"
    for slot in assessment.observed.slots:
        name = assessment.name(slot.ordinal)
        if isinstance(slot.volume, Unknown):
            blocked_by = f"the volume of {name} cannot be observed: {slot.volume.reason}"
            yield postpone("RetireVolume", reason=reason, blocked_by=blocked_by, subject=name)
        elif isinstance(slot.volume, Volume):
            action = RetireVolume(ordinal=slot.ordinal, name=slot.volume.name, keep=False, reason=reason)
            yield propose(action, subject=name)
