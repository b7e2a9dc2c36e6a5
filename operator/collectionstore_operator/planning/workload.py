"""Replicas and revision of the workload. Pure.

Scaling up is immediate. Scaling down waits until the members were removed: a pod whose incarnation is in the
configuration, or may be, is never terminated by a smaller number of replicas.
"""

from __future__ import annotations

from collectionstore_operator.manifests import statefulset
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import EnsureWorkload, StartPod, StopPod
from collectionstore_operator.model.assessment import Assessment, change_blocked_by
from collectionstore_operator.model.fences import is_fenced
from collectionstore_operator.model.observed import Absent, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.model.recovery import instruction
from collectionstore_operator.model.restore import restoring
from collectionstore_operator.planning import authority_separation, restore
from collectionstore_operator.planning.member_fencing import gate_is_needed
from collectionstore_operator.planning.objects import why_apply
from collectionstore_operator.planning.volumes import clear_for_start, mark_removed


def size(assessment: Assessment) -> int:
    """Return the number of pods required now: the desired ones, and those of members that are still to be removed."""
    view, workload = assessment.view, assessment.observed.workload
    replicas = 1 + max(assessment.joining_ordinals(), default=-1)
    kept = workload.replicas if isinstance(workload, Workload) else _present(assessment)
    if restoring(assessment.observed) is not None:
        return max(1, kept)  # the first member only, until its data is there
    if not view.maybe_initialized:
        # No volume can be marked yet, because no member was removed. Surplus pods terminate after initialization.
        return max(replicas, kept)
    if assessment.desired.autoscaled:
        # Whoever scales it has decided already, and a larger number of ours would be read as the decision.
        return max(replicas, 0)
    if view.trusted:
        ordinals = [member.ordinal for member in view.members]
        # A member's name is no reason to start pods: whoever can add one could have any number started.
        explained = explained_size(assessment)
        # Without a member, one pod of those that vote: they were never without.
        none = 0 if assessment.desired.group == "voters" else -1
        needed = 1 + max((one for one in ordinals if one is not None and one < explained), default=none)
        # A member without a known ordinal may run in any pod: keep all of them.
        return max(replicas, needed, kept if None in ordinals else 0)
    # Without a trusted leader the configuration is unknown: every volume that may hold a member keeps its pod.
    used = (slot.ordinal for slot in assessment.observed.slots if _may_hold_member(slot))
    return max(replicas, kept, 1 + max(used, default=-1))


def explained_size(assessment: Assessment) -> int:
    """Return the number of ordinals that something besides the membership knows of.

    The spec, the workload, pods, and volumes that may hold a member: a member was started before it was added.
    """
    workload = assessment.observed.workload
    known = (slot.ordinal for slot in assessment.observed.slots if _may_hold_member(slot))
    replicas = workload.replicas if isinstance(workload, Workload) else 0
    return max(assessment.desired.spec.replicas, replicas, _present(assessment), 1 + max(known, default=-1))


def unexplained(assessment: Assessment) -> tuple[Proposal, ...]:
    """Show the members that no pod, volume or spec explains; nothing is started for them."""
    limit = explained_size(assessment)
    names = [
        member.name for member in assessment.view.members if member.ordinal is not None and member.ordinal >= limit
    ]
    if not names:
        return ()
    reason = "a pod of each member must exist"
    blocked_by = (
        "neither spec.replicas nor a pod or volume explains these members: they were not added by this operator"
    )
    return (postpone("EnsureWorkload", reason=reason, blocked_by=blocked_by, subject=", ".join(names)),)


def _present(assessment: Assessment) -> int:
    """Return the number of ordinals up to the highest pod that exists and is not terminating.

    A StatefulSet that is recreated over existing pods terminates those with an ordinal of at least its replicas.
    """
    return 1 + max((slot.ordinal for slot in assessment.observed.slots if _is_present(slot)), default=-1)


def _is_present(slot: Slot) -> bool:
    return isinstance(slot.pod, Unknown) or (isinstance(slot.pod, Pod) and not slot.pod.terminating)


def _may_hold_member(slot: Slot) -> bool:
    volume = slot.volume
    if isinstance(volume, Volume):
        return not volume.removed and not isinstance(volume.node_id, Absent)
    return isinstance(volume, Unknown)


def ensure(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to create the workload, to scale it up, and to set the desired revision. Never to scale it down."""
    workload, desired_revision = assessment.observed.workload, revision(assessment.desired)
    if isinstance(workload, Unknown):
        reason = "the workload must exist with the desired settings"
        return (
            postpone("EnsureWorkload", reason=reason, blocked_by=f"the workload cannot be observed: {workload.reason}"),
        )
    if isinstance(workload, Workload) and workload.gated and gate_is_needed(assessment):
        return ()
    waits = authority_separation.workload_waits(assessment) or restore.workload_waits(assessment)
    if waits:
        reason = "the workload must have the desired settings"
        return (postpone("EnsureWorkload", reason=reason, blocked_by=waits),)
    started = workload.replicas if isinstance(workload, Workload) else 0
    replicas, blockers = _startable(assessment, started)
    drifted = ""
    if isinstance(workload, Workload) and replicas == started and workload.revision == desired_revision:
        drifted = _drift(assessment, replicas)
        if not drifted:
            return blockers
    if replicas == 0:
        return blockers
    reason = drifted or _why(assessment, workload, replicas, desired_revision)
    action = EnsureWorkload(replicas=replicas, revision=desired_revision, drifted=bool(drifted), reason=reason)
    return (propose(action, subject=assessment.desired.workload), *blockers)


def _drift(assessment: Assessment, replicas: int) -> str:
    """Return how the StatefulSet differs from its manifest, whoever changed it; empty where there is none (local).

    Also for a manifest that a newer operator renders in another way: pods take the new template when they start, and
    are restarted for another revision only.
    """
    name = assessment.desired.workload
    found = next(
        (one for one in assessment.observed.objects or () if (one.kind, one.name) == ("StatefulSet", name)), None
    )
    if found is None:
        return ""
    observed = assessment.observed
    manifest = statefulset.build(
        assessment.desired,
        cluster_id=observed.cluster_id,
        replicas=replicas,
        recover=instruction(observed.recovery),
        restore=restoring(observed),
        access=observed.access_begun,
    )
    return why_apply(manifest, found, ignored=statefulset.IMMUTABLE)[0]


def start_idle(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to start the processes that the workload includes and no controller starts.

    Left over by a stop, or by a crash between the record of the workload and the start. Paused or not, as a
    StatefulSet's controller would.
    """
    reason = "the workload includes it, and nothing has started it"
    actions = (
        StartPod(ordinal=ordinal, name=assessment.name(ordinal), reason=reason)
        for ordinal in assessment.observed.idle
        if not is_fenced(assessment.desired, assessment.name(ordinal))
    )
    return tuple(propose(action, subject=action.name) for action in actions)


def stop_surplus(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to stop the processes beyond the workload that no controller stops.

    Left over by a crash after a smaller workload was recorded: their members were removed before. Paused or not.
    """
    reason = "the workload does not include it any more, and nothing has stopped it"
    found = []
    for ordinal in assessment.observed.surplus:
        pod, name = assessment.observed.slot(ordinal).pod, assessment.name(ordinal)
        if isinstance(pod, Pod):
            found.append(propose(StopPod(ordinal=ordinal, name=name, uid=pod.uid, reason=reason), subject=name))
    return tuple(found)


def _startable(assessment: Assessment, started: int) -> tuple[int, tuple[Proposal, ...]]:
    """Return the number of pods that may run now, and what blocks the others."""
    for ordinal in range(started, size(assessment)):
        slot = assessment.observed.slot(ordinal)
        if _is_present(slot) and not isinstance(slot.pod, Unknown):
            continue  # it runs on its volume already
        blocker = clear_for_start(assessment, slot)
        if blocker is not None:
            return (ordinal if ordinal >= _present(assessment) else started), (blocker,)
    return max(started, size(assessment)), ()


def _why(assessment: Assessment, workload: Workload | Absent, replicas: int, desired_revision: str) -> str:
    if isinstance(workload, Absent):
        return f"the workload does not exist, {replicas} pods are required"
    if replicas > workload.replicas:
        return f"scaling up from {workload.replicas} to {replicas} pods"
    return f"new pods must start with revision {desired_revision}"


def shrink(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to terminate the pods of removed members, after their volumes are marked; the others are blocked."""
    workload, replicas = assessment.observed.workload, size(assessment)
    if not isinstance(workload, Workload) or workload.replicas <= assessment.desired.spec.replicas:
        return ()
    if workload.replicas <= replicas and assessment.observed.planned_work.replacement is not None:
        return ()  # `replacement` says what it is for
    if workload.replicas <= replicas:
        return (_still_needed(assessment, workload),)
    leaving = range(replicas, workload.replicas)
    reason = f"{replicas} pods are required, the members of the others were removed"
    names = ", ".join(assessment.name(ordinal) for ordinal in leaving)
    marks, blocker = mark_removed(assessment, leaving)
    blocker = blocker or change_blocked_by(assessment)
    if blocker:
        return (postpone("EnsureWorkload", reason=reason, blocked_by=blocker, subject=names),)
    action = EnsureWorkload(replicas=replicas, revision=workload.revision, shrinks=True, reason=reason)
    return (Proposal(step=propose(action, subject=names).step, actions=(*marks, action)),)


def _still_needed(assessment: Assessment, workload: Workload) -> Proposal:
    surplus = range(assessment.desired.spec.replicas, workload.replicas)
    names = ", ".join(assessment.name(ordinal) for ordinal in surplus)
    reason = f"{_asked(assessment)} is {assessment.desired.spec.replicas}"
    blocked_by = assessment.view.untrusted_reason or f"{names} must be removed from the cluster first"
    return postpone("EnsureWorkload", reason=reason, blocked_by=blocked_by, subject=names)


def _asked(assessment: Assessment) -> str:
    return "spec.replicas" if assessment.desired.group == "voters" else "the number of read replicas"
