"""Follows the log of a cluster and stores it in segments, so that a restore can go beyond a backup.

It continues where the last segment ends; behind the newest backup without one, or if the members have dropped the rest.
Every entry is checked to continue the history before it is stored, and every segment is read back. Its lag is bounded
by `interval_s`, and reported.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from collectionstore_node.backup.errors import BackupError, CredentialsRefused, NotFound, Refused, Unreachable
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.sealing import SALT_BYTES, Sealer
from collectionstore_node.backup.segments import (
    SEGMENT_BYTES,
    SEGMENT_BYTES_MAX,
    check_continues,
    decode_segment,
    encode_segment,
    folder,
    parse_name,
    segment_name,
    split_entries,
)
from collectionstore_node.backup.selection import Member, order_members
from collectionstore_node.backup.source import Source
from collectionstore_node.backup.stored import list_backups
from collectionstore_node.raft.messages import Entry


class Lag(NamedTuple):
    """How far the archive is: its last entry, and the last one that the cluster was known to have committed: not
    behind what was acknowledged before the member was asked."""

    archived: int
    applied: int


def archive_log(
    source: Source,
    repository: Repository,
    *,
    key: bytes | None,
    once: bool,
    interval_s: float,
    report: Callable[[Lag], None],
) -> Lag:
    """Archive the log until it fails; with `once`, until it holds what was acknowledged before the call.

    Raises `NotFound` when the cluster has dropped the entry that comes next: a new backup must be made. Raises
    `Unreachable` when no member serves its log.
    """
    cluster_id = source.cluster().cluster_id
    last, chain = archive_end(repository, cluster_id, key)
    sealer = None if key is None else Sealer(key, secrets.token_bytes(SALT_BYTES))
    pending: list[Entry] = []
    size = 0
    due = time.monotonic() + interval_s
    member: Member | None = None
    goal: int | None = None
    while True:
        try:
            member, data, applied = _next_page(source, member, last, 0.001 if once else min(interval_s, 30.0))
        except NotFound:
            # Not before the members have dropped it: restores through what a jump leaves out would be impossible.
            newest = _newest(repository, cluster_id)
            if pending or newest.applied_index <= last:
                raise
            last, chain = newest.applied_index, bytes.fromhex(newest.chain)
            continue
        entries = list(split_entries("the answer of a member", data))
        chain = check_continues("the answer of a member", last, chain, entries)
        last += len(entries)
        pending += entries
        size += len(data)
        if goal is None:
            goal = applied  # the member confirmed that it is not behind what was acknowledged when it was asked
        caught_up = once and last >= goal
        if pending and (caught_up or size >= SEGMENT_BYTES or time.monotonic() >= due):
            _store(repository, cluster_id, pending, sealer, key)
            pending, size = [], 0
        if not pending:
            due = time.monotonic() + interval_s
            report(Lag(last, applied))
        if caught_up:
            return Lag(last, applied)


def archive_end(repository: Repository, cluster_id: str, key: bytes | None) -> tuple[int, bytes]:
    """Return the last index of the archive and the hash there; without segments, those of the newest backup."""
    names = sorted(one.name for one in repository.objects(folder(cluster_id)) if parse_name(one.name))
    if names:
        _, entries = decode_segment(names[-1], repository.get(names[-1], SEGMENT_BYTES_MAX), key)
        return entries[-1].index, entries[-1].chain
    newest = _newest(repository, cluster_id)
    return newest.applied_index, bytes.fromhex(newest.chain)


def _newest(repository: Repository, cluster_id: str) -> Manifest:
    manifests = [one.manifest for one in list_backups(repository) if one.manifest is not None]
    own = [one for one in manifests if one.cluster_id == cluster_id]
    if not own:
        raise NotFound(f"{repository.url} holds no backup of {cluster_id}: the archive begins at one")
    return max(own, key=lambda one: one.applied_index)


def _next_page(source: Source, member: Member | None, after: int, timeout_s: float) -> tuple[Member, bytes, int]:
    """Return entries behind `after` from the member that served the last ones, or from another one."""
    if member is not None:
        try:
            page = source.log(member, after, timeout_s)
        except (Unreachable, NotFound):
            pass  # another one may still have it
        else:
            return member, page.data, page.applied
    failures: list[BackupError] = []
    for other in order_members(source.cluster()):
        try:
            page = source.log(other, after, timeout_s)
        except (CredentialsRefused, Refused):
            raise
        except BackupError as error:
            failures.append(error)
        else:
            return other, page.data, page.applied
    dropped = next((one for one in failures if isinstance(one, NotFound)), None)
    if dropped is not None:
        raise NotFound(f"{dropped}. Make a backup; the archive goes on behind it")
    raise Unreachable(f"no member serves its log: {'; '.join(map(str, failures))}")


def _store(
    repository: Repository, cluster_id: str, entries: list[Entry], sealer: Sealer | None, key: bytes | None
) -> None:
    data = encode_segment(cluster_id, entries, time.time_ns() // 1_000_000, sealer)
    name = folder(cluster_id) + segment_name(entries[0].index, entries[-1].index)
    repository.put(name, data)
    repository.settle(folder(cluster_id))
    if decode_segment(name, repository.get(name, SEGMENT_BYTES_MAX), key)[1] != entries:
        raise BackupError(f"{name} is not what was written")
