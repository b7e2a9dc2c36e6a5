"""Series of the replica, one class for each of its parts; every recorder is resolved once, here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from collectionstore_node.metrics.table.process import STALLS
from collectionstore_node.metrics.table.raft import FAILED_PROPOSALS, FAILED_READS, RESULTS, ROLES
from collectionstore_node.metrics.table.storage import BATCHES, OPERATIONS, SHORTAGES
from collectionstore_node.raft.ready import Role
from collectionstore_node.statemachine.commands import Code, Outcome, warned
from collectionstore_telemetry.metrics.recorders import Counter, Gauge
from collectionstore_telemetry.metrics.registry import Metrics


class ReplicaMetrics:
    """Series of the driver, and of the parts that it drives."""

    def __init__(self, metrics: Metrics) -> None:
        self.registry = metrics
        self.watchdog = WatchdogSeries(metrics)
        self.digests = DigestSeries(metrics)
        self.proposals = ProposalSeries(metrics)
        self.reads = ReadSeries(metrics)
        self.disk = DiskSeries(metrics)
        self.space = SpaceSeries(metrics)
        self.snapshots = SnapshotSeries(metrics)
        self.forwarding = ForwardingSeries(metrics)
        self.rejected_messages = metrics.counter("raft_rejected_messages_total")
        self.term_jumps = metrics.counter("raft_term_jumps_total")
        self.compactions = metrics.counter("raft_log_compactions_total")
        self._leader_changes = metrics.counter("raft_leader_changes_total")
        self._campaigns = metrics.counter("raft_campaigns_total")
        self._transfers = {result: metrics.counter("raft_leadership_transfers_total", result) for result in _TRANSFERS}
        self._roles = {role: metrics.gauge("raft_role", role) for role in ROLES}
        self._is_leader = metrics.gauge("raft_is_leader")
        self._has_leader = metrics.gauge("raft_has_leader")
        # By code, whose numbers need not be without gaps.
        counters = [metrics.counter("commands_applied_total", result) for result in RESULTS]
        self._results = dict(zip(Code, counters, strict=True))
        self._replayed = metrics.counter("commands_replayed_total")
        self._warned = metrics.counter("schema_warnings_total")
        self._apply_seconds = metrics.histogram("raft_apply_duration_seconds")
        self._last_leader = 0
        self._campaigning = False
        self.role_changed(Role.FOLLOWER, leader=0)

    def role_changed(self, role: Role, *, leader: int) -> None:
        """Record the role of this member and the leader that it knows, 0 if none."""
        self._is_leader.set(role is Role.LEADER)
        self._has_leader.set(bool(leader))
        for name, gauge in self._roles.items():
            gauge.set(name == role.value)
        if leader and leader != self._last_leader:
            self._leader_changes.inc()
            self._last_leader = leader
        campaigning = role in (Role.PRE_CANDIDATE, Role.CANDIDATE)
        if campaigning and not self._campaigning:
            self._campaigns.inc()
        self._campaigning = campaigning

    def applied(self, outcomes: Sequence[Sequence[Outcome]], seconds: float) -> None:
        """Count the outcomes of the commands of a batch of applied entries."""
        self._apply_seconds.observe(seconds)
        good = replayed = 0
        succeeded = Code.OK
        for outcome in chain.from_iterable(outcomes):
            if outcome.code is succeeded:
                good += 1
            else:
                self._results[outcome.code].inc()
            if outcome.replayed:
                replayed += 1
            elif outcome.items and warned(outcome):
                self._warned.inc()
        self._results[succeeded].inc(good)
        self._replayed.inc(replayed)

    def transferred(self, result: str) -> None:
        """Count a leadership transfer requested of this leader: done or failed."""
        self._transfers[result].inc()


_TRANSFERS = ("done", "failed")


class ProposalSeries:
    """Commands on the leader."""

    def __init__(self, metrics: Metrics) -> None:
        self.proposed = metrics.counter("raft_proposals_total")
        self.committed = metrics.counter("raft_proposals_committed_total")
        self.deferred = metrics.counter("raft_proposals_deferred_total")
        self.failed = {reason: metrics.counter("raft_proposals_failed_total", reason) for reason in FAILED_PROPOSALS}
        self.seconds = metrics.histogram("raft_proposal_duration_seconds")
        self.commit_seconds = metrics.histogram("raft_commit_duration_seconds")
        self.entry_commands = metrics.histogram("raft_entry_commands")
        self.entry_bytes = metrics.histogram("raft_entry_size_bytes")


class ReadSeries:
    """Linearizable reads."""

    def __init__(self, metrics: Metrics) -> None:
        self.asked = metrics.counter("raft_reads_total")
        self.seconds = metrics.histogram("raft_read_index_duration_seconds")
        self.failed = {reason: metrics.counter("raft_reads_failed_total", reason) for reason in FAILED_READS}


class ForwardingSeries:
    """Commands forwarded to the leader."""

    def __init__(self, metrics: Metrics) -> None:
        self.sent = metrics.counter("raft_forwarded_commands_total")
        self.not_applied: Counter = metrics.counter("raft_forward_failures_total", "not_applied")
        self.unknown: Counter = metrics.counter("raft_forward_failures_total", "unknown")


class DiskSeries:
    """Syncs and write batches. Syncs are observed by the thread that performs them."""

    def __init__(self, metrics: Metrics) -> None:
        self.fsync_seconds = metrics.histogram("storage_wal_fsync_duration_seconds")
        self.witness_seconds = metrics.histogram("storage_witness_sync_duration_seconds")
        self.log_seconds, self.state_seconds = (
            metrics.histogram("storage_write_batch_duration_seconds", batch) for batch in BATCHES
        )
        self.log_bytes, self.state_bytes = (
            metrics.histogram("storage_write_batch_size_bytes", batch) for batch in BATCHES
        )


class SpaceSeries:
    """Space on the disk."""

    def __init__(self, metrics: Metrics) -> None:
        self._free = metrics.gauge("storage_free_bytes")
        self._reserved = metrics.gauge("storage_reserve_bytes")
        self._causes = {cause: metrics.gauge("storage_short", cause) for cause in SHORTAGES}
        self.refused = metrics.counter("storage_refused_writes_total")

    def measured(self, shortage: str, *, free: int, reserved: int) -> None:
        """Record a measurement in bytes; `shortage` is a cause, or empty."""
        self._free.set(free)
        self._reserved.set(reserved)
        for cause, gauge in self._causes.items():
            gauge.set(cause == shortage.lower())


class SnapshotSeries:
    """Snapshots exported, sent, received and installed."""

    def __init__(self, metrics: Metrics) -> None:
        self._seconds = {one: metrics.histogram("snapshot_duration_seconds", one) for one in OPERATIONS}
        self._bytes = {one: metrics.counter("snapshot_bytes_total", one) for one in OPERATIONS}
        self._failures = {one: metrics.counter("snapshot_failures_total", one) for one in ("send", "receive")}
        self._last_size = metrics.gauge("snapshot_last_size_bytes")

    def done(self, operation: str, *, size_bytes: int, seconds: float) -> None:
        """Count a successful operation."""
        self._seconds[operation].observe(seconds)
        self._bytes[operation].inc(size_bytes)
        if operation in ("export", "install"):
            self._last_size.set(size_bytes)

    def failed(self, operation: str) -> None:
        """Count a failed delivery, or a transfer to this member that was rejected or interrupted."""
        self._failures[operation].inc()


class WatchdogSeries:
    """Stalls of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._stalls = {kind: metrics.counter("watchdog_stalls_total", kind) for kind in STALLS}
        self._step_downs = {kind: metrics.counter("watchdog_step_downs_total", kind) for kind in STALLS}
        self._lag = metrics.histogram("event_loop_lag_seconds")
        self._held = metrics.histogram("event_loop_held_seconds")
        self._sync_age = metrics.gauge("storage_wal_fsync_age_seconds")

    def stalled(self, kind: str, *, stepped_down: bool) -> None:
        """Count a stall, and whether the leader resigned because of it."""
        self._stalls[kind].inc()
        if stepped_down:
            self._step_downs[kind].inc()

    def lag(self, seconds: float, *, held: float) -> None:
        """Observe the delay of a tick, and how much of it the loop did not wait for a processor."""
        self._lag.observe(seconds)
        self._held.observe(held)

    def show_sync_age(self, read: Callable[[], float]) -> None:
        """Call `read` for the gauge at every scrape."""
        self._sync_age.set_function(read)


class DigestSeries:
    """Whether the members have the same state, as the leader sees it; all 0 on other members."""

    def __init__(self, metrics: Metrics) -> None:
        self._differing: Gauge = metrics.gauge("digest_mismatch")
        self._inconclusive: Gauge = metrics.gauge("digest_inconclusive")
        self._index: Gauge = metrics.gauge("digest_compared_index")
        self.compared(index=None, differing=0, inconclusive=0)

    def compared(self, *, index: int | None, differing: int, inconclusive: int) -> None:
        """Record the result of a comparison; `index` is None if no other member could be compared."""
        self._differing.set(differing)
        self._inconclusive.set(inconclusive)
        self._index.set(index or 0)
