"""Timeouts and limits of one Raft group. Times are in ticks; the driver defines the length of a tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RaftSettings:
    """Timeouts in ticks, limits in bytes and messages. Raises `ValueError` if they are inconsistent."""

    election_ticks: int = 10
    """Minimum election timeout. Each timeout is random in `[election_ticks, election_ticks_max)` (Raft 5.2)."""
    election_ticks_max: int = 0
    """0 means twice `election_ticks`."""
    heartbeat_ticks: int = 5
    message_bytes_max: int = MIB
    """Entry data in one AppendEntries; a larger entry is sent alone."""
    inflight_messages_max: int = 256
    inflight_bytes_max: int = 16 * MIB
    uncommitted_bytes_max: int = 64 * MIB
    """Proposals beyond this are refused with `Overloaded`, unless nothing else is uncommitted."""
    apply_bytes_max: int = 4 * MIB
    """Entry data in one `Ready.committed`."""
    defer_commit: bool = False
    """A commit index that no entry carries is kept for `RaftNode.tell_commit`, not told at once: the driver gives the
    next entry a moment to carry it."""
    pre_vote: bool = True
    """Run a pre-vote round before an election, so that a rejoining node does not disrupt the leader (thesis 9.6)."""
    check_quorum: bool = True
    """The leader steps down without a quorum; followers in a leader lease ignore vote requests (thesis 6.2, 4.2.3)."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"heartbeat_ticks is {self.heartbeat_ticks}; allowed: from 1, and below election_ticks, "
                f"{self.election_ticks}"
            )
        if self.election_ticks_max and self.election_ticks_max <= self.election_ticks:
            raise ValueError(
                f"election_ticks_max is {self.election_ticks_max}; allowed: above election_ticks, "
                f"{self.election_ticks}, as equal timeouts split the vote"
            )
        bounds = (
            self.message_bytes_max,
            self.inflight_messages_max,
            self.inflight_bytes_max,
            self.uncommitted_bytes_max,
            self.apply_bytes_max,
        )
        if min(bounds) < 1:
            raise ValueError("a limit in bytes or messages is below 1; allowed: 1 or more")
