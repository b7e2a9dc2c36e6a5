"""The status of a cluster as it is published: its fields, in the words of the definition, and their bounds."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from collectionstore_operator.resource.fields import atomic, unique_by
from collectionstore_operator.status.condition_state import ConditionStatus
from collectionstore_operator.status.recovery_status import RecoveryStatus
from collectionstore_operator.status.restore_status import RestoreStatus

STEPS_MAX: Final = 32
MEMBERS_MAX: Final = 32
"""More than spec.replicas allows; more pods exist only if the StatefulSet was scaled manually."""
MESSAGE_LENGTH_MAX: Final = 1_024

Text: TypeAlias = Annotated[str, Meta(max_length=MESSAGE_LENGTH_MAX)]
Word: TypeAlias = Annotated[str, Meta(max_length=253, title="a name or a word")]
Timestamp: TypeAlias = Annotated[str, Meta(max_length=32)]
"""RFC 3339; empty if not applicable."""
MemberNames: TypeAlias = Annotated[tuple[Word, ...], Meta(max_length=MEMBERS_MAX, extra_json_schema=atomic())]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the status, camelCase in JSON."""


class Condition(_Part, frozen=True):
    """A condition as in the Kubernetes API conventions."""

    type: Annotated[Word, Meta(description="type is the type of the condition, such as Ready, Available or Degraded.")]
    status: Annotated[ConditionStatus, Meta(description="status is True, False, or Unknown.")]
    reason: Annotated[Word, Meta(description="reason is a CamelCase identifier for the cause of the status.")]
    message: Annotated[Text, Meta(description="message is a human-readable explanation.")]
    observed_generation: Annotated[
        int,
        Meta(ge=0, description="observedGeneration is the metadata.generation that the condition was computed from."),
    ]
    last_transition_time: Annotated[
        Timestamp, Meta(description="lastTransitionTime is the time when the status last changed.")
    ]


class ReleasedVolume(_Part, frozen=True):
    """A volume that no member is to use again."""

    name: Annotated[Word, Meta(description="name is the name of the PersistentVolumeClaim.")]
    released_at: Annotated[
        Timestamp, Meta(description="releasedAt is the time when its member was removed; empty if unknown.")
    ] = ""
    delete_at: Annotated[
        Timestamp, Meta(description="deleteAt is the time from which it may be deleted; empty if it is kept.")
    ] = ""
    capacity: Annotated[int, Meta(ge=0, description="capacity is its size in bytes.")] = 0
    message: Annotated[Text, Meta(description="message says why it is still there.")] = ""


class MemberStatus(_Part, frozen=True):
    """A member, or a pod or volume of a former member."""

    name: Annotated[Word, Meta(description="name is the name of the member and of its pod.")]
    ordinal: Annotated[int, Meta(ge=0, description="ordinal is the ordinal index of the pod in its StatefulSet.")]
    pod_uid: Annotated[Word, Meta(description="podUID is the UID of the pod; empty if there is no pod.")] = field(
        name="podUID", default=""
    )
    node_id: Annotated[
        Word,
        Meta(description="nodeID identifies the data directory of the member. A replaced member has a new nodeID."),
    ] = field(name="nodeID", default="")
    role: Annotated[
        Word,
        Meta(
            description="role is Leader, Voter, Learner or ReadReplica; Incoming or Outgoing in a joint configuration; "
            "None if the member is not in the configuration; Unknown if the configuration is not known."
        ),
    ] = ""
    group: Annotated[
        Literal["voters", "reads"],
        Meta(
            description="group is reads for read replicas and what is left of them, and voters for all other members."
        ),
    ] = "voters"
    ready: Annotated[
        bool, Meta(description="ready is true if the member passed its readiness probe, a linearizable read.")
    ] = False
    lag: Annotated[
        int,
        Meta(
            ge=0,
            description="lag is the number of log entries the member is behind the leader: 0 if it has caught up, "
            "rounded down to one significant digit otherwise.",
        ),
    ] = 0
    staleness_seconds: Annotated[
        int,
        Meta(
            ge=0,
            description="stalenessSeconds is how stale the state of a read replica can be at most: 0 within its bound, "
            "in seconds, rounded down to one significant digit otherwise.",
        ),
    ] = 0
    version: Annotated[Word, Meta(description="version is the version of the storage node that the member runs.")] = ""
    updated: Annotated[bool, Meta(description="updated is true if the member runs with the current revision.")] = False
    restarts: Annotated[int, Meta(ge=0, description="restarts is the number of container restarts.")] = 0
    volume: Annotated[Word, Meta(description="volume is the name of the PersistentVolumeClaim of the member.")] = ""
    capacity: Annotated[
        int, Meta(ge=0, description="capacity is the capacity of the volume, in bytes; 0 if unknown.")
    ] = 0
    certificate_expires: Annotated[
        Timestamp,
        Meta(
            description="certificateExpires is the expiry of the certificate that the member presents; empty if none."
        ),
    ] = ""
    certificate_serial: Annotated[
        Word,
        Meta(
            description="certificateSerial is the serial number of that certificate, in hexadecimal digits; empty if "
            "the member does not report it."
        ),
    ] = ""
    certificate_authority: Annotated[
        Word, Meta(description="certificateAuthority is the key identifier of the authority that signed it.")
    ] = ""
    address: Annotated[Text, Meta(description="address is the base URL of the member for clients.")] = ""
    unhealthy_since: Annotated[
        Timestamp,
        Meta(description="unhealthySince is the time since when the member is unhealthy; empty if it is healthy."),
    ] = ""
    message: Annotated[
        Text, Meta(description="message explains why the member is unhealthy; empty if it is healthy.")
    ] = ""


class AuthorityStatus(_Part, frozen=True):
    """The certificate authority, and the rotation of its key."""

    phase: Annotated[
        Literal["", "Steady", "Trusting", "Reissuing"],
        Meta(
            description="phase is that of the rotation of the key. Steady: there is one key. Trusting: members are to "
            "trust the next key, too. Reissuing: the new key signs, and certificates of the old one are replaced. "
            "Empty if there is no authority."
        ),
    ] = ""
    key: Annotated[
        Word, Meta(description="key is the key identifier of the authority that signs, in hexadecimal digits.")
    ] = ""
    expires: Annotated[Timestamp, Meta(description="expires is the expiry of the certificate of that authority.")] = ""
    other_key: Annotated[
        Word,
        Meta(description="otherKey is the key identifier of the other authority that is trusted during a rotation."),
    ] = ""
    other_expires: Annotated[
        Timestamp, Meta(description="otherExpires is the expiry of the certificate of that authority.")
    ] = ""


class ConfigurationStatus(_Part, frozen=True):
    """The Raft membership configuration, by member name. While joint, voters and outgoing each need a majority."""

    index: Annotated[int, Meta(ge=0, description="index is the log index of the configuration.")] = 0
    joint: Annotated[bool, Meta(description="joint is true while a change of voters is in progress.")] = False
    voters: Annotated[
        MemberNames, Meta(description="voters are the voting members; while joint, those of the new configuration.")
    ] = ()
    outgoing: Annotated[
        MemberNames, Meta(description="outgoing are the voters of the old configuration; empty unless joint.")
    ] = ()
    learners: Annotated[
        MemberNames, Meta(description="learners are the members that replicate the log and do not vote.")
    ] = ()


class PlannedStep(_Part, frozen=True):
    """A step of the plan."""

    step: Annotated[Word, Meta(description="step is the name of the action, in CamelCase.")]
    reason: Annotated[Text, Meta(description="reason explains why the step is necessary.")]
    since: Annotated[Timestamp, Meta(description="since is the time since when the step has been in this state.")]
    subject: Annotated[Text, Meta(description="subject is the object of the step, such as a member.")] = ""
    blocked_by: Annotated[
        Text, Meta(description="blockedBy is the reason why the step has to wait; empty if it is in progress.")
    ] = ""


class Status(_Part, frozen=True):
    """The status of the resource. `replicas` and `selector` serve the scale subresource."""

    observed_generation: Annotated[
        int, Meta(ge=0, description="observedGeneration is the metadata.generation that the status was computed from.")
    ] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=24,
            description="conditions are the current conditions of the cluster.",
            extra_json_schema=unique_by("type"),
        ),
    ] = ()
    replicas: Annotated[int, Meta(ge=0, description="replicas is the number of existing pods.")] = 0
    ready_members: Annotated[
        int,
        Meta(
            ge=0, description="readyMembers is the number of voters that are ready and have caught up with the leader."
        ),
    ] = 0
    read_replicas: Annotated[
        int, Meta(ge=0, description="readReplicas is the number of read replicas that should exist now.")
    ] = 0
    ready_read_replicas: Annotated[
        int, Meta(ge=0, description="readyReadReplicas is the number of read replicas within their bound of staleness.")
    ] = 0
    members_summary: Annotated[
        Word, Meta(description="membersSummary shows readyMembers of spec.replicas, such as 3/3.")
    ] = ""
    selector: Annotated[
        Text, Meta(description="selector is the label selector of the pods, for the scale subresource.")
    ] = ""
    cluster_id: Annotated[
        Word,
        Meta(
            description="clusterID identifies the cluster in its volumes and certificates. Only a recovery "
            "and spec.restore change it."
        ),
    ] = field(name="clusterID", default="")
    initialized: Annotated[
        bool,
        Meta(
            description="initialized is true once the cluster was bootstrapped. It is never reset: no second bootstrap."
        ),
    ] = False
    bootstrap_node: Annotated[
        Word, Meta(description="bootstrapNode is the nodeID that was chosen to bootstrap the cluster.")
    ] = ""
    leader: Annotated[Word, Meta(description="leader is the name of the Raft leader; empty if none is known.")] = ""
    term: Annotated[int, Meta(ge=0, description="term is the Raft term of the leader.")] = 0
    fault_tolerance: Annotated[
        int,
        Meta(
            ge=0, description="faultTolerance is the number of further voters that can fail without losing the quorum."
        ),
    ] = 0
    configuration: Annotated[
        ConfigurationStatus, Meta(description="configuration is the Raft membership configuration.")
    ] = ConfigurationStatus()
    revision: Annotated[Word, Meta(description="revision is the desired revision of the members' settings.")] = ""
    version: Annotated[Text, Meta(description="version is the version of the members; several during an upgrade.")] = ""
    image: Annotated[Text, Meta(description="image is the image of the members; several during a rollout.")] = ""
    members: Annotated[
        tuple[MemberStatus, ...],
        Meta(
            max_length=MEMBERS_MAX,
            description="members are all members, and the pods and volumes of former members.",
            extra_json_schema=unique_by("name"),
        ),
    ] = ()
    plan: Annotated[
        tuple[PlannedStep, ...],
        Meta(
            max_length=STEPS_MAX,
            description="plan lists the remaining steps, in order; empty if the cluster is in the desired state.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    steps_omitted: Annotated[
        int, Meta(ge=0, description="stepsOmitted is the number of steps that plan does not list.")
    ] = 0
    largest_volume: Annotated[
        int,
        Meta(
            ge=0,
            description="largestVolume is the size of the largest volume of a member, requested or actual, in bytes; "
            "spec.storage.size cannot be less.",
        ),
    ] = 0
    released_volumes: Annotated[
        tuple[ReleasedVolume, ...],
        Meta(
            max_length=MEMBERS_MAX,
            description="releasedVolumes are the volumes of members that a scale-down has removed.",
            extra_json_schema=unique_by("name"),
        ),
    ] = ()
    certificates_expire: Annotated[
        Timestamp, Meta(description="certificatesExpire is the earliest expiry of a certificate.")
    ] = ""
    restore: Annotated[RestoreStatus, Meta(description="restore is the in-place restore of spec.restore.")] = (
        RestoreStatus()
    )
    recovery: Annotated[RecoveryStatus, Meta(description="recovery is the loss of the quorum, and its recovery.")] = (
        RecoveryStatus()
    )
    authority: Annotated[
        AuthorityStatus, Meta(description="authority is the certificate authority of the cluster.")
    ] = AuthorityStatus()
    peer_authority: Annotated[
        AuthorityStatus,
        Meta(
            description="peerAuthority is the certificate authority of peers, where they have their own; authority is "
            "that of clients and the operator then."
        ),
    ] = AuthorityStatus()

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""
        return next((one for one in self.conditions if one.type == kind), None)


def shortened(text: str) -> str:
    """Return a text that fits into a field of the status."""
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 3] + "..."
