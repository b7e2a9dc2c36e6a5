"""Applies the archived log to a restored state, before that becomes another cluster's: exactly as the members did.

An entry is applied whole or not at all: its commands were committed together. So a restore to a revision ends at the
last entry that does not pass it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from collectionstore_node.backup.errors import Corrupt, NotFound, Refused
from collectionstore_node.backup.manifest import TIME, Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.segments import SEGMENT_BYTES_MAX, Segment, decode_segment
from collectionstore_node.backup.selection import Target
from collectionstore_node.backup.stored_log import segments
from collectionstore_node.errors import NodeError
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.messages import Configuration, Entry, EntryKind, decode_change
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import StateStore


def check_base(manifest: Manifest, target: Target) -> None:
    """Raise `Refused` if the backup may be of a later state than `target`: a replay goes forward only."""
    advice = "Name an earlier backup, or `latest` for the newest one before that point"
    if target.revision is not None and manifest.revision > target.revision:
        raise Refused(f"{manifest.id} has revision {manifest.revision}, after {target.revision}. {advice}")
    if target.time_ms is not None and _finished_ms(manifest) > target.time_ms:
        raise Refused(f"{manifest.id} was finished at {manifest.finished_at}, after {_shown(target.time_ms)}. {advice}")


def replay_log(
    repository: Repository, manifest: Manifest, key: bytes | None, target: Target, state: StateStore
) -> None:
    """Apply what the archive has behind the backup of `manifest`, up to `target`.

    Raises `Refused` if the backup is behind `target`, `NotFound` if the archive does not reach it, `Corrupt` if it does
    not continue the backup.
    """
    check_base(manifest, target)
    applier = Applier(state, ReplicaMetrics(member_metrics(enabled=False)).disk)
    reached_ms = _finished_ms(manifest)
    for segment, entries in _segments(repository, manifest, key):
        reached_ms = max(reached_ms, segment.read_ms)
        if target.time_ms is not None and segment.read_ms > target.time_ms:
            break
        if not _apply(manifest, applier, state, entries, target.revision):
            return
    reached = applier.revision
    if target.revision is not None and reached < target.revision:
        raise NotFound(f"the archive ends at revision {reached}, before {target.revision}")
    # By the second, as a time is given.
    if target.time_ms is not None and reached_ms // 1000 < target.time_ms // 1000:
        raise NotFound(
            f"the archive ends at {_shown(reached_ms)}, with revision {reached}, before {_shown(target.time_ms)}: it "
            "cannot say whether anything was written between them. To restore its end: --to end"
        )


def _apply(
    manifest: Manifest, applier: Applier, state: StateStore, entries: Sequence[Entry], revision: int | None
) -> bool:
    """Apply entries and return True; False before one that would lead beyond `revision`."""

    def activate(change: Entry) -> Configuration:
        return next_configuration(state.applied.configuration, decode_change(change.data))

    for entry in entries:
        if revision is not None and _passes(state, entry, revision):
            return False
        try:
            applier.apply((entry,), activate)
        except NodeError as error:
            raise Corrupt(f"the archive does not continue {manifest.id}: {error}") from error
    return True


def _passes(state: StateStore, entry: Entry, revision: int) -> bool:
    """Return whether applying `entry` would lead beyond `revision`."""
    if entry.kind is not EntryKind.COMMANDS:
        return read_header(state).revision >= revision
    if read_header(state).revision + len(entry.data) <= revision:
        return False  # a command has a byte at least
    overlay = Overlay(state)
    apply_batch(overlay, entry.data, entry.chain)
    return read_header(overlay).revision > revision


def _segments(repository: Repository, manifest: Manifest, key: bytes | None) -> Iterator[tuple[Segment, list[Entry]]]:
    """Yield what follows the backup, in order, each with its segment, without what was archived twice."""
    index = manifest.applied_index
    for one in sorted(one for one in segments(repository, manifest.cluster_id) if one.last > index):
        if one.last <= index:
            continue
        if one.first > index + 1:
            raise NotFound(f"the archive has a gap behind index {index}; a later backup begins behind it")
        segment, entries = decode_segment(one.name, repository.get(one.name, SEGMENT_BYTES_MAX), key)
        yield segment, [entry for entry in entries if entry.index > index]
        index = segment.last


def _finished_ms(manifest: Manifest) -> int:
    return int(datetime.strptime(manifest.finished_at, TIME).replace(tzinfo=UTC).timestamp() * 1000)


def _shown(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime(TIME)
