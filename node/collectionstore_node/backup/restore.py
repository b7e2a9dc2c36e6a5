"""Makes the data directory of the first member of a NEW cluster from a backup; nothing that runs is involved.

The directory is built in a folder inside the target, so that it works on a mounted volume too, and moved into place
with IDENTITY last: until then a node refuses the target, because it is not empty and has no IDENTITY. A restore that
was interrupted is recognized by its mark, and cleared by the next one.

What is new: the cluster, the member and its incarnation, which is the only voter. What stays: every document, every
revision, the idempotency table, and index, term and hash of the log, so that none of them goes back. The incarnations
of the old cluster count as removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from collectionstore_node.backup.errors import Corrupt, InvalidUse, Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.sealing import Sealer
from collectionstore_node.backup.stored import PartReader
from collectionstore_node.backup.verify import Hashed, Watched, compare, opened
from collectionstore_node.errors import InsufficientStorage, InvariantViolated, StorageFailed
from collectionstore_node.raft.messages import Configuration, NodeId, SnapshotMetadata
from collectionstore_node.statemachine.header import Header, read_header, write_header
from collectionstore_node.statemachine.members import MemberInfo, read_membership, sole_member, write_membership
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import Database, StateStore
from collectionstore_node.storage.directory_lock import LOCK_FILE, DirectoryLock
from collectionstore_node.storage.durable_file import sync_directory, write_file
from collectionstore_node.storage.encryption.sources import KeySource
from collectionstore_node.storage.identity import IDENTITY_FILE, read_identity
from collectionstore_node.storage.reserve import FULL
from collectionstore_node.storage.snapshots import Adoption, restore_snapshot

MARK: Final = "RESTORING"
REQUEST: Final = "RESTORED"
"""In a directory that was restored for a request (`restore_directory`): which one it was."""
BUILDING: Final = "restore"
BUMP_MAX: Final = 1 << 40
_IGNORED: Final = frozenset({"lost+found", LOCK_FILE, f"{MARK}.tmp"})
"""What may be in a directory that counts as empty; the last is a mark that was being written."""
_MARGIN: Final = 64 << 20
_NO_ROOM: Final = "No space left on device"
"""In what RocksDB says: its errors have no number here."""

Replay = Callable[[StateStore], None]
"""Applies what follows the backup to its state, before that becomes another cluster's."""


class NewMember(NamedTuple):
    """The member that a restored directory belongs to."""

    cluster_id: str
    name: str
    peer_address: str
    client_address: str
    source: KeySource | None = None
    """Of the key that the directory is encrypted with, from its first byte on; None for one that is not."""


class Restored(NamedTuple):
    """A data directory that was made."""

    node_id: str
    applied_index: int
    term: int
    revision: int
    state_digest: str


def restore_directory(
    repository: Repository,
    manifest: Manifest,
    sealer: Sealer | None,
    target: Path,
    member: NewMember,
    *,
    request: str = "",
    bump_revision: int = 0,
    replay: Replay | None = None,
    advance: Callable[[int], None] = lambda _bytes: None,
) -> Restored:
    """Make `target`, which is empty or missing, the data directory of `member`.

    `bump_revision` is added to the revision: for clients that have seen revisions of the old cluster which the backup
    has not. Raises `Refused` if there is data, or no room; `Corrupt` if the backup is not what it says. Nothing is left
    then that a node starts on. `request` stays in the directory, so that `restored_for` recognizes it.
    """
    if member.cluster_id == manifest.cluster_id:
        raise Refused(
            f"the new cluster must have an ID of its own, not {manifest.cluster_id!r}: members of the old one may "
            "still run, and would take this one for theirs"
        )
    if not 0 <= bump_revision <= BUMP_MAX:
        raise InvalidUse(f"--bump-revision is {bump_revision}; allowed are 0 to {BUMP_MAX}")
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_empty(target)
        _check_room(target, manifest)
        lock = DirectoryLock(target)
    except OSError as error:
        raise Refused(f"{target} cannot be written: {error.strerror}") from error
    try:
        # Once more: a node, or another restore, may have taken the directory before the lock.
        _check_empty(target)
        return _restore(repository, manifest, sealer, target, member, request, bump_revision, replay, advance)
    except InsufficientStorage as error:
        raise Refused(f"{target}: {error}") from error
    except (OSError, StorageFailed) as error:
        if getattr(error, "errno", None) in FULL or _NO_ROOM in str(error):
            raise Refused(
                f"{target}: its disk is full. Nothing that a node starts on is left: make room, and repeat the command"
            ) from error
        raise
    except InvariantViolated as error:
        raise Corrupt(f"{manifest.id}: {error}") from error
    finally:
        lock.release()


def restored_for(target: Path, member: NewMember, request: str) -> bool:
    """Return whether `target` is complete, of this member, and was restored for this request before.

    A restore of a pod is repeated whenever the pod starts again, also after its node has run on the data.
    """
    identity = read_identity(target) if target.is_dir() else None
    if identity is None or (identity.cluster_id, identity.name) != (member.cluster_id, member.name):
        return False
    try:
        return (target / REQUEST).read_text(encoding="utf-8").strip() == request
    except FileNotFoundError:
        return False


def _restore(
    repository: Repository,
    manifest: Manifest,
    sealer: Sealer | None,
    target: Path,
    member: NewMember,
    request: str,
    bump_revision: int,
    replay: Replay | None,
    advance: Callable[[int], None],
) -> Restored:
    # BEFORE anything else: what an interrupted restore leaves must be known to be its own.
    write_file(target / MARK, f"Backup {manifest.id} is being restored here.\n".encode())
    for name in _left_over(target):
        _remove(target / name)
    building = target / BUILDING
    database = Database.open(building, cluster_id=member.cluster_id, name=member.name, source=member.source)
    try:
        _load(database, repository, manifest, sealer, member, bump_revision, replay, advance)
    finally:
        database.close()
    restored = _reopened(building, member)
    if request:
        # Durable BEFORE the move, which makes the directory complete.
        write_file(building / REQUEST, f"{request}\n".encode())
    _move(building, target)
    return restored


def _check_empty(target: Path) -> None:
    """Raise `Refused` if anything is in `target` that no restore left."""
    present = {one.name for one in target.iterdir()} - _IGNORED
    interrupted = MARK in present and IDENTITY_FILE not in present
    if present and not interrupted:
        raise Refused(
            f"{target} is not empty: it has {', '.join(sorted(present)[:5])}. A restore never replaces data; give it a "
            "new directory"
        )


def _left_over(target: Path) -> set[str]:
    """Return what an interrupted restore left in `target`, which has its mark and no data of a node."""
    return {one.name for one in target.iterdir()} - _IGNORED - {MARK}


def _check_room(target: Path, manifest: Manifest) -> None:
    needed = manifest.content_bytes + manifest.content_bytes // 4 + _MARGIN
    free = shutil.disk_usage(target).free
    if free < needed:
        raise Refused(f"{target} has {free >> 20} MiB free; the restore needs about {needed >> 20} MiB")


def _load(
    database: Database,
    repository: Repository,
    manifest: Manifest,
    sealer: Sealer | None,
    member: NewMember,
    bump_revision: int,
    replay: Replay | None,
    advance: Callable[[int], None],
) -> None:
    with PartReader(repository, manifest, sealer, advance) as parts:
        hashed = Hashed(parts)
        watched = Watched(opened(manifest.id, hashed))

        def adopt(state: StateStore) -> Adoption:
            # The whole stream was read by now: BEFORE the state becomes the active one it is the one of the manifest.
            compare(watched.summary(), manifest)
            hashed.check(manifest)
            if replay is not None:
                replay(state)
            return adopted(state, database.identity.node_id, member, bump_revision)

        restore_snapshot(database, watched, adopt)


def adopted(state: StateStore, node_id: NodeId, member: NewMember, bump_revision: int) -> Adoption:
    """Return what makes `state` that of a cluster whose only member is `member`."""
    overlay = Overlay(state)
    header, before = read_header(overlay), read_membership(overlay)
    if bump_revision:
        header.bump(bump_revision)
        write_header(overlay, header)
    applied = state.applied
    info = MemberInfo(node_id, member.name, member.peer_address, member.client_address)
    write_membership(overlay, sole_member(before, info, applied.index, epoch=0))
    metadata = SnapshotMetadata(applied.index, applied.term, applied.chain, Configuration(voters=(node_id,)))
    values = {key: value for key, value in overlay.writes.values.items() if value is not None}
    return Adoption(metadata, values, header.level)


def _reopened(building: Path, member: NewMember) -> Restored:
    """Return what is in the directory, as a node will find it."""
    database = Database.open(building, cluster_id=member.cluster_id, name=member.name, source=member.source)
    try:
        header: Header = read_header(database.state)
        applied = database.state.applied
        return Restored(
            node_id=f"{database.identity.node_id:016x}",
            applied_index=applied.index,
            term=applied.term,
            revision=header.revision,
            state_digest=header.digest.hex(),
        )
    finally:
        database.close()


def _move(building: Path, target: Path) -> None:
    names = sorted(one.name for one in building.iterdir())
    for name in names:
        if name not in (IDENTITY_FILE, LOCK_FILE):
            os.replace(building / name, target / name)
    sync_directory(target)
    # LAST: with it, the directory counts as complete, and everything else is in its place, durably.
    os.replace(building / IDENTITY_FILE, target / IDENTITY_FILE)
    sync_directory(target)
    if read_identity(target) is None:
        raise Corrupt(f"{target} has no {IDENTITY_FILE} although it was moved there")
    _remove(building)
    (target / MARK).unlink()
    sync_directory(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
