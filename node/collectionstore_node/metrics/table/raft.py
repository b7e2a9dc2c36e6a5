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
"""Results of a command, in the order of `Code`."""
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
FATES: Final = ("applied", "refused", "not_applied", "unknown")

_LEADERSHIP: Final = (
    gauge("raft_is_leader", "1 while this member is leader"),
    gauge("raft_has_leader", "1 while this member knows a leader"),
    gauge("raft_role", "1 for the current Raft role of this member", Label("role", ROLES)),
    gauge("raft_term", "Current term"),
    counter("raft_leader_changes_total", "Leader changes seen by this member"),
    counter("raft_campaigns_total", "Election campaigns started by this member, pre-vote included"),
    counter(
        "raft_leadership_transfers_total",
        "Leadership transfers requested of this leader",
        Label("result", ("done", "failed")),
    ),
    gauge("raft_voters", "Voters of the applied configuration; the incoming voters while it is joint"),
    gauge("raft_learners", "Learners of the applied configuration: members without a vote"),
    gauge("raft_joint", "1 while the applied configuration is joint"),
    gauge(
        "raft_tolerated_failures",
        "Further voter failures that keep a quorum, counting voters heard within an election timeout; "
        "-1 without quorum; leader only",
    ),
    gauge("raft_configuration_index", "Log index of the applied configuration"),
)

_PROPOSALS: Final = (
    counter("raft_proposals_total", "Commands proposed by this member as leader"),
    counter("raft_proposals_committed_total", "Commands proposed by this member that were committed and applied"),
    counter(
        "raft_proposals_deferred_total",
        "Commands proposed again by this leader, because reading what the commands before them in the entry read had "
        "reached the bound of an entry",
    ),
    counter(
        "raft_proposals_failed_total",
        "Commands submitted to this leader that were not applied, or whose outcome is unknown",
        Label("reason", FAILED_PROPOSALS),
    ),
    gauge("raft_proposals_waiting", "Commands in the proposal queue"),
    gauge("raft_proposals_waiting_max", "Bound of the proposal queue"),
    gauge("raft_proposals_pending", "Proposed entries with a pending waiter"),
    histogram(
        "raft_proposal_duration_seconds",
        "Time of a command on the leader, from the queue until it is applied",
        buckets=SECONDS,
    ),
    histogram(
        "raft_commit_duration_seconds",
        "Time of an entry on the leader, from its proposal until it is applied",
        buckets=SECONDS,
    ),
    histogram(
        "raft_apply_duration_seconds",
        "Time to apply a batch of committed entries and store the result",
        buckets=SECONDS,
    ),
    histogram("raft_entry_commands", "Commands per proposed entry", buckets=COMMANDS),
    histogram("raft_entry_size_bytes", "Size of a proposed entry", buckets=BYTES),
    counter("raft_forwarded_commands_total", "Commands forwarded to the leader by this member"),
    counter(
        "raft_forward_failures_total",
        "Forwarded commands without a reply, by what is known of their outcome",
        Label("outcome", ("not_applied", "unknown")),
    ),
    counter("raft_rejected_messages_total", "Peer messages rejected as invalid"),
    counter(
        "raft_term_jumps_total",
        "Peer messages that raised the term by more than elections explain",
    ),
)

_LOG: Final = (
    gauge("raft_commit_index", "Commit index"),
    gauge("raft_applied_index", "Last applied log index"),
    gauge("raft_first_index", "First log index that is kept"),
    gauge("raft_last_index", "Last log index"),
    gauge("raft_log_size_bytes", "Approximate size of the entries that are kept"),
    gauge("raft_log_reclaimable_bytes", "Approximate size of compacted entries that still take up disk space"),
    counter("raft_log_compactions_total", "Log compactions"),
)

_READS: Final = (
    counter(
        "raft_reads_total", "Linearizable reads started by this member; a read interrupted by an election starts again"
    ),
    gauge(
        "read_staleness_seconds",
        "How stale the state can be at most; before it was ever confirmed, the age of the process; "
        "members without a vote only",
    ),
    gauge(
        "read_staleness_max_seconds",
        "Staleness above which the member refuses stale reads and is not ready; members without a vote only",
    ),
    gauge("raft_reads_waiting", "Linearizable reads waiting for confirmation, or for their read index to be applied"),
    histogram("raft_read_index_duration_seconds", "Time until a quorum confirmed a read index", buckets=SECONDS),
    counter(
        "raft_reads_failed_total",
        "Linearizable reads that were not confirmed, including those interrupted by an election",
        Label("reason", FAILED_READS),
    ),
)

_REPLICATION: Final = (
    gauge("raft_peer_lag_entries", "Committed entries that the peer has not acknowledged; leader only", PEER),
    gauge("raft_peer_silence_seconds", "Time since the leader last heard from the peer; leader only", PEER),
    gauge("raft_peer_inflight_messages", "AppendEntries sent to the peer and not acknowledged; leader only", PEER),
    gauge(
        "raft_peer_replication",
        "1 for the current state of replication to the peer; leader only",
        PEER,
        Label("state", REPLICATION),
    ),
)

_STATE: Final = (
    counter(
        "commands_applied_total",
        "Applied commands by result",
        Label("result", RESULTS),
    ),
    counter(
        "commands_replayed_total", "Commands answered with the outcome of an earlier one with the same idempotency key"
    ),
    counter(
        "schema_warnings_total",
        "Commands that stored a document which the schema of its collection, in the mode warn, does not allow",
    ),
    counter(
        "transactions_total",
        "Transactions answered by this member, by executed branch or failure",
        Label("result", BRANCHES),
    ),
    counter(
        "queued_writes_total",
        "Writes with ack=queued that this member took, by what has become of them; unknown ones can be asked for",
        Label("result", FATES),
    ),
    gauge("revision", "Revision of the last applied command"),
    gauge("feature_level", "Feature level of the applied state; the same on all members that have applied the same"),
    gauge("feature_level_supported", "Highest feature level that this member supports"),
    gauge("history_bytes", "Bytes of the history of changes, in the applied state"),
    gauge("history_oldest_revision", "First revision that a read of the past can ask for; 0 before there is a history"),
    gauge(
        "digest_mismatch",
        "Members whose state differs from the majority and that were not replaced yet; leader only",
    ),
    gauge(
        "digest_inconclusive",
        "Connected members whose state could not be compared for a minute; leader only",
    ),
    gauge(
        "digest_compared_index",
        "Log index of the last comparison in which all comparable members had the same state; leader only",
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
