"""What was observed of a backup or a schedule, and of what works for it. Times are Unix seconds.

`Unknown` is what could not be read. It is never taken for absent: nothing is started or deleted because of it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.resource.backups.desired import Backup
from collectionstore_operator.resource.desired import Desired


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A Job, and what its newest pod said."""

    name: str
    uid: str
    state: Literal["Active", "Succeeded", "Failed"]
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    """Of the Job's failure, such as DeadlineExceeded."""
    exit_code: int | None = None
    """Of the newest container that ended."""
    message: str = ""
    """Its termination message."""
    failures: int = 0
    """Pods that failed."""
    waiting: str = ""
    """Why no container of it runs, such as ImagePullBackOff; empty while one does."""
    subject: str = ""
    """What it was started for: see `StartRun`."""
    image: str = ""
    """Of its container."""


class ClusterSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster that is backed up."""

    desired: Desired
    cluster_id: str
    """Empty before it has one."""
    initialized: bool
    hibernated: bool = False
    """No member runs any more, as `spec.hibernate` asks for."""
    restoring: bool = False
    """`spec.restore` names a backup that was not restored yet, or a restore in place is under way."""
    unavailable: str = ""
    """Why its condition Available is False, such as while its members start; empty if it is not."""

    @property
    def readable(self) -> bool:
        """Return whether there is something to back up, and members that are to serve it."""
        return self.initialized and bool(self.cluster_id) and not self.desired.spec.asleep


class BackupObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one backup."""

    now: float
    cluster: ClusterSeen | Absent | Unknown
    create: Run | Absent | Unknown
    delete: Run | Absent | Unknown
    admitted: bool | Unknown = True
    """Whether the NetworkPolicy of its pods is as it should be; True while none of them runs."""
    namespace_terminating: bool = False


class BackupSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A backup of a schedule, as far as the schedule is concerned."""

    backup: Backup
    due: float
    """The time of the schedule that it was made for."""
    state: Literal["Active", "Complete", "Failed"]
    backup_id: str = ""
    cluster_id: str = ""
    """Of the cluster that it is of; empty if that is not told."""
    revision: int = 0
    size_bytes: int = 0
    duration_s: float = 0.0
    started: str = ""
    ended: str = ""
    """RFC 3339; empty while it is active."""
    reason: str = ""
    message: str = ""


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far an archive is, as its pod says."""

    archived_index: int
    applied_index: int
    lag_entries: int
    age_s: float
    """Since it last confirmed how far the cluster is."""
    lag_s: float | None = None
    """Since when something acknowledged may not be archived; None of a version that does not tell, as the others."""
    lag_revisions: int | None = None
    lag_bytes: int | None = None


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """The Deployment that archives the log."""

    uid: str
    digest: str
    available: bool
    trouble: str = ""
    """Why its pod does not run: the last error that it ended with, or why it waits."""
    lag: Lag | None = None


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """When runs are due: the last time that is not in the future, and the next one. None where there is none."""

    last: float | None = None
    next: float | None = None

    @property
    def interval_s(self) -> float | None:
        """Return the seconds between them."""
        return None if self.last is None or self.next is None else self.next - self.last


class ScheduleObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one schedule. `invalid` says why its expressions cannot be read; nothing is due then."""

    now: float
    cluster: ClusterSeen | Absent | Unknown
    backups: tuple[BackupSummary, ...]
    """All that carry its name, in the order of their times."""
    times: Times = Times()
    drill_times: Times = Times()
    invalid: str = ""
    prune: Run | Absent | Unknown
    drill: Run | Absent | Unknown
    archive: Archive | Absent | Unknown
    admitted: bool | Unknown = True
    """Whether the NetworkPolicy of its pods is as it should be; True while no archive runs."""
    namespace_terminating: bool = False

    @property
    def asleep(self) -> bool:
        """Return whether the cluster is to be hibernated: no backup of it is made."""
        return isinstance(self.cluster, ClusterSeen) and self.cluster.desired.spec.asleep
