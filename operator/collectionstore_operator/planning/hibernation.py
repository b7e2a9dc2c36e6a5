"""All members stopped on purpose, with their volumes kept, and started again with proof that nothing is missing. Pure.

`spec.hibernate: true`, in phases, each recorded before it acts:
1. preparing: every desired member votes, is in sync and ready, and nothing else is due; term, commit index and voters
   are recorded. Until the next phase everything goes on as usual, and the request can be taken back;
2. stopping: AFTER every voter has stored what was committed at that index. The workload goes to 0 pods; no member
   leaves the configuration, no volume is marked, and no other change is made;
3. hibernated: no pod is left. Changes of the spec wait.

`spec.hibernate` absent or false: all pods of the workload start at once, at the revision at which they were stopped.
AFTER each of them exists, the usual work goes on. The record goes, and the cluster counts as available, when a leader
has committed at least what was recorded. Volumes with less are not those that were stopped: everything waits for a
decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import RecordPlannedWork, ScaleWorkload
from collectionstore_operator.model.assessment import Assessment, change_blocked_by, is_serving, unhealthy_reason
from collectionstore_operator.model.observed import Absent, Pod, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.model.planned_work import Hibernation
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.resource import labels

_STOP: Final = "spec.hibernate is true"
_START: Final = "spec.hibernate is not true: the cluster is to run"


def suspends(assessment: Assessment) -> bool:
    """Return whether no other change of the cluster may be made: it is stopped, or starts."""
    recorded = assessment.observed.planned_work.hibernation
    if recorded is None or not recorded.stopping:
        return False
    return assessment.desired.spec.asleep or _starting(assessment, recorded) or _lacks(assessment, recorded) != ""


def suspended(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the next step of a cluster that is stopped or starts; every other change is shown, and waits."""
    recorded = assessment.observed.planned_work.hibernation
    if recorded is None:
        return
    if assessment.desired.spec.asleep:
        yield from _stop(assessment)
        yield from _held_back(assessment, recorded)
    elif lack := _lacks(assessment, recorded):
        yield postpone("RecordPlannedWork", reason=_START, blocked_by=lack, subject=assessment.desired.name)
    else:
        yield from _start(assessment, recorded)


def prepare(assessment: Assessment) -> Iterator[Proposal]:
    """Propose what precedes the stop, and what ends an abandoned request or the start. AFTER all other steps."""
    work, asleep = assessment.observed.planned_work, assessment.desired.spec.asleep
    if work.unreadable and asleep:
        yield postpone("ScaleWorkload", reason=_STOP, blocked_by=work.unreadable, subject=assessment.desired.name)
    elif asleep and not work.unreadable:
        yield from _towards_stop(assessment, work.hibernation)
    elif work.hibernation is not None and not work.hibernation.stopping:
        yield _record(assessment, None, "spec.hibernate is not true any more")
    elif work.hibernation is not None:
        yield from _woken(assessment, work.hibernation)


def _towards_stop(assessment: Assessment, recorded: Hibernation | None) -> Iterator[Proposal]:
    view, workload, name = assessment.view, assessment.observed.workload, assessment.desired.name
    blocker = _unsettled(assessment)
    if blocker or view.leader is None or not isinstance(workload, Workload):
        yield postpone("ScaleWorkload", reason=_STOP, blocked_by=blocker or "no leader is known", subject=name)
        return
    voters = view.configuration.voters
    if recorded is None or recorded.voters != voters:
        begun = Hibernation(
            term=view.leader.term,
            commit_index=view.leader.commit_index,
            voters=voters,
            replicas=workload.replicas,
        )
        yield _record(assessment, begun, f"{_STOP}: every member must have all that is committed before it is stopped")
        return
    # By the index of the record, not the newest one: under load no member ever has that.
    matched = {member.node_id: member.match_index or 0 for member in view.leader.members}
    matched[view.leader.node_id] = view.leader.last_index
    voting = [member for member in view.members if member.voter]
    behind = [member.name for member in voting if matched.get(member.node_id, 0) < recorded.commit_index]
    if behind:
        waits = f"{', '.join(behind)} must store index {recorded.commit_index:,} first"
        yield postpone("ScaleWorkload", reason=_STOP, blocked_by=waits, subject=name)
        return
    stopping = msgspec.structs.replace(recorded, stopping=True)
    record = _record(assessment, stopping, f"{_STOP}: every member has stored index {recorded.commit_index:,}")
    stop = _scale(assessment, workload, 0, _STOP)
    yield Proposal(step=stop.step, actions=(*record.actions, *stop.actions))


def _unsettled(assessment: Assessment) -> str:
    """Return why the cluster is not to be stopped yet: what it is now is what starts again."""
    view, workload, spec = assessment.view, assessment.observed.workload, assessment.desired.spec
    if not view.initialized:
        return "the cluster has not been bootstrapped yet"
    if blocker := change_blocked_by(assessment):
        return blocker
    if assessment.observed.planned_work.replacement is not None:
        return "a replacement that has begun must end first"
    desired_revision = revision(assessment.desired)
    if not isinstance(workload, Workload) or workload.replicas != spec.replicas:
        return "the workload must have the desired number of pods first"
    members = [member.ordinal for member in view.members if member.voter]
    if sorted(one for one in members if one is not None) != list(assessment.desired_ordinals()) or None in members:
        return "the voters must be the desired members first"
    if view.configuration.learners:
        return "learners must have joined or left first"
    for ordinal in assessment.desired_ordinals():
        slot, name = assessment.observed.slot(ordinal), assessment.name(ordinal)
        if not is_serving(slot.pod):
            reason = unhealthy_reason(slot, name, assessment.observed.cluster_id)
            return reason or f"{name} must be ready first"
        if isinstance(slot.pod, Pod) and outdated(slot.pod, desired_revision):
            return f"{name} must be restarted first: {outdated(slot.pod, desired_revision)}"
        if isinstance(slot.volume, Volume) and slot.volume.terminating:
            return f"the claim {slot.volume.name} is being deleted: without its pod it would be gone"
    lagging = [member.name for member in view.members if not member.in_sync]
    return f"{', '.join(lagging)} must be in sync first" if lagging else ""


def _stop(assessment: Assessment) -> Iterator[Proposal]:
    workload = assessment.observed.workload
    if isinstance(workload, Unknown):
        blocked_by = f"the workload cannot be observed: {workload.reason}"
        yield postpone("ScaleWorkload", reason=_STOP, blocked_by=blocked_by)
    elif isinstance(workload, Workload) and (workload.replicas > 0 or _left_running(assessment)):
        yield _scale(assessment, workload, 0, _STOP)


def _left_running(assessment: Assessment) -> bool:
    """Return whether processes run that no controller stops: an earlier attempt was killed after it was recorded."""
    no_controller = assessment.observed.objects is None
    return no_controller and any(isinstance(slot.pod, Pod) for slot in assessment.observed.slots)


def _held_back(assessment: Assessment, recorded: Hibernation) -> Iterator[Proposal]:
    """Show what the resource asks for besides: it is done when the cluster runs again."""
    spec, workload = assessment.desired.spec, assessment.observed.workload
    waits = "the cluster is hibernated: it is done when spec.hibernate is not true any more"
    if spec.replicas != recorded.replicas:
        reason = f"spec.replicas is {spec.replicas}, {recorded.replicas} members were stopped"
        yield postpone("EnsureWorkload", reason=reason, blocked_by=waits, subject=assessment.desired.name)
    if isinstance(workload, Workload) and workload.revision != revision(assessment.desired):
        reason = f"the desired revision is {revision(assessment.desired)}"
        yield postpone("RestartPod", reason=reason, blocked_by=waits, subject=assessment.desired.name)


def _start(assessment: Assessment, recorded: Hibernation) -> Iterator[Proposal]:
    workload = assessment.observed.workload
    if isinstance(workload, Unknown):
        blocked_by = f"the workload cannot be observed: {workload.reason}"
        yield postpone("ScaleWorkload", reason=_START, blocked_by=blocked_by)
    elif isinstance(workload, Workload) and workload.replicas < recorded.replicas:
        proposal, gone = _scale(assessment, workload, recorded.replicas, _START), _gone(assessment, recorded)
        yield postponed(proposal, gone) if gone and not _loss_accepted(assessment, recorded) else proposal
    else:
        missing = ", ".join(assessment.name(ordinal) for ordinal in _unstarted(assessment, recorded))
        yield postpone("ScaleWorkload", reason=_START, blocked_by=f"{missing} must be started first", subject=missing)


def _starting(assessment: Assessment, recorded: Hibernation) -> bool:
    """Return whether pods of the workload have yet to be created: they start at the revision that they had.

    Without a workload (it was deleted meanwhile) there is nothing to scale: the usual work creates it.
    """
    workload = assessment.observed.workload
    if isinstance(workload, Absent):
        return False
    if isinstance(workload, Unknown) or workload.replicas < recorded.replicas:
        return True
    return bool(_unstarted(assessment, recorded))


def _unstarted(assessment: Assessment, recorded: Hibernation) -> list[int]:
    slots = map(assessment.observed.slot, range(recorded.replicas))
    return [slot.ordinal for slot in slots if isinstance(slot.pod, Absent)]


def _gone(assessment: Assessment, recorded: Hibernation) -> str:
    """Return why the volumes cannot have what is committed; empty if a quorum of them may. Unknown is never "gone"."""
    held = [slot.volume for slot in assessment.observed.slots if not isinstance(slot.volume, Absent)]
    known = {volume.node_id for volume in held if isinstance(volume, Volume) and isinstance(volume.node_id, str)}
    unseen = sum(1 for volume in held if not (isinstance(volume, Volume) and isinstance(volume.node_id, str | Absent)))
    if len(known & set(recorded.voters)) + unseen >= quorum.majority(len(recorded.voters)):
        return ""
    alone = assessment.observed.objects is None
    backup = "restore a backup as another cluster" if alone else "a backup in place of them, by spec.restore"
    return (
        f"the volumes of most of the {len(recorded.voters)} members are gone, and what they held with them: "
        f"restore the claims, or {backup}; to start what is left, for a recovery from a lost quorum, set the "
        f"annotation {labels.ACCEPT_LOSS}: {recorded.commit_index}"
    )


def _loss_accepted(assessment: Assessment, recorded: Hibernation) -> bool:
    return assessment.desired.annotations.get(labels.ACCEPT_LOSS, "") == str(recorded.commit_index)


def _lacks(assessment: Assessment, recorded: Hibernation) -> str:
    """Return what the members that have started lack of what was stopped; empty if nothing, or if it is not known."""
    view = assessment.view
    if view.leader is None or not view.trusted or view.leader.last_index >= recorded.commit_index:
        return ""
    if _loss_accepted(assessment, recorded):
        return ""
    return (
        f"{view.leader.name} leads with index {view.leader.last_index:,}, and {recorded.commit_index:,} was committed "
        "when the cluster was stopped: restore the volumes that were stopped, or go on without the difference with the "
        f"annotation {labels.ACCEPT_LOSS}: {recorded.commit_index}"
    )


def _woken(assessment: Assessment, recorded: Hibernation) -> Iterator[Proposal]:
    view = assessment.view
    if view.leader is None or not view.trusted:
        return  # `leadership` says what is missing
    accepted = _loss_accepted(assessment, recorded)
    if view.leader.commit_index >= recorded.commit_index or accepted:
        reason = f"index {view.leader.commit_index:,} is committed, {recorded.commit_index:,} was recorded"
        yield _record(assessment, None, f"{reason}, when the cluster was stopped")


def _scale(assessment: Assessment, workload: Workload, replicas: int, reason: str) -> Proposal:
    action = ScaleWorkload(replicas=replicas, was=workload.replicas, reason=reason)
    return propose(action, subject=assessment.desired.name)


def _record(assessment: Assessment, hibernation: Hibernation | None, reason: str) -> Proposal:
    was = assessment.observed.planned_work
    work = msgspec.structs.replace(was, hibernation=hibernation)
    return propose(RecordPlannedWork(work=work, was=was, reason=reason), subject=assessment.desired.name)
