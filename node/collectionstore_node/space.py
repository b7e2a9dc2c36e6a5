"""Space on the disk: what is kept in reserve, and when a member is short of it.

Two lines of defense, because a full disk must never stop a member from reading, deleting or voting:
- `low_bytes`: below it the member reports that it is short, and the cluster takes no more writes that add data. What
  was accepted before, on any member, still has to fit: entries in flight are written up to four times (the WAL for the
  log and the state, then a table for each), and a compaction needs its output next to its input;
- the reserve, a file of real blocks. It shrinks right before a write, a flush or an opening that would not fit, and is
  made again when there is room.

etcd's NOSPACE alarm is the model for the first, but heals itself; CockroachDB's ballast files are that of the second.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_MIB: Final = 1 << 20

RESERVE_BYTES_MIN: Final = 8 * _MIB
RESERVE_BYTES_MAX: Final = 128 * _MIB
LOW_BYTES_MIN: Final = 16 * _MIB
LOW_BYTES_MAX: Final = 512 * _MIB
IN_FLIGHT_WRITES: Final = 4
"""How often an entry in flight may be written: to the WAL as log and as state, and to a table of each."""


class SpaceLimits(NamedTuple):
    """When a member is short of space, in bytes; all zero: never."""

    reserve_bytes: int = 0
    """Size of the reserve file."""
    low_bytes: int = 0
    """Short of space when less than this is available above the reserve,"""
    high_bytes: int = 0
    """until this much is."""
    quota_bytes: int = 0
    """Short of space when the database holds this much; 0: no quota."""

    @property
    def quota_low_bytes(self) -> int:
        """The size of the database at which a member that reached its quota is no longer short."""
        return self.quota_bytes - self.quota_bytes // 10

    @property
    def in_flight_bytes_max(self) -> int:
        """Entry data that may be accepted and not applied yet, so that it fits when space runs out meanwhile."""
        return (self.reserve_bytes + self.low_bytes) // (2 * IN_FLIGHT_WRITES)

    @property
    def wal_bytes_max(self) -> int:
        """Size of the WAL: at a start it is written to tables before it is deleted, which the reserve must cover."""
        return max(_MIB, self.reserve_bytes // 2)

    @property
    def compaction_bytes_max(self) -> int:
        """Output of one compaction, which exists beside its input for a while."""
        return max(_MIB, self.low_bytes // 2)


NO_LIMITS: Final = SpaceLimits()


def space_limits(filesystem_bytes: int, *, quota_bytes: int = 0) -> SpaceLimits:
    """Return the limits for a file system of this size: 1/8 of it is reserved and 1/16 kept free, within bounds."""
    low = _between(LOW_BYTES_MIN, filesystem_bytes // 16, LOW_BYTES_MAX)
    reserve = _between(RESERVE_BYTES_MIN, filesystem_bytes // 8, RESERVE_BYTES_MAX)
    return SpaceLimits(reserve, low, low + low // 4, quota_bytes)


class Room(NamedTuple):
    """Space on the disk of one member at one moment, in bytes."""

    available_bytes: int
    """What this process can still write; the reserve file is not in it."""
    reserved_bytes: int
    """What the reserve file holds."""
    used_bytes: int
    """Size of all database files."""

    def free_bytes(self, limits: SpaceLimits) -> int:
        """Return what is available above the reserve, whether the reserve is held or was released."""
        return max(0, self.available_bytes + self.reserved_bytes - limits.reserve_bytes)


def _between(lo: int, value: int, hi: int) -> int:
    return max(lo, min(value, hi))
