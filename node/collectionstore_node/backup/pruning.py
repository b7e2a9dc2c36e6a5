"""Deletes what retention decides: backups, what interrupted runs left, and the log that no backup needs that stays.

The log goes last, and by proof: every backup that is there then is known, and begins behind what is deleted.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.retention import Found, Pruning, log_needs, prune
from collectionstore_node.backup.segments import ROOT
from collectionstore_node.backup.stored import backup_ids, delete_backup, is_complete, list_backups, look
from collectionstore_node.backup.stored_log import archived_clusters, delete_segments, unneeded


class Rules(NamedTuple):
    """What stays: see `retention.prune`."""

    keep_last: int
    keep_within_s: float
    unfinished_after_s: float
    source_cluster: str | None = None
    """Judge this cluster only, and keep what is of others."""


class Pruned(NamedTuple):
    """What was deleted, or would be."""

    backups: Pruning
    segments: int
    """Of the archived log."""
    log_kept: str
    """Why no segment was judged; empty if they were."""


def prune_repository(repository: Repository, rules: Rules, now: datetime, *, dry_run: bool) -> Pruned:
    """Prune a repository. Raises what a repository raises; the same call again goes on."""
    found = [look(repository, one) for one in list_backups(repository)]
    decided = prune(
        [one for one in found if rules.source_cluster in (None, one.cluster_id) or not one.cluster_id],
        now,
        keep_last=rules.keep_last,
        keep_within_s=rules.keep_within_s,
        unfinished_after_s=rules.unfinished_after_s,
    )
    if not dry_run:
        for backup_id in decided.delete:
            delete_backup(repository, backup_id)
        for backup_id in decided.leftovers:
            if not is_complete(repository, backup_id):  # one that took longer may be complete by now
                delete_backup(repository, backup_id)
    segments, kept = _prune_log(repository, rules, found, decided, now, dry_run=dry_run)
    return Pruned(decided, segments, kept)


def _prune_log(
    repository: Repository, rules: Rules, found: list[Found], decided: Pruning, now: datetime, *, dry_run: bool
) -> tuple[int, str]:
    """Delete the segments that no backup needs; return how many, and why none was judged."""
    clusters = [one for one in archived_clusters(repository) if rules.source_cluster in (None, one)]
    if not clusters:
        return 0, ""
    going = {*decided.delete, *decided.leftovers}
    needs = log_needs(found, going, now, rules.unfinished_after_s)
    # AGAIN: a backup of a member that was behind may have appeared, and one that was left over may be complete by now.
    there = set(backup_ids(repository))
    surprising = there - {one.id for one in found} | (set() if dry_run else there & going)
    if surprising and not needs.unknown:
        needs = needs._replace(unknown=f"{', '.join(sorted(surprising))} appeared meanwhile")
    if needs.unknown:
        return 0, needs.unknown
    count = 0
    for cluster_id in clusters:
        if cluster_id not in needs.floors:
            continue  # without a backup there is none that tells what may go
        going_segments = unneeded(repository, cluster_id, needs.floors[cluster_id])
        count += sum(1 for _ in going_segments) if dry_run else delete_segments(repository, going_segments)
    if not dry_run:
        repository.sweep(ROOT, rules.unfinished_after_s)
    return count, ""
