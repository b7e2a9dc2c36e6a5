"""Which backups may go, and how much of the archived log. Pure: time comes in, and what was listed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple


class Found(NamedTuple):
    """A backup in a repository, or what is left of one."""

    id: str
    started: datetime
    complete: bool
    """It has a manifest that could be read."""
    intact: bool
    """It is complete, and every part is there with its size."""
    cluster_id: str
    """The cluster that it is of; empty if there is no manifest that says so."""
    applied_index: int = 0
    """The last entry of the log in it; 0 if there is no manifest that says so."""


class Pruning(NamedTuple):
    """What a retention policy decides; lists are sorted from old to new."""

    keep: list[str]
    delete: list[str]
    leftovers: list[str]
    """What interrupted runs left: deleted, too."""
    damaged: list[str]
    """Complete, but not intact: not deleted by itself, and not counted as a backup."""


def prune(
    found: Collection[Found], now: datetime, *, keep_last: int, keep_within_s: float, unfinished_after_s: float
) -> Pruning:
    """Decide: keep the `keep_last` newest intact backups of each cluster, and all younger than `keep_within_s`.

    The newest intact one of each cluster is kept whatever the policy says: several may share a repository. What has no
    manifest is left over from a run that ended early, unless it is younger than `unfinished_after_s`: it may be one
    that is running.
    """
    ordered = sorted(found, key=lambda one: one.id)
    intact = [one for one in ordered if one.intact]
    newest: set[str] = set()
    for cluster_id in {one.cluster_id for one in intact}:
        newest |= {one.id for one in _of(cluster_id, intact)[-max(1, keep_last) :]}
    keep: list[str] = []
    delete: list[str] = []
    for one in intact:
        young = (now - one.started).total_seconds() < keep_within_s
        (keep if one.id in newest or young else delete).append(one.id)
    return Pruning(
        keep,
        delete,
        [one.id for one in ordered if not one.complete and _age(one, now) >= unfinished_after_s],
        [one.id for one in ordered if one.complete and not one.intact],
    )


class LogNeeds(NamedTuple):
    """How much of the archived log the backups need that stay."""

    floors: dict[str, int]
    """Of each cluster that has a backup: up to this index none of them needs the log."""
    unknown: str
    """Why nothing may go, whatever the floors say: what one of them needs cannot be told. Empty if all can."""


def log_needs(found: Collection[Found], going: Collection[str], now: datetime, unfinished_after_s: float) -> LogNeeds:
    """Return how much of the log the backups need that stay: all that there are, of every cluster, but for `going`.

    A restore to a point begins at a backup, with the entry behind its last one. Damaged backups count: what they need
    is given up when they are deleted by hand. Of one without a manifest that can be read the cluster is not known.
    """
    floors: dict[str, int] = {}
    for one in sorted(found, key=lambda one: one.id):
        if one.id in going:
            continue
        if not one.complete:
            if _age(one, now) < unfinished_after_s:
                return LogNeeds({}, f"{one.id} has no manifest yet: it may be one that is being made")
            continue
        if not one.cluster_id:
            return LogNeeds({}, f"the manifest of {one.id} cannot be read: verify it, then delete it by its ID")
        floors[one.cluster_id] = min(one.applied_index, floors.get(one.cluster_id, one.applied_index))
    return LogNeeds(floors, "")


def would_delete_last(found: Sequence[Found], backup_id: str) -> bool:
    """Return whether `backup_id` is the only intact backup of its cluster."""
    intact = [one for one in found if one.intact]
    own = next((one for one in intact if one.id == backup_id), None)
    return own is not None and _of(own.cluster_id, intact) == [own]


def _of(cluster_id: str, found: Sequence[Found]) -> list[Found]:
    return [one for one in found if one.cluster_id == cluster_id]


def _age(one: Found, now: datetime) -> float:
    return (now - one.started).total_seconds()
