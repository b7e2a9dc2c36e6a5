"""The limits of one Raft group. Times are counted in ticks; the driver decides how long a tick is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RaftSettings:
    """How long to wait and how much to keep in flight. Raises `ValueError` for values that cannot work."""

    election_ticks: int = 10
    """The election timeout is drawn anew from `[election_ticks, election_ticks_max)` (Raft 5.2)."""
    election_ticks_max: int = 0
    """0 stands for twice `election_ticks`."""
    heartbeat_ticks: int = 5
    message_bytes_max: int = MIB
    """Entry data in one AppendEntries; a single larger entry travels alone."""
    inflight_messages_max: int = 256
    inflight_bytes_max: int = 16 * MIB
    uncommitted_bytes_max: int = 64 * MIB
    """Proposals beyond this are refused as `Overloaded`, unless nothing else is uncommitted."""
    apply_bytes_max: int = 4 * MIB
    """Entry data in `Ready.committed`."""
    pre_vote: bool = True
    """Ask before campaigning, so that a rejoining node unsettles nobody (thesis 9.6)."""
    check_quorum: bool = True
    """A leader that hears no majority steps down; who hears a leader ignores vote requests (thesis 6.2, 4.2.3)."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError("heartbeat_ticks must be at least 1 and below election_ticks")
        if self.election_ticks_max and self.election_ticks_max <= self.election_ticks:
            raise ValueError("election_ticks_max must be above election_ticks, or candidates collide")
        bounds = (
            self.message_bytes_max,
            self.inflight_messages_max,
            self.inflight_bytes_max,
            self.uncommitted_bytes_max,
            self.apply_bytes_max,
        )
        if min(bounds) < 1:
            raise ValueError("every limit must be at least 1")
