"""Follows the log of a cluster and stores it in segments, so that a restore can go beyond a backup.

It continues where the last segment ends; behind the newest backup without one, or if the members have dropped the rest.
Every entry is checked to continue the history before it is stored, and every segment is read back. Its lag is bounded
by `interval_s`, and reported. An outage of the cluster or of the repository is waited for, within a bound.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from collectionstore_node.backup.archive_lag import Lag, LagMeter
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
    segment_name,
    split_entries,
)
from collectionstore_node.backup.selection import Member, order_members
from collectionstore_node.backup.source import LogPage, Source
from collectionstore_node.backup.stored import list_backups
from collectionstore_node.backup.stored_log import last_segment
from collectionstore_node.raft.messages import Entry

PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0

T = TypeVar("T")


class Patience:
    """How long an outage is waited for, with pauses that grow from half a second to ten."""

    def __init__(
        self, bound_s: float, tell: Callable[[str], None], pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`tell` is told of each attempt that failed; 0 for `bound_s` waits for none."""
        self._bound_s = bound_s
        self._tell = tell
        self._pause = pause
        self._waited_s = 0.0
        self._next_s = PAUSE_S

    def keep(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, repeated while it raises `Unreachable`, until the bound."""
        while True:
            try:
                result = work()
            except Unreachable as error:
                self.wait(error)
            else:
                self.answered()
                return result

    def wait(self, error: Unreachable) -> None:
        """Pause; raise `error` when that was done for the bound since the last answer."""
        left_s = self._bound_s - self._waited_s
        if left_s <= 0:
            raise error
        pause_s = min(self._next_s, left_s)
        self._tell(f"{error}; trying again in {pause_s:g} s, for {left_s:g} s at most")
        self._pause(pause_s)
        self._waited_s += pause_s
        self._next_s = min(2 * self._next_s, PAUSE_MAX_S)

    def answered(self) -> None:
        """Begin anew: the outage is over."""
        self._waited_s, self._next_s = 0.0, PAUSE_S


def archive_log(
    source: Source,
    repository: Repository,
    *,
    key: bytes | None,
    once: bool,
    interval_s: float,
    report: Callable[[Lag], None],
    patience: Patience | None = None,
    expected_cluster: str | None = None,
) -> Lag:
    """Archive the log until it fails; with `once`, until it holds what was acknowledged before the call.

    Raises `NotFound` when the cluster has dropped the entry that comes next: a new backup must be made. Raises
    `Unreachable` when no member serves its log, or the repository does not answer, for longer than `patience`.
    The archive is of `expected_cluster`, without it of the first cluster that answers: raises `Refused` when a member
    is of another one, as all are after a recovery, also in the middle of the run.
    """
    patience = patience or Patience(0.0, lambda _text: None)
    found = patience.keep(lambda: source.cluster().cluster_id)
    cluster_id = expected_cluster or found
    _check_cluster("what answers", found, cluster_id)
    last, chain = patience.keep(lambda: archive_end(repository, cluster_id, key))
    sealer = None if key is None else Sealer(key, secrets.token_bytes(SALT_BYTES))
    pending: list[Entry] = []
    size = 0
    due = time.monotonic() + interval_s
    meter = LagMeter(last, time.monotonic())
    member: Member | None = None
    goal: int | None = None

    def flush() -> None:
        nonlocal pending, size
        if pending:
            patience.keep(lambda: _store(repository, cluster_id, pending, sealer, key))
            meter.stored(pending[-1].index)
        pending, size = [], 0

    while True:
        asked = time.monotonic()
        try:
            member, page = _next_page(source, cluster_id, member, last, 0.001 if once else min(interval_s, 30.0))
        except Unreachable as error:
            flush()  # FIRST: the cluster may be gone for good
            patience.wait(error)
            continue
        except Refused:
            flush()  # what was read before is of the right cluster
            raise
        except NotFound:
            flush()
            # Not before the members have dropped it: restores through what a jump leaves out would be impossible.
            newest = patience.keep(lambda: _newest(repository, cluster_id, _backups(repository, cluster_id)))
            if newest.applied_index <= last:
                raise
            last, chain = newest.applied_index, bytes.fromhex(newest.chain)
            meter.jumped(last, newest.revision)
            continue
        patience.answered()
        entries = list(split_entries("the answer of a member", page.data))
        chain = check_continues("the answer of a member", last, chain, entries)
        last += len(entries)
        pending += entries
        size += len(page.data)
        meter.read(last=last, size=len(page.data), applied=page.applied, revision=page.revision, asked=asked)
        if goal is None:
            goal = page.applied  # the member confirmed that it is not behind what was acknowledged when it was asked
        caught_up = once and last >= goal
        if pending and (caught_up or size >= SEGMENT_BYTES or time.monotonic() >= due):
            flush()
        if not pending:
            due = time.monotonic() + interval_s
        report(meter.lag())
        if caught_up:
            return meter.lag()


def archive_end(repository: Repository, cluster_id: str, key: bytes | None) -> tuple[int, bytes]:
    """Return the last index of the archive and the hash there; without segments, those of the newest backup."""
    own = _backups(repository, cluster_id)
    last = last_segment(repository, cluster_id, [one.applied_index for one in own])
    if last is not None:
        _, entries = decode_segment(last.name, repository.get(last.name, SEGMENT_BYTES_MAX), key)
        return entries[-1].index, entries[-1].chain
    newest = _newest(repository, cluster_id, own)
    return newest.applied_index, bytes.fromhex(newest.chain)


def _backups(repository: Repository, cluster_id: str) -> list[Manifest]:
    manifests = [one.manifest for one in list_backups(repository) if one.manifest is not None]
    return [one for one in manifests if one.cluster_id == cluster_id]


def _newest(repository: Repository, cluster_id: str, own: Sequence[Manifest]) -> Manifest:
    if not own:
        raise NotFound(f"{repository.url} holds no backup of {cluster_id}: the archive begins at one")
    return max(own, key=lambda one: one.applied_index)


def _next_page(
    source: Source, cluster_id: str, member: Member | None, after: int, timeout_s: float
) -> tuple[Member, LogPage]:
    """Return entries behind `after` from the member that served the last ones, or from another one."""
    if member is not None:
        try:
            page = _page(source, cluster_id, member, after, timeout_s)
        except (Unreachable, NotFound):
            pass  # another one may still have it
        else:
            return member, page
    failures: list[BackupError] = []
    for other in order_members(source.cluster()):
        try:
            page = _page(source, cluster_id, other, after, timeout_s)
        except (CredentialsRefused, Refused):
            raise
        except BackupError as error:
            failures.append(error)
        else:
            return other, page
    dropped = next((one for one in failures if isinstance(one, NotFound)), None)
    if dropped is not None:
        raise NotFound(f"{dropped}. Make a backup; the archive goes on behind it")
    raise Unreachable(f"no member serves its log: {'; '.join(map(str, failures))}")


def _page(source: Source, cluster_id: str, member: Member, after: int, timeout_s: float) -> LogPage:
    """Return what a member of the cluster serves. Raises `Refused` if it is one of another cluster.

    The history of a cluster that was recovered continues that of the former one: no hash tells them apart.
    """
    page = source.log(member, after, timeout_s)
    # AFTER the page: the member may have become one of another cluster while it was asked for, and never goes back.
    _check_cluster(member.name or member.node_id, source.cluster_of(member), cluster_id)
    return page


def _check_cluster(what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise Refused(f"{what} has the cluster ID {found!r}, and the archive is of {wanted!r}")


def _store(
    repository: Repository, cluster_id: str, entries: list[Entry], sealer: Sealer | None, key: bytes | None
) -> None:
    data = encode_segment(cluster_id, entries, time.time_ns() // 1_000_000, sealer)
    name = folder(cluster_id) + segment_name(entries[0].index, entries[-1].index)
    repository.put(name, data)
    repository.settle(folder(cluster_id))
    if decode_segment(name, repository.get(name, SEGMENT_BYTES_MAX), key)[1] != entries:
        raise BackupError(f"{name} is not what was written")
