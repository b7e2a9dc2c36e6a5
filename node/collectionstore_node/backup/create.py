"""Makes a backup: a member's state, in parts, read back; then the manifest.

Memory is bounded by the parts in work. The stream is verified as it arrives, so what a member sends wrongly, or not to
its end, is never stored as a backup. A run that fails deletes what it wrote; one that is killed leaves parts without a
manifest, which `prune` removes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock, Semaphore
from typing import Final, NamedTuple

from collectionstore_node.backup.errors import BackupError, Corrupt, CredentialsRefused, NotFound, Refused, Unreachable
from collectionstore_node.backup.manifest import TIME, Manifest, encode_manifest
from collectionstore_node.backup.pacing import Pace
from collectionstore_node.backup.parts import (
    PART_BYTES,
    PART_BYTES_MAX,
    STORED_OVERHEAD_MAX,
    Part,
    check_stored,
    part_name,
    store_part,
)
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.sealing import SALT_BYTES, Sealer
from collectionstore_node.backup.selection import Cluster, order_members
from collectionstore_node.backup.source import Source, StateResponse
from collectionstore_node.backup.stored import (
    ROOT,
    Listed,
    delete_backup,
    folder,
    look,
    manifest_name,
    read_manifest,
)
from collectionstore_node.backup.verify import StateSummary, opened, summarize
from collectionstore_node.backup.yielding import Yielding
from collectionstore_node.storage.exported_state import ExportedState

WORKERS: Final = 2
IN_WORK_MAX: Final = 4
"""Parts in memory at a time, beside the one that is received."""


class Run(NamedTuple):
    """One backup that is wanted, however often its command is started: the suffix of its ID, and when it was wanted.

    Each attempt has an ID of its own, so two at the same time never write to the same place.
    """

    since: str
    """As in an ID: `20260102T030405Z`."""
    number: str

    def finds(self, backup_id: str) -> bool:
        """Return whether an ID is of this run."""
        started, _, number = backup_id.partition("-")
        return number == self.number and started >= self.since


class Progress(NamedTuple):
    """What the run reports: a step as text, and bytes of the stream that are done."""

    step: Callable[[str], None]
    advance: Callable[[int], None]


def create_backup(
    source: Source,
    repository: Repository,
    *,
    key: bytes | None,
    expected_cluster: str | None,
    stale: bool,
    progress: Progress,
    run: Run | None = None,
    pace: Pace | None = None,
    yielding: Yielding | None = None,
    part_bytes: int = PART_BYTES,
) -> Manifest:
    """Make a backup and return its manifest, which was read back. Raises `BackupError`; nothing is left then.

    With `run`, a complete backup of an earlier attempt is verified as far as its parts are there, and returned. `pace`
    bounds how fast the member is read: it sends no faster than this takes it. `yielding` is how processors are left to
    others; by default as they need them.
    """
    yielding = yielding or Yielding()
    started = datetime.now(UTC)
    if run is not None and (done := _completed(repository, run, expected_cluster)) is not None:
        progress.step(f"{done.id} was made by an earlier attempt")
        return done
    cluster = source.cluster()
    if expected_cluster is not None and cluster.cluster_id != expected_cluster:
        raise Refused(f"the cluster is {cluster.cluster_id!r}, not {expected_cluster!r}")
    number = secrets.token_hex(4) if run is None else run.number
    backup_id = f"{started:%Y%m%dT%H%M%SZ}-{number}"
    sealer = None if key is None else Sealer(key, secrets.token_bytes(SALT_BYTES))
    response = _open_state(source, cluster, stale=stale, progress=progress)
    described = response.described
    progress.step(f"reading {described.name}, {'the leader' if described.leader else 'a follower'}")
    try:
        writer = PartWriter(repository, backup_id, sealer, progress.advance, yielding, part_bytes)
        try:
            with writer:
                tee = _Tee(response, writer, pace, yielding)
                stream = opened(f"sent by {described.name}", tee)
                summary = summarize(stream)
                tee.finish()
        finally:
            response.close()
        _compare(summary, described)
        repository.settle(folder(backup_id))
        manifest = Manifest(
            id=backup_id,
            started_at=started.strftime(TIME),
            finished_at=datetime.now(UTC).strftime(TIME),
            cluster_id=described.cluster_id,
            node_id=described.node_id,
            member=described.name,
            from_leader=described.leader,
            version=described.version,
            term=summary.term,
            applied_index=summary.applied_index,
            revision=summary.revision,
            chain=summary.chain,
            time_ms=summary.time_ms,
            feature_level=summary.feature_level,
            state_digest=summary.state_digest,
            records=summary.records,
            content_bytes=summary.content_bytes,
            stream_bytes=tee.size,
            stream_sha256=tee.hash.hexdigest(),
            encryption=None if sealer is None else sealer.description,
            parts=tuple(writer.parts),
        )
        progress.step("writing the manifest")
        repository.put(manifest_name(backup_id), encode_manifest(manifest, sealer))
        repository.settle(folder(backup_id))
        if read_manifest(repository, backup_id)[1] != manifest:
            raise Corrupt(f"the manifest of {backup_id} is not what was written")
        # AFTER the manifest: from now on `prune` does not take the parts for left over, and before it may have.
        if not look(repository, Listed(backup_id, manifest, "")).intact:
            raise Corrupt(f"parts of {backup_id} are gone since they were stored: was it pruned while it was made?")
    except BaseException:
        # What cannot be deleted now has no manifest, unless that was written wrongly, which is deleted first.
        with suppress(BackupError):
            delete_backup(repository, backup_id)
        raise
    return manifest


def _completed(repository: Repository, run: Run, cluster_id: str | None) -> Manifest | None:
    """Return the first intact backup of a run, None if there is none."""
    for backup_id in sorted(filter(run.finds, repository.folders(ROOT))):
        try:
            manifest = read_manifest(repository, backup_id)[1]
        except NotFound:
            continue  # an attempt that was interrupted
        if cluster_id in (None, manifest.cluster_id) and look(repository, Listed(backup_id, manifest, "")).intact:
            return manifest
    return None


def _open_state(source: Source, cluster: Cluster, *, stale: bool, progress: Progress) -> StateResponse:
    failures = []
    for member in order_members(cluster):
        try:
            return source.open_state(member, stale=stale)
        except (CredentialsRefused, Refused):
            raise
        except Unreachable as error:
            failures.append(str(error))
            progress.step(f"{error}; trying another member")
    raise Unreachable(f"no member can be read: {'; '.join(failures)}")


def _compare(summary: StateSummary, described: ExportedState) -> None:
    told = (described.index, described.term, described.revision, described.feature_level, described.state_digest)
    read = (summary.applied_index, summary.term, summary.revision, summary.feature_level, summary.state_digest)
    if told != read:
        raise Corrupt(f"{described.name} announced index, term, revision, level and digest {told}, but sent {read}")


class _Tee:
    """Hands on a stream, counts and hashes it, and gives a copy to the writer."""

    def __init__(self, response: StateResponse, writer: PartWriter, pace: Pace | None, yielding: Yielding) -> None:
        self._response = response
        self._pace = pace
        self._yielding = yielding
        self._writer = writer
        self.hash = sha256()
        self.size = 0

    def read(self, count: int, /) -> bytes:
        data = self._response.read(count)
        self.hash.update(data)
        self.size += len(data)
        self._writer.write(data)
        if self._pace is not None:
            self._pace.after(len(data))
        self._yielding.after(len(data))
        return data

    def finish(self) -> None:
        """Store the rest, and wait for every part. Call it when the stream was verified."""
        self._writer.finish()


class PartWriter:
    """Cuts a stream into parts; each is compressed, stored, and read back, a few at a time. A context manager."""

    def __init__(
        self,
        repository: Repository,
        backup_id: str,
        sealer: Sealer | None,
        advance: Callable[[int], None],
        yielding: Yielding,
        part_bytes: int,
    ) -> None:
        self.parts: list[Part] = []
        """Complete after `finish`."""
        self._repository = repository
        self._id = backup_id
        self._sealer = sealer
        self._advance = advance
        self._yielding = yielding
        self._part_bytes = part_bytes
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="part")
        self._processor = Lock()
        self._room = Semaphore(IN_WORK_MAX)
        self._work: list[Future[Part]] = []
        self._pending = bytearray()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, data: bytes) -> None:
        """Take bytes of the stream; waits while enough parts are in work. Raises what storing an earlier one raised."""
        self._pending += data
        while len(self._pending) >= self._part_bytes:
            self._submit(bytes(self._pending[: self._part_bytes]))
            del self._pending[: self._part_bytes]

    def finish(self) -> None:
        """Store the last part and wait for all of them. Raises what storing one raised."""
        if self._pending:
            self._submit(bytes(self._pending))
            self._pending.clear()
        self.parts = [one.result() for one in self._work]

    def _submit(self, content: bytes) -> None:
        for one in self._work[-IN_WORK_MAX:]:
            if one.done():
                one.result()  # a repository that failed is not written to on and on
        self._room.acquire()
        self._work.append(self._pool.submit(self._store_and_release, len(self._work), content))

    def _store_and_release(self, number: int, content: bytes) -> Part:
        try:
            return self._store(number, content)
        finally:
            self._room.release()

    def _store(self, number: int, content: bytes) -> Part:
        # One at a time: there are several workers for the waits of a store, and members need processors as well.
        with self._processor:
            part, data = store_part(number, content, self._id, self._sealer, self._yielding.after)
        name = folder(self._id) + part_name(number)
        self._repository.put(name, data)
        self._repository.settle_object(name)
        # Read back: a store that took it and lost it is found out now, and not by the restore.
        stored = self._repository.get(name, PART_BYTES_MAX + STORED_OVERHEAD_MAX)
        check_stored(part, name, stored, self._yielding.after)
        self._advance(len(content))
        return part
