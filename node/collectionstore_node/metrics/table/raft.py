"""Series of the member: leadership, log, proposals, reads, replication, the state."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import BYTES, COMMANDS, SECONDS
from collectionstore_node.raft.ready import ProgressState, Role
from collectionstore_node.statemachine.commands import Code
from collectionstore_telemetry.metrics.series import Chapters, Label, counter, gauge, histogram

PEER: Final = Label("peer", bound="names of the other members")
ROLES: Final = tuple(role.value for role in Role)
REPLICATION: Final = tuple(state.value for state in ProgressState)
RESULTS: Final = tuple(code.name.lower() for code in Code)
"""What a command may come to, in the order of `Code`."""
FAILED_PROPOSALS: Final = (
    "overloaded",
    "expired",
    "not_leader",
    "transferring",
    "displaced",
    "unknown",
    "stopping",
)
FAILED_READS: Final = ("not_leader", "timeout", "stopping")
BRANCHES: Final = ("then", "else", "conflict", "refused")

_LEADERSHIP: Final = (
    gauge("raft_is_leader", "1 while this node leads"),
    gauge("raft_has_leader", "1 while a leader is known"),
    gauge("raft_role", "1 for the role that this node has", Label("role", ROLES)),
    gauge("raft_term", "Current term"),
    counter("raft_leader_changes_total", "Times that another leader was seen"),
    counter("raft_campaigns_total", "Times that this node began to campaign, asking first included"),
    counter(
        "raft_leadership_transfers_total",
        "Times that this leader was asked to hand over",
        Label("result", ("done", "failed")),
    ),
    gauge("raft_voters", "Voters of the applied configuration, the incoming ones while it is joint"),
    gauge("raft_learners", "Members that receive the log without a vote"),
    gauge("raft_joint", "1 while a change of voters is under way"),
    gauge(
        "raft_tolerated_failures",
        "How many more voters may fail, counting those that the leader heard within an election timeout; "
        "-1 without a majority; told by the leader alone",
    ),
    gauge("raft_configuration_index", "Log index of the applied configuration"),
)

_PROPOSALS: Final = (
    counter("raft_proposals_total", "Commands proposed by this node as leader"),
    counter("raft_proposals_committed_total", "Commands proposed by this node that were committed and applied"),
    counter(
        "raft_proposals_failed_total",
        "Commands given to this leader that were not applied, or not known to be",
        Label("reason", FAILED_PROPOSALS),
    ),
    gauge("raft_proposals_waiting", "Commands in the queue, not proposed yet"),
    gauge("raft_proposals_waiting_max", "Bound of that queue"),
    gauge("raft_proposals_pending", "Entries proposed whose outcome somebody waits for"),
    histogram(
        "raft_proposal_duration_seconds",
        "Time of a command on the leader: from the queue until it is applied",
        buckets=SECONDS,
    ),
    histogram(
        "raft_commit_duration_seconds",
        "Time of an entry on the leader: from its proposal until it is applied",
        buckets=SECONDS,
    ),
    histogram(
        "raft_apply_duration_seconds", "Time to apply committed entries and store what they did", buckets=SECONDS
    ),
    histogram("raft_entry_commands", "Commands coalesced into one entry", buckets=COMMANDS),
    histogram("raft_entry_size_bytes", "Size of a proposed entry", buckets=BYTES),
    counter("raft_forwarded_commands_total", "Commands that this node handed to the leader"),
    counter(
        "raft_forward_failures_total",
        "Commands handed to the leader without an answer",
        Label("outcome", ("not_applied", "unknown")),
    ),
    counter("raft_rejected_messages_total", "Peer messages refused as impossible"),
    counter(
        "raft_term_jumps_total",
        "Peer messages that raised the term by more than elections explain",
    ),
)

_LOG: Final = (
    gauge("raft_commit_index", "Last log index known to be committed"),
    gauge("raft_applied_index", "Last applied log index"),
    gauge("raft_first_index", "First log index that is kept"),
    gauge("raft_last_index", "Last log index"),
    gauge("raft_log_size_bytes", "Approximate size of the entries that are kept"),
    gauge("raft_log_reclaimable_bytes", "Approximate size of entries compacted away that still lie on the disk"),
    counter("raft_log_compactions_total", "Times that the log was cut"),
)

_READS: Final = (
    counter("raft_reads_total", "Linearizable reads begun here; what an election interrupts begins again"),
    gauge("raft_reads_waiting", "Reads that wait for a round, or for its index to be applied"),
    histogram("raft_read_index_duration_seconds", "Time until a quorum confirmed a round of reads", buckets=SECONDS),
    counter(
        "raft_reads_failed_total",
        "Reads that were not confirmed, among them those that an election interrupted",
        Label("reason", FAILED_READS),
    ),
)

_REPLICATION: Final = (
    gauge("raft_peer_lag_entries", "Committed entries that the peer has not acknowledged; told by the leader", PEER),
    gauge("raft_peer_silence_seconds", "For how long the leader has not heard the peer; told by the leader", PEER),
    gauge("raft_peer_inflight_messages", "Appends sent to the peer and not acknowledged; told by the leader", PEER),
    gauge(
        "raft_peer_replication",
        "1 for the state of replication to the peer; told by the leader",
        PEER,
        Label("state", REPLICATION),
    ),
)

_STATE: Final = (
    counter(
        "commands_applied_total",
        "Commands applied, by what came of them",
        Label("result", RESULTS),
    ),
    counter("commands_replayed_total", "Commands whose outcome was that of an earlier one with their idempotency key"),
    counter(
        "transactions_total",
        "Transactions answered by this node: which branch ran, or what it failed for",
        Label("result", BRANCHES),
    ),
    gauge("revision", "Revision of the last applied command"),
    gauge(
        "digest_mismatch",
        "Members whose state was found to differ from the others' and that were not replaced yet; told by the leader",
    ),
    gauge(
        "digest_inconclusive",
        "Members that are heard, but whose state could not be compared for a minute; told by the leader",
    ),
    gauge(
        "digest_compared_index",
        "Log index up to which all members that could be compared last held the same state; told by the leader",
    ),
)

RAFT: Final[Chapters] = (
    ("Leadership and membership", _LEADERSHIP),
    ("Proposals", _PROPOSALS),
    ("Log", _LOG),
    ("Linearizable reads", _READS),
    ("Replication", _REPLICATION),
    ("Commands and state", _STATE),
)
