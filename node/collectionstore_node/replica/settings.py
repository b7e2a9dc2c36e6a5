"""Timing and limits of a replica."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    waiting_max: int = 4_096
    """Commands that may wait to be proposed."""
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
