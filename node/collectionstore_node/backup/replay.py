"""Applies the archived log to a restored state, before that becomes another cluster's: exactly as the members did.

An entry is applied whole or not at all: its commands were committed together. So a restore to a revision ends at the
last entry that does not pass it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collectionstore_node.backup.errors import Corrupt, NotFound
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.segments import SEGMENT_BYTES_MAX, decode_segment, folder, parse_name
from collectionstore_node.errors import NodeError
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.messages import Configuration, Entry, EntryKind, decode_change
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import StateStore


class Target(NamedTuple):
    """Where a replay ends; both None for the end of the archive."""

    revision: int | None = None
    time_ms: int | None = None


def replay_log(
    repository: Repository, manifest: Manifest, key: bytes | None, target: Target, state: StateStore
) -> None:
    """Apply what the archive has behind the backup of `manifest`, up to `target`.

    Raises `NotFound` if the archive does not reach a revision that was asked for, `Corrupt` if it does not continue the
    backup.
    """
    applier = Applier(state, ReplicaMetrics(member_metrics(enabled=False)).disk)
    ended = False
    for entry in _entries(repository, manifest, key, target):
        if target.revision is not None and _passes(state, entry, target.revision):
            ended = True
            break

        def activate(change: Entry) -> Configuration:
            return next_configuration(state.applied.configuration, decode_change(change.data))

        try:
            applier.apply((entry,), activate)
        except NodeError as error:
            raise Corrupt(f"the archive does not continue {manifest.id}: {error}") from error
    reached = applier.revision
    if target.revision is not None and not ended and reached < target.revision:
        raise NotFound(f"the archive ends at revision {reached}, before {target.revision}")


def _passes(state: StateStore, entry: Entry, revision: int) -> bool:
    """Return whether applying `entry` would lead beyond `revision`."""
    if entry.kind is not EntryKind.COMMANDS:
        return read_header(state).revision >= revision
    if read_header(state).revision + len(entry.data) <= revision:
        return False  # a command has a byte at least
    overlay = Overlay(state)
    apply_batch(overlay, entry.data, entry.chain)
    return read_header(overlay).revision > revision


def _entries(repository: Repository, manifest: Manifest, key: bytes | None, target: Target) -> Iterator[Entry]:
    """Yield what follows the backup, in order, without what was archived twice."""
    index = manifest.applied_index
    names = sorted(one.name for one in repository.objects(folder(manifest.cluster_id)) if parse_name(one.name))
    for name in names:
        bounds = parse_name(name)
        if bounds is None or bounds[1] <= index:
            continue
        if bounds[0] > index + 1:
            raise NotFound(f"the archive has a gap behind index {index}; a later backup begins behind it")
        segment, entries = decode_segment(name, repository.get(name, SEGMENT_BYTES_MAX), key)
        if target.time_ms is not None and segment.read_ms > target.time_ms:
            return
        for entry in entries:
            if entry.index == index + 1:
                yield entry
                index = entry.index
