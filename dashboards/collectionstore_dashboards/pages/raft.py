"""Leadership, log, proposals, reads, replication and snapshots."""

from __future__ import annotations

from typing import Final

from collectionstore_dashboards.frame import Page, Row
from collectionstore_dashboards.panels import AMBER, BLUE, GREEN, GREY, PURPLE, RED, Query, graph, states
from collectionstore_dashboards.queries import CLUSTER, mean, now, quantile, rate, rises

_EACH: Final = "{{instance}}"


def _role() -> str:
    # The codes are this page's own: a state's bar needs a number.
    codes = {"Follower": 1, "Leader": 2, "PreCandidate": 3, "Candidate": 4, "Learner": 5}
    selected = {name: now("collectionstore_raft_role", f'role="{name}"') for name in codes}
    return " + ignoring (role) ".join(f"{code} * {selected[name]}" for name, code in codes.items())


LEADERSHIP: Final = Row(
    "Leadership and elections",
    (
        states(
            "Roles",
            "The Raft role of each member. A member that stays candidate cannot reach a majority.",
            Query(_role(), _EACH),
            words=(
                ("1", "Follower", GREY),
                ("2", "Leader", GREEN),
                ("3", "PreCandidate", AMBER),
                ("4", "Candidate", RED),
                ("5", "Learner", BLUE),
                ("0", "none", PURPLE),
            ),
        ),
        states(
            "Knows a leader",
            "Green while the member knows a leader. A single red bar is a partitioned member.",
            Query(now("collectionstore_raft_has_leader"), _EACH),
            words=(("1", "yes", GREEN), ("0", "no", RED)),
        ),
        graph(
            "Term",
            "Rises by one with every election. A staircase means unstable leadership.",
            "none",
            Query(now("collectionstore_raft_term"), _EACH),
        ),
        graph(
            "Elections",
            "Observed leader changes, started campaigns, and leaders that stepped down because of a stall.",
            "short",
            Query(f"max({rises('collectionstore_raft_leader_changes_total', 'instance')})", "changes of leader"),
            Query(rises("collectionstore_raft_campaigns_total", "instance"), "campaigns of {{instance}}"),
            Query(rises("collectionstore_watchdog_step_downs_total", "reason"), "stepped down: {{reason}}"),
        ),
        graph(
            "Leadership transfers",
            "Requested by the operator before it restarts a leader. A failed transfer costs an election.",
            "short",
            Query(rises("collectionstore_raft_leadership_transfers_total", "result"), "{{result}}"),
        ),
    ),
)

MEMBERSHIP: Final = Row(
    "Membership",
    (
        graph(
            "Voters and learners",
            "Of the configuration that each member applied last. Learners receive the log without a vote.",
            "none",
            Query(f"max({now('collectionstore_raft_voters')})", "voters"),
            Query(f"max({now('collectionstore_raft_learners')})", "learners"),
            Query(f"max({now('collectionstore_raft_tolerated_failures')})", "may still fail"),
            Query(f"max({now('collectionstore_raft_joint')})", "joint"),
        ),
        graph(
            "Membership changes",
            "Configurations applied. Each change of voters counts twice: entering and leaving the joint configuration.",
            "short",
            Query(f"max(changes({now('collectionstore_raft_configuration_index')}[$__rate_interval]))", "changes"),
        ),
        graph(
            "Configuration index",
            "Log index of the configuration that a member has applied. A lower one than the others' lags.",
            "none",
            Query(now("collectionstore_raft_configuration_index"), _EACH),
        ),
    ),
)

PROPOSALS: Final = Row(
    "Proposals",
    (
        graph(
            "Commands",
            "Commands proposed by the leader, applied, and forwarded by followers.",
            "cps",
            Query(rate("collectionstore_raft_proposals_total"), "proposed"),
            Query(rate("collectionstore_raft_proposals_committed_total"), "committed"),
            Query(rate("collectionstore_raft_forwarded_commands_total"), "forwarded"),
        ),
        graph(
            "Commands that failed",
            "Commands that were not applied, or whose outcome is unknown.",
            "cps",
            Query(rate("collectionstore_raft_proposals_failed_total", "reason"), "{{reason}}"),
            Query(rate("collectionstore_raft_forward_failures_total", "outcome"), "forwarded: {{outcome}}"),
        ),
        graph(
            "Waiting commands",
            "In the leader's queue, and proposed but not yet applied. Both grow when disks or peers are slow.",
            "short",
            Query(now("collectionstore_raft_proposals_waiting"), "{{instance}} queued"),
            Query(now("collectionstore_raft_proposals_pending"), "{{instance}} pending"),
        ),
        graph(
            "Command latency",
            "From its arrival at the leader until it is applied there: queue, sync, majority, apply.",
            "s",
            Query(quantile(0.99, "collectionstore_raft_proposal_duration_seconds"), "p99"),
            Query(quantile(0.5, "collectionstore_raft_proposal_duration_seconds"), "p50"),
            log=True,
        ),
        graph(
            "Time to commit an entry",
            "From the proposal of an entry until it is applied on the leader: sync, majority, apply.",
            "s",
            Query(quantile(0.99, "collectionstore_raft_commit_duration_seconds"), "p99"),
            Query(quantile(0.5, "collectionstore_raft_commit_duration_seconds"), "p50"),
            log=True,
        ),
        graph(
            "Time to apply",
            "Applying one batch of committed entries. Slow applying delays all pending responses.",
            "s",
            Query(quantile(0.99, "collectionstore_raft_apply_duration_seconds", "instance"), _EACH),
            log=True,
        ),
        graph(
            "Commands in an entry",
            "Commands that arrive while the disk works share one entry. Larger entries cost less per command.",
            "short",
            Query(mean("collectionstore_raft_entry_commands", "instance"), _EACH),
        ),
        graph(
            "Size of an entry",
            "Mean bytes of a proposed entry.",
            "bytes",
            Query(mean("collectionstore_raft_entry_size_bytes", "instance"), _EACH),
        ),
        graph(
            "Results of commands",
            "Applied commands by result. precondition_failed is a conflict between writers.",
            "cps",
            Query(
                f"max by (result) ({rate('collectionstore_commands_applied_total', 'result, instance')})", "{{result}}"
            ),
            Query(f"max({rate('collectionstore_commands_replayed_total', 'instance')})", "replayed"),
        ),
    ),
)

READS: Final = Row(
    "Linearizable reads",
    (
        graph(
            "Reads",
            "Linearizable reads requested on each member.",
            "cps",
            Query(rate("collectionstore_raft_reads_total", "instance"), _EACH),
        ),
        graph(
            "Reads that wait",
            "Reads waiting for the leader's confirmation, or for the member to apply up to the read index.",
            "short",
            Query(now("collectionstore_raft_reads_waiting"), _EACH),
        ),
        graph(
            "ReadIndex round time",
            "A ReadIndex round confirms the leadership. It costs a round trip to a majority.",
            "s",
            Query(quantile(0.99, "collectionstore_raft_read_index_duration_seconds"), "p99"),
            Query(quantile(0.5, "collectionstore_raft_read_index_duration_seconds"), "p50"),
            log=True,
            width=4,
        ),
        graph(
            "Reads that failed",
            "Reads that could not be confirmed.",
            "cps",
            Query(rate("collectionstore_raft_reads_failed_total", "reason"), "{{reason}}"),
            width=4,
        ),
    ),
)

REPLICATION: Final = Row(
    "Replication",
    (
        graph(
            "Lag",
            "Committed entries that the follower has not acknowledged as durable.",
            "short",
            Query(f"max by (peer) ({now('collectionstore_raft_peer_lag_entries', scope=CLUSTER)})", "{{peer}}"),
        ),
        graph(
            "Time since last contact",
            "Time since the leader received a message from the follower. Past the election timeout it is inactive.",
            "s",
            Query(f"max by (peer) ({now('collectionstore_raft_peer_silence_seconds', scope=CLUSTER)})", "{{peer}}"),
        ),
        graph(
            "AppendEntries in flight",
            "Messages with entries that the follower has not acknowledged yet.",
            "short",
            Query(f"max by (peer) ({now('collectionstore_raft_peer_inflight_messages', scope=CLUSTER)})", "{{peer}}"),
        ),
        states(
            "Snapshot transfer",
            "Red while a follower lags behind the log's first index and receives a snapshot; amber while it is probed.",
            Query(
                "max by (peer) (2 * "
                + now("collectionstore_raft_peer_replication", 'state="Snapshot"', scope=CLUSTER)
                + " + ignoring (state) "
                + now("collectionstore_raft_peer_replication", 'state="Probe"', scope=CLUSTER)
                + ")",
                "{{peer}}",
            ),
            words=(("0", "Replicate", GREEN), ("1", "Probe", AMBER), ("2", "Snapshot", RED)),
        ),
        states(
            "Connections",
            "Green while the member's own connection to the peer is up.",
            Query(now("collectionstore_peer_connected"), "{{instance}} → {{peer}}"),
            words=(("1", "up", GREEN), ("0", "down", RED)),
        ),
        graph(
            "Round trips, p99",
            "Ping to pong between members. Reads and writes cannot be faster.",
            "s",
            Query(
                quantile(0.99, "collectionstore_peer_round_trip_seconds", "instance, peer"), "{{instance}} → {{peer}}"
            ),
            log=True,
        ),
        graph(
            "Staleness of read replicas",
            "How stale the state of each member without a vote can be at most. Past its bound it refuses stale reads.",
            "s",
            Query(now("collectionstore_read_staleness_seconds"), "{{instance}}"),
            Query(f"max({now('collectionstore_read_staleness_max_seconds', scope=CLUSTER)})", "bound"),
        ),
        graph(
            "Handshakes, p99",
            "Time of a dial: TCP, TLS, WebSocket. Seen only when connections are made.",
            "s",
            Query(quantile(0.99, "collectionstore_peer_handshake_seconds", "instance"), _EACH),
            log=True,
        ),
        graph(
            "Bytes between members",
            "Frames of all kinds. The leader sends each write once to each follower.",
            "Bps",
            Query(rate("collectionstore_peer_sent_bytes_total", "instance"), "{{instance}} sends"),
            Query(rate("collectionstore_peer_received_bytes_total", "instance"), "{{instance}} receives"),
        ),
        graph(
            "Messages between members",
            "Raft messages. Few and large is better than many and small.",
            "cps",
            Query(rate("collectionstore_peer_sent_messages_total", "instance"), "{{instance}} sends"),
            Query(rate("collectionstore_peer_received_messages_total", "instance"), "{{instance}} receives"),
        ),
        graph(
            "Dropped messages and connections",
            "Messages dropped: queue full or peer unreachable. Broken: failed dials and closed connections.",
            "cps",
            Query(
                rate("collectionstore_peer_dropped_messages_total", "instance, peer"), "dropped {{instance}} → {{peer}}"
            ),
            Query(rate("collectionstore_peer_send_failures_total", "instance, peer"), "broken {{instance}} → {{peer}}"),
        ),
        graph(
            "Connections refused",
            "Connections that a member rejected or closed, by reason. wrong_cluster, wrong_node, spoofed are serious.",
            "short",
            Query(rises("collectionstore_peer_rejected_connections_total", "reason"), "{{reason}}"),
        ),
        graph(
            "Queued for a peer",
            "Bytes waiting to be sent.",
            "bytes",
            Query(now("collectionstore_peer_queued_bytes"), "{{instance}} → {{peer}}"),
        ),
        graph(
            "Queued messages and open requests",
            "Messages waiting to be sent, and requests to the peer without a response.",
            "short",
            Query(now("collectionstore_peer_queued_messages"), "queued {{instance}} → {{peer}}"),
            Query(now("collectionstore_peer_outstanding_requests"), "open {{instance}} → {{peer}}"),
        ),
        graph(
            "Impossible messages",
            "Messages of peers that no correct member sends. Any at all means a faulty or compromised member.",
            "short",
            Query(rises("collectionstore_raft_rejected_messages_total", "instance"), "refused by {{instance}}"),
            Query(rises("collectionstore_raft_term_jumps_total", "instance"), "jump of the term at {{instance}}"),
        ),
    ),
)

LOG: Final = Row(
    "Log and snapshots",
    (
        graph(
            "Positions",
            "Applied should follow committed, committed the end of the log. A persistent gap is a member that hangs.",
            "none",
            Query(now("collectionstore_raft_last_index"), "{{instance}} last"),
            Query(now("collectionstore_raft_commit_index"), "{{instance}} committed"),
            Query(now("collectionstore_raft_applied_index"), "{{instance}} applied"),
        ),
        graph(
            "Entries kept",
            "Entries in the log. Falls with every compaction, after a snapshot.",
            "short",
            Query(f"{now('collectionstore_raft_last_index')} - {now('collectionstore_raft_first_index')} + 1", _EACH),
        ),
        graph(
            "Size of the log",
            "Bytes of the entries kept, and of entries compacted away that are still on disk.",
            "bytes",
            Query(now("collectionstore_raft_log_size_bytes"), "{{instance}} kept"),
            Query(now("collectionstore_raft_log_reclaimable_bytes"), "{{instance}} reclaimable"),
        ),
        graph(
            "Compactions of the log",
            "Number of log compactions.",
            "short",
            Query(rises("collectionstore_raft_log_compactions_total", "instance"), _EACH),
        ),
        graph(
            "Snapshots",
            "Snapshots made, sent, received and installed, and those that failed on the way.",
            "short",
            Query(rises("collectionstore_snapshot_duration_seconds_count", "operation"), "{{operation}}"),
            Query(rises("collectionstore_snapshot_failures_total", "operation"), "{{operation}} failed"),
            Query(f"sum({now('collectionstore_snapshot_sending')})", "being sent"),
        ),
        graph(
            "Time of snapshots",
            "Mean time per snapshot, by operation.",
            "s",
            Query(mean("collectionstore_snapshot_duration_seconds", "operation"), "{{operation}}"),
        ),
        graph(
            "Bytes of snapshots",
            "Bytes per second that snapshots move.",
            "Bps",
            Query(rate("collectionstore_snapshot_bytes_total", "operation"), "{{operation}}"),
        ),
        graph(
            "Size of the last snapshot",
            "The last one made or installed by each member.",
            "bytes",
            Query(now("collectionstore_snapshot_last_size_bytes"), _EACH),
        ),
        graph(
            "Comparison of states",
            "Members whose state differs from the others' (must be 0), and those that could not be compared.",
            "none",
            Query(f"max({now('collectionstore_digest_mismatch')})", "differ"),
            Query(f"max({now('collectionstore_digest_inconclusive')})", "not comparable"),
        ),
        graph(
            "Compared up to",
            "Entries since the last index up to which all members held the same state. Rises and falls like a saw.",
            "short",
            Query(
                f"max({now('collectionstore_raft_applied_index')}) - "
                f"max({now('collectionstore_digest_compared_index')})",
                "entries not compared yet",
            ),
        ),
    ),
)

PAGE: Final = Page(
    "raft",
    "Collection Store / Raft",
    "Leadership, membership, proposals, reads, replication, log and snapshots of one cluster.",
    (LEADERSHIP, MEMBERSHIP, REPLICATION, PROPOSALS, READS, LOG),
)
