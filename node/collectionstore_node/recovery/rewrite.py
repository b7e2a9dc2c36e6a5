"""Makes the data directory of a survivor that of a new cluster, whose only voter it is: in place, atomically, once.

Everything that the survivor has is kept. Its whole log counts as committed, also the end of which it does not know
whether a majority had it: a client may have been told so (as `etcd --force-new-cluster`). What is new: the cluster, the
incarnation, and the configuration; the term is raised, and no vote is left. All former members count as removed.

The steps, and what a crash after each leaves:

| a crash after | IDENTITY | database | WITNESS | an ordinary start | the next recovery |
|---|---|---|---|---|---|
| the checks | old | old | old | as before | begins anew |
| RECOVERING | old | old | old | is refused: the mark | goes on |
| the new IDENTITY | new | old | old | is refused: the mark | goes on |
| applying the log | new | old, all of it applied | old | is refused: the mark | goes on |
| the switching write | new | new | old | is refused: the mark | goes on |
| the new WITNESS | new | new | new | is refused: the mark | goes on |
| RECOVERED, and no RECOVERING | new | new | new | leads the new cluster | has nothing to do |

No step needs space for a second copy of the data. Older versions, which do not know the mark, refuse all of them but
the second, because IDENTITY, database and WITNESS belong to different nodes; and that one, unless they are started for
the old cluster, which had lost its quorum, before anything was applied.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.errors import DataDirectoryRefused, InvariantViolated, StorageFailed
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.messages import (
    NO_NODE,
    Configuration,
    Entry,
    HardState,
    Index,
    NodeId,
    SnapshotMetadata,
    Term,
    decode_change,
    encode,
)
from collectionstore_node.recovery import mark as marks
from collectionstore_node.recovery.instruction import Instruction
from collectionstore_node.recovery.mark import Mark
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.space import NO_LIMITS, SpaceLimits
from collectionstore_node.statemachine.header import read_header, write_header
from collectionstore_node.statemachine.members import MemberInfo, read_membership, sole_member, write_membership
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import Database, Tuning
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.database import IDENTITY_KEY, RECOVERING, ROCKS, TAIL_MARKER, needed_to_open
from collectionstore_node.storage.directory_lock import DirectoryLock
from collectionstore_node.storage.encryption.sources import KeySource
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.identity import Identity, check_owner, new_identity, read_identity, write_identity
from collectionstore_node.storage.quarantine import check_not_quarantined
from collectionstore_node.storage.reserve import Reserve
from collectionstore_node.storage.rocksdb.family import put_all
from collectionstore_node.storage.rocksdb.rocks import NODE_FAMILY, OpenMode, Rocks
from collectionstore_node.storage.state_store import APPLIED_KEY
from collectionstore_node.storage.tail_marker import TailMarker

BUMP_REVISION: Final = 1_000_000
"""Added to the revision: clients may have seen revisions of entries that are lost, and none is given twice."""
BUMP_MAX: Final = 1 << 40
_READ_BYTES: Final = 4 << 20
"""Of the log at a time."""


class NewIdentity(NamedTuple):
    """What the recovered member is called, and where it is reached."""

    cluster_id: str
    peer_address: str
    client_address: str
    bump_revision: int = BUMP_REVISION
    name: str = ""
    """Of the member; empty if it keeps its own."""
    keeps_epoch: bool = True
    """Whether operators that were fenced stay so. Those of another resource count their epochs from the beginning."""


class Recovered(NamedTuple):
    """What a directory holds after its recovery. `already` if an earlier call had done it."""

    node_id: str
    applied_index: int
    revision: int
    state_digest: str
    already: bool


class RecoveryStep(enum.Enum):
    """Steps of a recovery; a crash after any of them is safe."""

    CHECKED = "all data is whole, and nothing is changed"
    MARKED = "the directory says that it is being recovered"
    IDENTIFIED = "IDENTITY is that of the new incarnation"
    APPLIED = "the whole log is applied, durably"
    SWITCHED = "the database belongs to the new incarnation"
    WITNESSED = "so does the tail marker"
    FINISHED = "the directory says that it was recovered"


def recover(
    directory: Path,
    instruction: Instruction,
    new: NewIdentity,
    *,
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
    limits: SpaceLimits = NO_LIMITS,
    source: KeySource | None = None,
) -> Recovered:
    """Carry out `instruction` on `directory`, complete what an earlier call began, or do nothing if that was done.

    Raises `DataDirectoryRefused`, with nothing changed, if there is no data, or it is damaged, of another incarnation
    than was chosen, or recovered for another nonce; `StorageFailed` on an I/O error.
    """
    try:
        done = _done(directory, instruction, new)
        if not done:
            for _ in recovery_steps(directory, instruction, new, tuning=tuning, limits=limits, source=source):
                pass
        return _reopened(directory, new.name or instruction.name, new.cluster_id, tuning, limits, source, already=done)
    except OSError as error:
        raise StorageFailed(f"recover {directory}: {error}") from error


def recovery_steps(
    directory: Path,
    instruction: Instruction,
    new: NewIdentity,
    *,
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
    limits: SpaceLimits = NO_LIMITS,
    source: KeySource | None = None,
) -> Generator[RecoveryStep, None, None]:
    """Perform a recovery that is not done yet step by step: each item taken completes one."""
    lock = DirectoryLock(directory)
    try:
        mark = marks.read(directory, RECOVERING)
        if mark is None:
            mark = _check(directory, instruction, new, tuning, limits, source)
            yield RecoveryStep.CHECKED
            marks.begin(directory, mark)
            yield RecoveryStep.MARKED
        _check_same(directory, mark, instruction, new)
        # From here on with what the mark says: the new incarnation is the same at every attempt.
        yield from _rewrite(directory, mark, new, tuning, limits, source)
        marks.complete(directory, mark)
        yield RecoveryStep.FINISHED
    except (Corrupted, InvariantViolated) as error:
        raise DataDirectoryRefused(
            f"The data directory {directory} cannot be recovered. {error} Recover another survivor, or restore a "
            "backup."
        ) from error
    finally:
        lock.release()


def _done(directory: Path, instruction: Instruction, new: NewIdentity) -> bool:
    """Return whether the directory is one of the new cluster. Raises `DataDirectoryRefused` if by another recovery."""
    if new.cluster_id == instruction.cluster_id:
        raise DataDirectoryRefused(f"The new cluster must have an ID of its own, not {new.cluster_id!r}.")
    identity = read_identity(directory)
    if identity is None or identity.cluster_id != new.cluster_id or marks.read(directory, RECOVERING) is not None:
        return False
    done = marks.read(directory, marks.RECOVERED)
    if done is not None and done.cluster_id == new.cluster_id:
        _check_same(directory, done, instruction, new)
    return True


def _check_same(directory: Path, mark: Mark, instruction: Instruction, new: NewIdentity) -> None:
    name = new.name or instruction.name
    asked = (instruction.nonce, instruction.name, instruction.cluster_id, instruction.node_id, new.cluster_id, name)
    found = (mark.nonce, mark.name, mark.from_cluster, int(mark.from_node, 16), mark.cluster_id, mark.new_name)
    if asked != found:
        raise DataDirectoryRefused(
            f"{directory} is recovered for nonce {mark.nonce}, from cluster {mark.from_cluster!r} to "
            f"{mark.cluster_id!r}; the instruction has nonce {instruction.nonce}, from {instruction.cluster_id!r} to "
            f"{new.cluster_id!r}. Nothing was changed."
        )


def _check(
    directory: Path,
    instruction: Instruction,
    new: NewIdentity,
    tuning: Tuning,
    limits: SpaceLimits,
    source: KeySource | None,
) -> Mark:
    """Prove that the directory holds the chosen incarnation, whole; return the mark of its recovery."""
    if not 0 <= new.bump_revision <= BUMP_MAX:
        raise DataDirectoryRefused(f"The revision cannot be raised by {new.bump_revision}; allowed: 0 to {BUMP_MAX}.")
    identity = read_identity(directory)
    if identity is None:
        raise DataDirectoryRefused(f"{directory} has no data: there is nothing to recover. Nothing was changed.")
    check_owner(directory, identity, cluster_id=instruction.cluster_id, name=instruction.name)
    if identity.node_id != instruction.node_id:
        raise DataDirectoryRefused(
            f"{directory} holds the incarnation {identity.node_id:016x}, not {instruction.node_id:016x}, which was "
            "chosen. Nothing was changed."
        )
    check_not_quarantined(directory)
    database = _open(directory, identity, tuning, limits, source)
    try:
        # Opening has verified the log, its chain and its marker. A member without entries has nothing to recover.
        if not database.log.last_index():
            raise DataDirectoryRefused(f"{directory} has no entry of the log: there is nothing to recover.")
    finally:
        database.close()
    name = new.name or instruction.name
    incarnation = new_identity(new.cluster_id, name)
    return Mark(
        nonce=instruction.nonce,
        name=instruction.name,
        from_cluster=identity.cluster_id,
        from_node=f"{identity.node_id:016x}",
        cluster_id=new.cluster_id,
        node_id=f"{incarnation.node_id:016x}",
        bump_revision=new.bump_revision,
        renamed="" if name == instruction.name else name,
    )


def _sync_files(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _rewrite(
    directory: Path, mark: Mark, new: NewIdentity, tuning: Tuning, limits: SpaceLimits, source: KeySource | None
) -> Generator[RecoveryStep, None, None]:
    old = Identity(mark.from_cluster, mark.name, NodeId(int(mark.from_node, 16)))
    own = Identity(mark.cluster_id, mark.new_name, NodeId(int(mark.node_id, 16)))
    if _owner(directory, tuning) != own:
        database = _open(directory, old, tuning, limits, source)
        try:
            # BEFORE anything is applied that may not be committed: from here on, no version takes it for a member of
            # the old cluster.
            write_identity(directory, own, read_header(database.state).level)
            yield RecoveryStep.IDENTIFIED
            _apply_all(database, directory, own)
            yield RecoveryStep.APPLIED
            info = MemberInfo(own.node_id, own.name, new.peer_address, new.client_address)
            _switch(database, own, info, mark, keeps_epoch=new.keeps_epoch)
            yield RecoveryStep.SWITCHED
        finally:
            database.close()
    # What was seen to be switched may be the work of an attempt that was killed before its sync: a marker must not
    # outlive the data that it is of.
    _sync_files(directory)
    # Empty, and so behind the log: the new incarnation has promised nothing yet. Its first opening brings it forward.
    TailMarker.create(directory / TAIL_MARKER, own.node_id)
    _open(directory, own, tuning, limits, source).close()
    yield RecoveryStep.WITNESSED


def _open(
    directory: Path, identity: Identity, tuning: Tuning, limits: SpaceLimits, source: KeySource | None
) -> Database:
    """Open a directory, whose lock is held, as that of `identity`. Raises `Corrupted`."""
    reserve = Reserve(directory, limits)
    reserve.give_back(needed_to_open(directory))
    return Database(directory, identity, tuning, _Held(), reserve, created=False, source=source)


class _Held(DirectoryLock):
    """The lock of a directory that the caller holds and releases."""

    def __init__(self) -> None:
        pass

    def release(self) -> None:
        """Leave it to the caller."""


def _owner(directory: Path, tuning: Tuning) -> Identity:
    """Return whose database it is. Raises `Corrupted`."""
    rocks = Rocks(directory / ROCKS, tuning, FailStop(), OpenMode.READ_ONLY)
    try:
        return msgspec.msgpack.decode(rocks.family(NODE_FAMILY).get(IDENTITY_KEY) or b"", type=Identity)
    except msgspec.DecodeError as error:
        raise Corrupted(f"The database does not say whose it is ({error}).") from error
    finally:
        rocks.close()


def _apply_all(database: Database, directory: Path, own: Identity) -> None:
    """Apply every entry of the log, as a member would if all of them were committed."""
    state, log = database.state, database.log

    def activate(change: Entry) -> Configuration:
        return next_configuration(state.applied.configuration, decode_change(change.data))

    def raise_level(level: int) -> None:
        write_identity(directory, own, level)

    applier = Applier(state, ReplicaMetrics(member_metrics(enabled=False)).disk, raise_level)
    last = log.last_index()
    while state.applied.index < last:
        following = log.entries(Index(state.applied.index + 1), Index(last + 1), _READ_BYTES)
        # One by one: a configuration takes effect for the entries behind it.
        for entry in following:
            applier.apply((entry,), activate)
    log.sync()


def _switch(database: Database, own: Identity, info: MemberInfo, mark: Mark, *, keeps_epoch: bool) -> None:
    """Make the database that of a cluster with one member, in ONE durable write."""
    state, log, rocks = database.state, database.log, database.rocks
    applied = state.applied
    if applied.index != log.last_index():
        raise InvariantViolated(f"the log ends at {log.last_index()}, but only {applied.index} is applied")
    overlay = Overlay(state)
    header, before = read_header(overlay), read_membership(overlay)
    header.bump(mark.bump_revision)
    write_header(overlay, header)
    # In place the epoch stays: it fences the operators before this one, which may still run.
    epoch = before.fencing_epoch if keeps_epoch else 0
    write_membership(overlay, sole_member(before, info, applied.index, epoch=epoch))
    metadata = SnapshotMetadata(applied.index, applied.term, applied.chain, Configuration(voters=(own.node_id,)))
    batch = rocks.batch(state.family)
    written = [(key, value) for key, value in overlay.writes.values.items() if value is not None]
    put_all(batch, state.family, [*written, (APPLIED_KEY, encode(metadata))])
    batch.put(IDENTITY_KEY, msgspec.msgpack.encode(own), rocks.family(NODE_FAMILY).handle)
    log.reset_to_snapshot(metadata, batch, HardState(Term(log.hard_state().term + 1), NO_NODE, metadata.index))


def _reopened(
    directory: Path,
    name: str,
    cluster_id: str,
    tuning: Tuning,
    limits: SpaceLimits,
    source: KeySource | None,
    *,
    already: bool,
) -> Recovered:
    """Return what is in the directory, as a node finds it."""
    database = Database.open(directory, cluster_id=cluster_id, name=name, tuning=tuning, limits=limits, source=source)
    try:
        header = read_header(database.state)
        return Recovered(
            node_id=f"{database.identity.node_id:016x}",
            applied_index=database.state.applied.index,
            revision=header.revision,
            state_digest=header.digest.hex(),
            already=already,
        )
    finally:
        database.close()
