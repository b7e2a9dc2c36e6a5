"""What the planner can ask for, and the plan it publishes.

Every action is a frozen value with the `reason` that is shown to people. An executor performs one so that doing it
twice is harmless: identities (`uid`, `node_id`, `expected_index`) are preconditions, and when one no longer holds it
raises `ActionRefused` and nothing is done. The executor adds the fencing epoch to every call to a node.

Actions that are `disruptive` take away, or may take away, a working member for a while; a plan has at most one.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from collectionstore_operator.model.observed import CertificateKind, NodeId


class MemberRef(msgspec.Struct, frozen=True, kw_only=True):
    """A member as a membership call names it; addresses are needed only where it is added."""

    node_id: NodeId
    name: str
    address: str = ""
    http_address: str = ""


class _Action(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An action; `reason` is one clause for people, without a full stop."""

    reason: str


class AddFinalizer(_Action, frozen=True):
    """Add our finalizer to the resource, so that a deletion waits until the cluster is torn down.

    BEFORE anything is created for the resource: without the finalizer nothing would ever delete it.
    """


class RemoveFinalizer(_Action, frozen=True):
    """Remove our finalizer from the resource. AFTER everything else: the API server may delete the resource at once."""


class EstablishIdentity(_Action, frozen=True):
    """Record the cluster's identity durably. BEFORE anything that carries the cluster ID is created.

    Once in a cluster's life, and again when the record was deleted. An identity that is recorded already is kept;
    when it is another one the action is refused.
    """

    cluster_id: str = ""
    """The ID to adopt; empty for a new cluster, whose ID the executor draws at random (the plan is pure)."""
    initialized: bool = False
    """What the deleted record said, as far as the status repeats it."""
    bootstrap_node: NodeId = ""


class DeleteIdentity(_Action, frozen=True):
    """Delete the record of the cluster and the Secrets with its keys.

    AFTER the last volume is gone: a volume without its record and authority could not be used again. BEFORE
    `RemoveFinalizer`: afterwards nothing is left that could repeat it.
    """


class RecordInitialized(_Action, frozen=True):
    """Record durably that the cluster has had data (`Observed.initialized_recorded`). Never undone.

    BEFORE all other changes of a round: the record is what prevents a second bootstrap while no member answers.
    """


class StampVolume(_Action, frozen=True):
    """Record on a volume which incarnation runs on it (`Volume.node_id`); the cluster and its pods stay as they are."""

    ordinal: int
    name: str
    node_id: NodeId


class IssueCertificate(_Action, frozen=True):
    """Make a key and a certificate, or renew one; for `AUTHORITY` the one that signs the others."""

    kind: CertificateKind
    name: str
    """Member name, `labels.ADMINISTRATOR`, or the cluster's name for the authority."""
    lifetime_s: int
    names: tuple[str, ...] = ()
    """Subject alternative names as `URI:...`, `DNS:...`, `IP:...`, sorted."""


class PublishAuthority(_Action, frozen=True):
    """Copy the authority's certificate from its Secret into the record, from where pods mount it as their trust anchor.

    AFTER the Secret is stored, BEFORE pods start. A copy, not a decision: the Secret is read again when it is done.
    """


class ApplyObject(_Action, frozen=True):
    """Create or update one object from its manifest by server-side apply."""

    kind: str
    name: str
    digest: str
    """Of the manifest that was planned; refused when the resource yields another one by now."""
    max_unavailable: int | None = None
    """For a PodDisruptionBudget: how many pods a drain may evict at once, as planned from the live voters."""


class SignRequest(_Action, frozen=True):
    """Sign the key that a node has made; only for the pod with this uid. An answer given already is left as it is."""

    request: str
    name: str
    """The member's name."""
    uid: str
    names: tuple[str, ...]
    """Subject alternative names, as in IssueCertificate: what the request itself asks for has no weight."""
    lifetime_s: int


class DenyRequest(_Action, frozen=True):
    """Refuse a request for a certificate; the reason is told to whoever asked."""

    request: str


class DeleteObject(_Action, frozen=True):
    """Delete an object that the resource does not ask for any more."""

    kind: str
    name: str


class EnsureWorkload(_Action, frozen=True):
    """Make the workload keep exactly the ordinals `[0, replicas)`, started from `revision` from now on.

    Running pods are not restarted by this. Ordinals at or above `replicas` are stopped, their volumes stay.
    """

    replicas: int
    revision: str
    shrinks: bool = False


class StartPod(_Action, frozen=True):
    """Start the process of one ordinal that the workload includes. Only where no controller does (local)."""

    ordinal: int
    name: str


class Bootstrap(_Action, frozen=True):
    """Make one empty node the first voter. The executor records `Observed.bootstrap_node` durably BEFORE it calls.

    An answer `already_bootstrapped` is success.
    """

    ordinal: int
    node_id: NodeId


class AddLearners(_Action, frozen=True):
    """Let new members receive the log without a vote; all in one call."""

    members: tuple[MemberRef, ...]
    expected_index: int


class ChangeVoters(_Action, frozen=True):
    """Promote `add` and take out `remove` in ONE joint change."""

    expected_index: int
    add: tuple[MemberRef, ...] = ()
    remove: tuple[MemberRef, ...] = ()


class RemoveLearners(_Action, frozen=True):
    """Take members out that have no vote; all in one call."""

    members: tuple[MemberRef, ...]
    expected_index: int


class TransferLeadership(_Action, frozen=True):
    """Ask the leader to hand over; it aborts by itself when that takes too long."""

    leader: MemberRef
    to: MemberRef


class RestartPod(_Action, frozen=True):
    """Delete the pod with this uid, or stop this process, so that the workload starts it anew with current settings."""

    ordinal: int
    name: str
    uid: str
    force: bool = False
    """Whether it is `Pod.stuck_terminating`: its record is deleted without waiting for its machine."""


class MarkVolume(_Action, frozen=True):
    """Record on a volume that its member left the cluster (`Volume.removed`), so that nothing starts on it again."""

    ordinal: int
    name: str
    node_id: NodeId = ""
    """The incarnation that left, empty when unknown."""


class RetireVolume(_Action, frozen=True):
    """Stop the ordinal's pod if there is one, and take its volume away: the next pod starts on an empty one.

    Kept aside under another name when `keep`, destroyed when not. `uid` is the pod's, empty when none exists.
    """

    ordinal: int
    name: str
    uid: str = ""
    node_id: NodeId = ""
    """The incarnation whose disk it is, empty when unknown; a different one there makes the action refused."""
    keep: bool = True


class GrowVolume(_Action, frozen=True):
    """Ask the storage to make a volume larger; pods go on running on it."""

    ordinal: int
    name: str
    size: str
    """As the resource has it: `20Gi`."""


class ReplaceWorkload(_Action, frozen=True):
    """Take the workload away and leave its pods running; `EnsureWorkload` then makes one with new disk settings.

    Nothing restarts a pod that ends in between. `replicas` is the precondition.
    """

    replicas: int


Action: TypeAlias = (
    AddFinalizer
    | RemoveFinalizer
    | EstablishIdentity
    | DeleteIdentity
    | RecordInitialized
    | StampVolume
    | IssueCertificate
    | PublishAuthority
    | SignRequest
    | DenyRequest
    | ApplyObject
    | DeleteObject
    | EnsureWorkload
    | StartPod
    | Bootstrap
    | AddLearners
    | ChangeVoters
    | RemoveLearners
    | TransferLeadership
    | RestartPod
    | MarkVolume
    | RetireVolume
    | GrowVolume
    | ReplaceWorkload
)


def disruptive(action: Action) -> bool:
    """Return whether an action takes away, or may take away, a working member for a while."""
    match action:
        case ChangeVoters() | RemoveLearners() | TransferLeadership() | Bootstrap():
            return True
        case RestartPod() | RetireVolume() | ReplaceWorkload():
            return True
        case EnsureWorkload():
            return action.shrinks
        case _:
            return False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the published plan: what will be done, why, and what it waits for."""

    name: str
    """CamelCase, as an Event's reason: `PromoteLearners`."""
    subject: str = ""
    """What it is about: `demo-3, demo-4`."""
    reason: str
    blocked_by: str = ""
    """What must happen first; empty when it is being done now."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now, in this order, and all that remains. `settled` when nothing does."""

    actions: tuple[Action, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether observed and desired agree."""
        return not self.actions and not self.steps


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A step that a part of the planner wants, and the actions that would do it, empty while something blocks it."""

    step: Step
    actions: tuple[Action, ...] = ()


def propose(first: Action, *more: Action, subject: str = "", name: str = "") -> Proposal:
    """Propose to do something now; the step is called after the first action unless named, and gives its reason."""
    step = Step(name=name or type(first).__name__, subject=subject, reason=first.reason)
    return Proposal(step=step, actions=(first, *more))


def postpone(name: str, *, reason: str, blocked_by: str, subject: str = "") -> Proposal:
    """Announce something that must wait; `name` is that of the action it will be, or says what it serves."""
    return Proposal(step=Step(name=name, subject=subject, reason=reason, blocked_by=blocked_by))


def postponed(proposal: Proposal, blocked_by: str) -> Proposal:
    """Return a proposal that waits for `blocked_by`; one that waits already keeps what it waits for."""
    step = proposal.step
    if not proposal.actions:
        return proposal
    return Proposal(step=msgspec.structs.replace(step, blocked_by=blocked_by))
