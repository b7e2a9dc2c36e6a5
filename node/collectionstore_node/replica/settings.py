"""Timing and limits of a replica."""

from __future__ import annotations

from dataclasses import dataclass, field

from collectionstore_node.space import NO_LIMITS, SpaceLimits
from collectionstore_node.statemachine.admissible import CommandLimits


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """Timing and limits of a replica. The election timeout is drawn from `[election_ticks, election_ticks_max)`."""

    tick_s: float
    heartbeat_ticks: int
    election_ticks: int
    election_ticks_max: int
    snapshot_commands: int
    snapshot_log_bytes: int
    pre_vote: bool = True
    check_quorum: bool = True
    space: SpaceLimits = NO_LIMITS
    """When this member is short of disk space."""
    uncommitted_bytes_max: int = 64 << 20
    """Entry data that a leader keeps proposed and not committed; beyond it proposals are refused."""
    inflight_bytes_max: int = 16 << 20
    """Entry data sent to one member and not acknowledged; at most 16 MiB is used."""
    waiting_bytes_max: int = 64 << 20
    """Bytes of commands that may wait to be proposed."""
    waiting_max: int = 4_096
    """Commands that may wait to be proposed."""
    staleness_max_s: float = 10.0
    """How stale the state of a member without a vote may be before it refuses stale reads and is not ready."""
    commands: CommandLimits = field(default_factory=CommandLimits)
    """Bounds on one command that another member forwards."""

    @property
    def leader_wait_s(self) -> float:
        """How long a request waits for a leader: time for one failed and one successful election."""
        return 2.5 * self.election_ticks_max * self.tick_s

    @property
    def strangers_wait_ticks(self) -> int:
        """How long this member must have known no leader before it admits one that it does not know: `peers.admission`.

        Ten elections: a cluster that is well has a leader again long before.
        """
        return 10 * self.election_ticks_max
