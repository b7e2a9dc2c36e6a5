"""The conditions of a cluster, one function each: True, False or Unknown, with a reason and a message. Pure.

They answer the questions of an operator on call: is it available, is a change in progress, is a member down, can
another member fail?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import certificate_lifetimes, quorum
from collectionstore_operator.model.actions import (
    DenyRequest,
    IssueCertificate,
    PrepareAuthority,
    PromoteAuthority,
    PublishAuthority,
    RetireAuthority,
    SignRequest,
)
from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.observed import Absent, Failure, Pod, Unknown, Workload
from collectionstore_operator.model.plan import Plan, Step
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.model.restore import failure_of, restoring, shown_restore
from collectionstore_operator.model.restore_request import lost_claim
from collectionstore_operator.model.source_snapshot import obstacle
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.model.update_windows import update_held
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.bootstrap import SnapshotRestore, Source
from collectionstore_operator.status import domains, fenced, hibernated, owned_objects, safeguards
from collectionstore_operator.status.ailments import Ailment, ailments, described
from collectionstore_operator.status.audit_condition import AUDIT_LOG_WORKS, audit_log_works
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.final_backup import FINAL_BACKUP, final_backup
from collectionstore_operator.status.history import History, electing
from collectionstore_operator.status.quorum_condition import quorum_lost
from collectionstore_operator.status.storage_condition import storage_available

_ROTATION: Final = tuple(one.__name__ for one in (PrepareAuthority, PromoteAuthority, RetireAuthority))
"""They wait for the members' certificates for minutes while all is well; `CertificatesReady` says for what."""
_ROUTINE: Final = frozenset(
    (*_ROTATION, *(one.__name__ for one in (IssueCertificate, PublishAuthority, SignRequest, DenyRequest)))
)
"""Steps that change nothing of a cluster that has its certificates: a renewal, and what anybody may request."""


def accepted(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether the resource is valid. It is: an invalid one is not assessed (`report.refused`)."""
    unsafe = assessment.desired.spec.unsafe
    flags = [name for name, value in msgspec.to_builtins(unsafe).items() if value]
    if flags:
        return ConditionState("True", "AcceptedUnsafe", f"the resource is valid with spec.unsafe: {', '.join(flags)}")
    return ConditionState("True", "Valid", "the resource is valid")


def available(found: Sequence[Ailment], assessment: Assessment, history: History) -> ConditionState:
    """Return whether clients can read and write, apart from the moments in which a leader is elected."""
    view = assessment.view
    if view.initialized and (wrong := owned_objects.misdirected(assessment)):
        return ConditionState("False", "ServiceMisdirected", wrong)
    if view.trusted and view.leader is not None:
        voters = len(view.configuration.voters)
        message = f"{view.leader.name} is the leader, {len(view.in_sync_voters)} of {voters} voters are in sync"
        return ConditionState("True", "QuorumWorks", message)
    if (restore := wanted_or_recorded(assessment)) is not None:
        return _restoring(assessment, restore)
    if not view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    if electing(assessment, history):
        return ConditionState("True", "LeaderElection", f"{view.untrusted_reason}; a quorum of voters responds")
    if not assessment.observed.nodes():
        return ConditionState("Unknown", "NoAnswer", f"no member responds to the operator{_because(found)}")
    # With the causes: "no leader is known" alone does not say which members to look at.
    return ConditionState("False", "NoQuorum", f"{view.untrusted_reason}{_because(found)}")


def wanted_or_recorded(assessment: Assessment) -> Source | None:
    """Return the restore that a cluster without data begins with, or that is under way; None if there is none."""
    beginning = None if assessment.view.initialized else assessment.desired.spec.beginning
    return restoring(assessment.observed) or beginning


def _restoring(assessment: Assessment, restore: Source) -> ConditionState:
    what = shown_restore(restore)
    lost = lost_claim(assessment)
    if lost:
        return ConditionState("False", "RestoreFailed", f"{what}: {lost}")
    found = obstacle(assessment, restore) if isinstance(restore, SnapshotRestore) else None
    if found is not None:
        return ConditionState("False", "Restoring" if found.passes else "RestoreFailed", found.message)
    failure = failure_of(assessment.observed.slot(0))
    if failure:
        return ConditionState("False", "RestoreFailed", f"{what}: {failure}; it is tried again")
    return ConditionState("False", "Restoring", f"the first member is made of {what}")


def progressing(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return whether a change is in progress; a blocked change counts, and the message names the blocker."""
    if assessment.desired.spec.paused:
        return ConditionState("False", "Paused", "spec.paused is true: reconciliation is suspended")
    steps = _without_routine(assessment, plan)
    running = [step for step in steps if not step.blocked_by]
    if running:
        return ConditionState("True", running[0].name, _sentence(running[0]))
    if steps:
        return ConditionState("True", "Blocked", f"{_sentence(steps[0])}; blocked: {steps[0].blocked_by}")
    return ConditionState("False", "Settled", "no change is due")


def _without_routine(assessment: Assessment, plan: Plan) -> list[Step]:
    """Return the steps that make a change; a certificate in use that is renewed is none, one that is missing is.

    Nor is a rotation of the authority's key, even while it waits.
    """
    if certificates_ready(assessment, plan).reason == "IssuePending":
        return list(plan.steps)
    return [
        step for step in plan.steps if step.name not in _ROTATION and (step.blocked_by or step.name not in _ROUTINE)
    ]


def degraded(found: Sequence[Ailment], assessment: Assessment) -> ConditionState:
    """Return whether a desired member is down: more than a restart, a start or a catch-up that takes its time."""
    down = [one for one in found if not one.expected]
    pods = [slot.pod for slot in assessment.observed.slots if isinstance(slot.pod, Pod)]
    if down and any(pod.failure is Failure.DOWNGRADED for pod in pods):
        advice = "a version that supports the data's feature level must run: set spec.version or spec.image again"
        return ConditionState("True", "Downgraded", f"{described(found)}; {advice}")
    if down:
        return ConditionState("True", "MembersDown", described(found))
    if not assessment.view.initialized:
        return ConditionState("False", "NotInitialized", f"the cluster has not been bootstrapped yet{_because(found)}")
    if found:
        return ConditionState("False", "MembersRestarting", described(found))
    return ConditionState("False", "AllMembersWork", "all members are healthy")


def quorum_safe(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether one more voter can fail without losing the quorum."""
    view = assessment.view
    if not view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    if not view.trusted:
        return ConditionState("Unknown", "NoLeader", view.untrusted_reason)
    if view.fault_tolerance > 0:
        shared = domains.shared_risk(assessment)
        if shared:
            return ConditionState("False", "SharedFailureDomain", shared)
        return ConditionState("True", "CanLose", _tolerance(view.fault_tolerance))
    if quorum.full_tolerance(assessment.desired.spec.replicas) == 0:
        message = f"{assessment.desired.spec.replicas} replicas tolerate no failure; spec.unsafe permits it"
        return ConditionState("False", "TooFewReplicas", message)
    return ConditionState("False", "NoTolerance", "no voter can fail without losing the quorum")


def members_updated(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether every member runs the desired revision, or will when its pod is created."""
    desired_revision, workload = revision(assessment.desired), assessment.observed.workload
    # A pod that is replaced or added starts at the revision of the workload: nothing has to be rolled out to it. Only a
    # new cluster waits for its first pods.
    formed = assessment.view.maybe_initialized
    started_at = workload.revision if formed and isinstance(workload, Workload) else ""
    behind: list[str] = []
    for ordinal in assessment.desired_ordinals():
        pod = assessment.observed.slot(ordinal).pod
        if isinstance(pod, Unknown):
            return ConditionState(
                "Unknown", "PodUnknown", f"the pod {assessment.name(ordinal)} cannot be observed: {pod.reason}"
            )
        behind_now = outdated(pod, desired_revision) if isinstance(pod, Pod) else started_at != desired_revision
        if behind_now:
            behind.append(assessment.name(ordinal))
    behind += _read_replicas_behind(assessment)
    held = update_held(assessment.desired, desired_revision, assessment.observed.now, assessment.observed.zones)
    if behind and held:
        message = f"not at revision {desired_revision}: {', '.join(behind)}; {held}"
        return ConditionState("False", "UpdateHeld", message)
    if behind:
        return ConditionState("False", "RolloutPending", f"not at revision {desired_revision}: {', '.join(behind)}")
    return ConditionState("True", "AllUpdated", f"all members run revision {desired_revision}")


def _read_replicas_behind(assessment: Assessment) -> list[str]:
    """Return the read replicas that are to be restarted, with their own revision where it is another one."""
    reads = assessment.reads()
    if reads is None:
        return []
    own = revision(reads.desired)
    told = "" if own == revision(assessment.desired) else f" (revision {own})"
    slots = (reads.observed.slot(ordinal) for ordinal in reads.desired_ordinals())
    return [
        reads.name(one.ordinal) + told
        for one in slots
        if isinstance(one.pod, Pod) and not one.pod.terminating and outdated(one.pod, own)
    ]


def certificates_ready(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return whether every certificate exists and none is overdue for renewal."""
    observed = assessment.observed
    if observed.certificates is None:
        return ConditionState("Unknown", "NotIssuedHere", "this runtime does not issue certificates")
    # One in use that is renewed is not missing, nor is that of a member without a pod: it is made before the pod.
    in_use = certificate_lifetimes.in_time(observed.certificates, observed.now)
    later = {assessment.name(slot.ordinal) for slot in assessment.slots() if isinstance(slot.pod, Absent)}
    missing = [
        step
        for step in plan.steps
        if step.name == IssueCertificate.__name__ and step.subject not in in_use and step.subject not in later
    ]
    if missing:
        return ConditionState("False", "IssuePending", "; ".join(_sentence(step) for step in missing))
    late = certificate_lifetimes.overdue(observed.certificates, observed.now)
    if late:
        overdue = ", ".join(f"{one.name} (expires on {rfc3339(one.not_after)})" for one in late)
        return ConditionState("False", "RenewalOverdue", f"certificates have not been renewed: {overdue}")
    given = _given_certificate(assessment)
    if given is not None:
        return given
    first = certificate_lifetimes.first_expiry(observed.certificates)
    if first is None:
        return ConditionState("False", "IssuePending", "no certificate exists yet")
    earliest = f"the earliest expiry is {rfc3339(first.not_after)} ({first.name})"
    waiting = [step for step in plan.steps if step.name in _ROTATION and step.blocked_by]
    if waiting:
        # Nothing is wrong with what is in use: it is renewed with the key that there is, however long this waits.
        whose = " of peers" if waiting[0].subject == labels.peer_authority(assessment.desired.name) else ""
        message = f"the rotation of the authority's key{whose} waits: {waiting[0].blocked_by}; {earliest}"
        return ConditionState("True", "KeyRotationWaits", message)
    return ConditionState("True", "AllValid", earliest)


def _given_certificate(assessment: Assessment) -> ConditionState | None:
    """Return what is wrong with the certificate that the user gives for clients; None if all members use it in time."""
    secret, observed = assessment.desired.spec.tls.client_secret_name, assessment.observed
    if not secret or observed.requests is None:
        return None
    for slot in assessment.slots():
        node = responding_node(slot, observed.cluster_id)
        if node is None or node.tls is None:
            continue
        name, shown = assessment.name(slot.ordinal), node.tls.given
        if shown is None:
            message = f"{name} cannot use tls.crt and tls.key of the Secret {secret}: its log says why"
            return ConditionState("False", "ClientCertificateRefused", message)
        if certificate_lifetimes.overdue_at(shown) <= observed.now:
            message = (
                f"the certificate in the Secret {secret} has not been renewed: it expires on {rfc3339(shown.not_after)}"
            )
            return ConditionState("False", "ClientCertificateExpiring", message)
    return None


def paused(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether the user has paused reconciliation."""
    if assessment.desired.spec.paused:
        return ConditionState(
            "True", "Paused", "spec.paused is true: the operator updates the status and makes no changes"
        )
    return ConditionState("False", "NotPaused", "spec.paused is false")


def ready(found: Sequence[Ailment], assessment: Assessment, states: Mapping[str, ConditionState]) -> ConditionState:
    """Return the summary of other conditions: the cluster is available, all members are ready, the plan is empty."""
    # Report the cause, not the effect: before initialization an unhealthy pod is why the cluster is not available.
    causes = [states["Available"]] if states["Available"].status != "True" else []
    if found:
        first = not assessment.view.initialized and states["Available"].reason != "RestoreFailed"
        causes.insert(0 if first else len(causes), states["Degraded"])
    if causes:
        return ConditionState("False", causes[0].reason, causes[0].message)
    desired = assessment.desired.spec.replicas
    working = sum(member_ready(assessment, ordinal) for ordinal in assessment.desired_ordinals())
    change = states["Progressing"]
    if change.status != "False" or (change.reason == "Paused" and working < desired):
        message = change.message
        if change.reason == "Paused":
            message = f"{change.message}; {working} of {desired} members are ready"
        return ConditionState("False", change.reason, message)
    if working < desired:
        return ConditionState("False", "MembersNotReady", f"{working} of {desired} members are ready")
    return ConditionState("True", "AllMembersWork", f"{working} of {desired} members are ready")


def evaluate(assessment: Assessment, plan: Plan, history: History) -> dict[str, ConditionState]:
    """Return the state of every condition, in the order of the status."""
    found = ailments(assessment, history.unhealthy_s)
    states = {
        "Available": available(found, assessment, history),
        "Degraded": degraded(found, assessment),
        **{kind: evaluator(assessment, plan) for kind, evaluator in EVALUATORS.items()},
        "QuorumLost": quorum_lost(assessment, history.unhealthy_s),
    }
    if (fences := fenced.members_fenced(assessment, plan)) is not None:
        states[fenced.MEMBERS_FENCED] = fences
    if (audited := audit_log_works(assessment)) is not None:
        states[AUDIT_LOG_WORKS] = audited
    if (last := final_backup(assessment, plan)) is not None:
        states[FINAL_BACKUP] = last
    states = hibernated.with_hibernation(states, assessment, plan)
    states["Ready"] = ready(found, assessment, states)
    return {kind: states[kind] for kind in (*TYPES, *OCCASIONAL) if kind in states}


EVALUATORS: Final[dict[str, Callable[[Assessment, Plan], ConditionState]]] = {
    "Accepted": accepted,
    "Progressing": progressing,
    "QuorumSafe": quorum_safe,
    "MembersUpdated": members_updated,
    "CertificatesReady": certificates_ready,
    "RecordsValid": safeguards.records_valid,
    "VolumesSafe": safeguards.volumes_safe,
    "StorageAvailable": storage_available,
    "ObjectsApplied": owned_objects.objects_applied,
    "Paused": paused,
}
"""The conditions that depend on no earlier status, by type."""

TYPES: Final = (
    "Ready",
    "Accepted",
    "Available",
    "Progressing",
    "Degraded",
    *(kind for kind in EVALUATORS if kind not in ("Accepted", "Progressing")),
    "QuorumLost",
)
"""All conditions by type, in the order of the status."""

OCCASIONAL: Final = (hibernated.HIBERNATED, fenced.MEMBERS_FENCED, FINAL_BACKUP, AUDIT_LOG_WORKS)
"""Conditions of clusters that they apply to: absent from the status of all others."""

GOOD_WHEN_FALSE: Final = frozenset(
    {"Progressing", "Degraded", "Paused", "QuorumLost", hibernated.HIBERNATED, fenced.MEMBERS_FENCED}
)
"""The conditions whose status True is not the good one."""


def _because(found: Sequence[Ailment]) -> str:
    return f": {described(found)}" if found else ""


def _tolerance(voters: int) -> str:
    return f"{voters} {'voter' if voters == 1 else 'voters'} can fail without losing the quorum"


def _sentence(step: Step) -> str:
    return f"{step.subject}: {step.reason}" if step.subject else step.reason


def member_ready(assessment: Assessment, ordinal: int) -> bool:
    """Return whether a desired member is a voter, is in sync, and its pod is ready."""
    slot = assessment.observed.slot(ordinal)
    node = responding_node(slot, assessment.observed.cluster_id)
    member = assessment.view.member(node.node_id) if node else None
    return member is not None and member.voter and member.in_sync and isinstance(slot.pod, Pod) and slot.pod.ready
