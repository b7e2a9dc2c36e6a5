"""The fields raft and snapshot of a spec: timings of leader election, and compaction of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from collectionstore_operator.resource.fields import Part


class Timings(NamedTuple):
    """Heartbeat interval and the range of the election timeout, in milliseconds."""

    heartbeat_ms: int
    election_min_ms: int
    election_max_ms: int


PROFILES: Final[Mapping[str, Timings]] = {
    # An election timeout of two heartbeats: one lost heartbeat does not cause an election. Tolerates cross-zone latency
    # and slow fsyncs.
    "default": Timings(150, 300, 600),
    # Four heartbeats, because pauses of the process and of the disk do not shrink with the interval. Only for one
    # low-latency network.
    "fast": Timings(15, 60, 120),
}
"""Timings of each profile; node/README.md describes their costs and risks."""


class Raft(Part, frozen=True):
    """Raft configures the timings of leader election. A change restarts the members, one at a time."""

    profile: Annotated[
        Literal["default", "fast"],
        Meta(
            description="profile selects a consistent set of timings. default (heartbeat 150 ms, election timeout "
            "300-600 ms) tolerates cross-zone latency and slow fsyncs. fast (15 ms, 60-120 ms) detects a failed leader "
            "within 0.12 s and requires a single low-latency network and disks that sync within milliseconds. Defaults "
            "to default."
        ),
    ] = "default"
    heartbeat_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=5,
                le=10_000,
                description="heartbeatMilliseconds is the interval between heartbeats of the leader, in milliseconds. "
                "If absent, the value of the profile is used.",
            ),
        ]
        | None
    ) = None
    election_timeout_min_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=10,
                le=100_000,
                description="electionTimeoutMinMilliseconds is the lower bound of the election timeout, in "
                "milliseconds: the time without heartbeats after which a follower starts an election. Must be at least "
                "twice the heartbeat interval. If absent, the value of the profile is used.",
            ),
        ]
        | None
    ) = None
    election_timeout_max_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=15,
                le=200_000,
                description="electionTimeoutMaxMilliseconds is the upper bound of the election timeout, in "
                "milliseconds. Each member draws its timeout at random between the two bounds. A leader whose process "
                "or disk is blocked for this long steps down. Must exceed the lower bound by at least one heartbeat "
                "interval. If absent, the value of the profile is used.",
            ),
        ]
        | None
    ) = None

    @property
    def timings(self) -> Timings:
        """Return the timings of the profile, overridden by the fields that are set."""
        profile = PROFILES[self.profile]
        return Timings(
            self.heartbeat_milliseconds or profile.heartbeat_ms,
            self.election_timeout_min_milliseconds or profile.election_min_ms,
            self.election_timeout_max_milliseconds or profile.election_max_ms,
        )


class Snapshot(Part, frozen=True):
    """Snapshot configures log compaction. A member takes a snapshot as soon as either limit is reached.

    A change restarts the members, one at a time.
    """

    commands: Annotated[
        int,
        Meta(
            ge=1_000,
            le=100_000_000,
            description="commands is the number of applied commands after which a member takes a snapshot. Defaults to "
            "10000.",
        ),
    ] = 10_000
    log_bytes: Annotated[
        int,
        Meta(
            ge=1 << 20,
            le=16 << 30,
            description="logBytes is the size of the log, in bytes, at which a member takes a snapshot. Defaults to "
            "67108864 (64 MiB).",
        ),
    ] = 64 << 20
