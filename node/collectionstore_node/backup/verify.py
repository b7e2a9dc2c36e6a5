"""Reads a backup back and verifies all of it: every hash, every record, and that it is the state that it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

from collectionstore_node.backup.errors import Corrupt
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.sealing import Sealer
from collectionstore_node.backup.stored import PartReader, open_backup
from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import SnapshotMetadata
from collectionstore_node.statemachine.header import Header, header_in
from collectionstore_node.storage.snapshot_file import SnapshotStream, Source


class StateSummary(NamedTuple):
    """What a state is, by its own records."""

    applied_index: int
    term: int
    chain: str
    revision: int
    time_ms: int
    feature_level: int
    state_digest: str
    records: int
    content_bytes: int


class Watched:
    """The chunks of a stream on their way to a reader, whose header record is kept."""

    def __init__(self, stream: SnapshotStream) -> None:
        self.stream = stream
        self._header = Header()

    @property
    def metadata(self) -> SnapshotMetadata:
        """Position of the snapshot."""
        return self.stream.metadata

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield the chunks. Raises `InvariantViolated`."""
        first = True
        for chunk in self.stream.chunks():
            if first:
                self._header = header_in((chunk[0], chunk[1]))
                first = False
            yield chunk

    def summary(self) -> StateSummary:
        """Return what was read, once it was read to its end."""
        contents, header = self.stream.contents, self._header
        return StateSummary(
            applied_index=contents.metadata.index,
            term=contents.metadata.term,
            chain=contents.metadata.chain.hex(),
            revision=header.revision,
            time_ms=header.time_ms,
            feature_level=header.level,
            state_digest=header.digest.hex(),
            records=contents.records,
            content_bytes=contents.bytes,
        )


class Hashed:
    """A source whose bytes are counted and hashed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = sha256()
        self._size = 0

    def read(self, count: int, /) -> bytes:
        data = self._source.read(count)
        self._hash.update(data)
        self._size += len(data)
        return data

    def check(self, manifest: Manifest) -> None:
        """Raise `Corrupt` unless exactly the stream of `manifest` was read."""
        if self._size != manifest.stream_bytes or self._hash.hexdigest() != manifest.stream_sha256:
            raise Corrupt(f"the parts of {manifest.id} do not make the stream that was written")


def opened(name: str, source: Source) -> SnapshotStream:
    """Return a stream whose header was read. Raises `Corrupt`."""
    try:
        return SnapshotStream(name, source)
    except InvariantViolated as error:
        raise Corrupt(str(error)) from None


def summarize(stream: SnapshotStream) -> StateSummary:
    """Read a stream to its end and return what it is of. Raises `Corrupt`."""
    watched = Watched(stream)
    try:
        for _ in watched.chunks():
            pass
        return watched.summary()
    except InvariantViolated as error:
        raise Corrupt(str(error)) from None


def compare(summary: StateSummary, manifest: Manifest) -> None:
    """Raise `Corrupt` unless a state is the one of `manifest`."""
    for name, value in summary._asdict().items():
        if getattr(manifest, name) != value:
            raise Corrupt(
                f"{manifest.id}: the {name.replace('_', ' ')} of the state is {value}, and "
                f"{getattr(manifest, name)} by the manifest"
            )


def verify_backup(
    repository: Repository, backup_id: str, key: bytes | None, advance: Callable[[int], None]
) -> Manifest:
    """Read a backup to its end; return its manifest. Raises `Corrupt`, `NotFound`, `CredentialsRefused`."""
    manifest, sealer = open_backup(repository, backup_id, key)
    read_all(repository, manifest, sealer, advance)
    return manifest


def read_all(repository: Repository, manifest: Manifest, sealer: Sealer | None, advance: Callable[[int], None]) -> None:
    """Read and verify every part. Raises `Corrupt`."""
    with PartReader(repository, manifest, sealer, advance) as parts:
        hashed = Hashed(parts)
        compare(summarize(opened(manifest.id, hashed)), manifest)
        hashed.check(manifest)
