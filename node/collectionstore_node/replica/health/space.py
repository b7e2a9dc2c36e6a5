"""Whether this member, and the cluster, has space for more data. Pure: takes sizes and times, returns verdicts.

The leader decides for the cluster, with what the members report: if any voter or learner is short of space, writes that
add data are refused everywhere, because every member must store what is committed. A member that has not reported is
not taken for full: unknown is not a reason to refuse. A shortage ends by itself, at a higher mark than it began.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, NamedTuple

import msgspec

from collectionstore_node.errors import InsufficientStorage
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.space import Room, SpaceLimits
from collectionstore_node.statemachine.commands import (
    Action,
    BuildIndex,
    Commit,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Expiring,
    Get,
    GrantLease,
    GuardedTransaction,
    Insert,
    Put,
    PutConsumer,
    Transaction,
    Update,
    UpdateForm,
    steps_of,
)

REPORT_VALID_S: Final = 10.0
"""A report older than this is unknown: the member is down, or does not answer."""

Shortage = Literal["", "Disk", "Quota"]


class SpaceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a member reports of its disk: to the leader, and in its status. Sizes in bytes."""

    shortage: Shortage = ""
    """Disk: the file system is almost full. Quota: the database has reached `quota_bytes`. Empty: neither."""
    free_bytes: int = 0
    """Available on the file system, above the reserve."""
    reserve_bytes: int = 0
    """Held in the reserve file; 0 once it was released."""
    used_bytes: int = 0
    """Size of the database."""
    quota_bytes: int = 0
    """0: no quota."""
    resume_bytes: int = 0
    """Writes are taken again with this much free (Disk), or when no more than this is used (Quota)."""


class SpaceJudge:
    """Judges the disk of one member, with hysteresis."""

    def __init__(self, limits: SpaceLimits) -> None:
        self.limits = limits
        self._shortage: Shortage = ""

    def judge(self, room: Room) -> SpaceReport:
        """Return the report for what was measured."""
        limits, free = self.limits, room.free_bytes(self.limits)
        disk = free < (limits.high_bytes if self._shortage == "Disk" else limits.low_bytes)
        most = limits.quota_low_bytes + 1 if self._shortage == "Quota" else limits.quota_bytes
        quota = bool(limits.quota_bytes) and room.used_bytes >= most
        self._shortage = "Disk" if disk else "Quota" if quota else ""
        resume = {"Disk": limits.high_bytes, "Quota": limits.quota_low_bytes, "": 0}[self._shortage]
        return SpaceReport(
            shortage=self._shortage,
            free_bytes=free,
            reserve_bytes=room.reserved_bytes,
            used_bytes=room.used_bytes,
            quota_bytes=limits.quota_bytes,
            resume_bytes=resume,
        )


class _Received(NamedTuple):
    report: SpaceReport
    at: float


class MemberReports:
    """The newest reports of the other members; only a leader asks for them."""

    def __init__(self) -> None:
        self._received: dict[NodeId, _Received] = {}
        self.any_short = False
        """Whether any report, valid or not, tells of a shortage: a write asks for this first."""

    def note(self, node_id: NodeId, report: SpaceReport, now: float) -> None:
        """Keep a report that arrived at `now`, in seconds of a monotonic clock."""
        self._received[node_id] = _Received(report, now)
        self.any_short = any(one.report.shortage for one in self._received.values())

    def short(self, members: Collection[NodeId], now: float) -> tuple[NodeId, SpaceReport] | None:
        """Return one of `members` that is short of space by a valid report, the lowest node ID first."""
        for node_id, (report, at) in sorted(self._received.items()):
            if report.shortage and node_id in members and now - at <= REPORT_VALID_S:
                return node_id, report
        return None

    def forget(self) -> None:
        """Drop all reports: another member leads."""
        self._received.clear()
        self.any_short = False


def adds_data(action: Action) -> bool:
    """Whether an action may make the state larger. Deletes and drops may not, nor transactions without a put.

    Users, roles and tokens are few, and small: to take a right away must be possible whatever the space.
    """
    if isinstance(action, Transaction | GuardedTransaction | Commit):
        return any(adds_data(step) for step in steps_of(action) if not isinstance(step, Get))
    if isinstance(action, Expiring):
        return adds_data(action.write)
    if isinstance(action, Update):
        return action.form is not UpdateForm.DELETE
    return isinstance(
        action,
        Put | Insert | CreateCollection | ConfigureCollection | CreateIndex | BuildIndex | GrantLease | PutConsumer,
    )


def refusal(name: str, report: SpaceReport) -> InsufficientStorage:
    """Return the error for a write that adds data while the member `name` is short of space."""
    if report.shortage == "Quota":
        return InsufficientStorage(
            f"the database of member {name} has {report.used_bytes} bytes, and its quota is {report.quota_bytes}; "
            f"reads and deletes work, and writes again at {report.resume_bytes} bytes: delete data, or raise "
            "spec.storage.quota"
        )
    return InsufficientStorage(
        f"the disk of member {name} has {report.free_bytes} bytes free above its reserve; reads and deletes work, and "
        f"writes again with {report.resume_bytes} bytes free: delete data, enlarge the volume, or remove other files"
    )
