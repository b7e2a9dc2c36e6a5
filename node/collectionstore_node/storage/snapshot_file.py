"""The format of a snapshot file. Knows no RocksDB.

Header: magic, length (4 bytes), msgpack header, SHA-256 of all of it. Then chunks: length, msgpack list of key, value,
key, value, ..., SHA-256 of the list. Then a length of 0 and the msgpack footer with its length, followed by the
SHA-256 of every byte before. Numbers are big-endian. Keys are not empty and ascend through the whole file.

A reader verifies the hash of each part BEFORE decoding it, and the last hash before it uses anything.
"""

from __future__ import annotations

import errno
import hashlib
import struct
from collections.abc import Iterable, Iterator
from operator import lt
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import SnapshotMetadata
from collectionstore_node.sealed_files import OpenFile, open_plain
from collectionstore_node.statemachine.levels import FIRST
from collectionstore_node.storage.formats import FORMAT, NEWEST, format_of, level_of

_MAGIC: Final = b"CSSNAP\r\n"
_LENGTH = struct.Struct(">I")
_HASH_BYTES: Final = 32
_HEADER_BYTES_MAX: Final = 1 << 20
_CHUNK_BYTES_MAX: Final = 1 << 30


class Source(Protocol):
    """Where a snapshot is read from: a file, or a connection."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes; fewer only at the end."""


class SnapshotFile(NamedTuple):
    """A finished snapshot file. `sha256` covers every byte of it, in hexadecimal."""

    path: Path
    metadata: SnapshotMetadata
    size_bytes: int
    sha256: str


class SnapshotContents(NamedTuple):
    """Contents of a verified file."""

    metadata: SnapshotMetadata
    records: int
    bytes: int
    """Of keys and values."""
    level: int
    """Feature level of the state."""


class _Header(msgspec.Struct, frozen=True, array_like=True):
    format: int
    metadata: SnapshotMetadata


class _Footer(msgspec.Struct, frozen=True, array_like=True):
    chunks: int
    records: int
    bytes: int


_T = TypeVar("_T")

_encode = msgspec.msgpack.encode
_header_decoder = msgspec.msgpack.Decoder(_Header)
_footer_decoder = msgspec.msgpack.Decoder(_Footer)
_chunk_decoder = msgspec.msgpack.Decoder(list[bytes])


def encode_snapshot(
    metadata: SnapshotMetadata, records: Iterable[tuple[bytes, bytes]], chunk_bytes: int, level: int = FIRST
) -> Iterator[bytes]:
    """Yield the bytes of a snapshot of `records`, which must ascend by key, of a feature level: a chunk at a time."""
    whole = hashlib.sha256()
    chunks = count = size = 0

    def counted(*parts: bytes) -> bytes:
        data = b"".join(parts)
        whole.update(data)
        return data

    header = _encode(_Header(format_of(level), metadata))
    head = _MAGIC + _LENGTH.pack(len(header)) + header
    yield counted(head, hashlib.sha256(head).digest())
    for chunk in _chunks(records, chunk_bytes):
        body = _encode(chunk)
        chunks, count, size = chunks + 1, count + len(chunk) // 2, size + sum(map(len, chunk))
        yield counted(_LENGTH.pack(len(body)), body, hashlib.sha256(body).digest())
    footer = _encode(_Footer(chunks, count, size))
    last = counted(_LENGTH.pack(0), _LENGTH.pack(len(footer)), footer)
    yield last + whole.digest()


def write_snapshot(
    path: Path,
    metadata: SnapshotMetadata,
    records: Iterable[tuple[bytes, bytes]],
    chunk_bytes: int,
    level: int = FIRST,
    open_file: OpenFile = open_plain,
) -> SnapshotFile:
    """Write a snapshot of `records`, as `encode_snapshot`, to a file. Not synced. Raises `OSError`."""
    whole = hashlib.sha256()
    with open_file(path, "wb") as file:
        for data in encode_snapshot(metadata, records, chunk_bytes, level):
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "could not be written in full; is the disk full?", str(path))
            whole.update(data)
        return SnapshotFile(path, metadata, file.tell(), whole.hexdigest())


def read_metadata(path: Path) -> SnapshotMetadata:
    """Return the position of the snapshot, from its header. Raises `InvariantViolated` if the header is corrupt."""
    with path.open("rb") as file:
        return _Reader(path, file).header().metadata


def verify_snapshot(path: Path, open_file: OpenFile = open_plain) -> SnapshotContents:
    """Read and verify the whole file. Raises `InvariantViolated` if any part is corrupt."""
    with open_file(path, "rb") as file:
        stream = SnapshotStream(path, file)
        for _ in stream.chunks():
            pass
        return stream.contents


class SnapshotStream:
    """A snapshot that is verified as it is read, once, from a file or a connection; `name` is for messages.

    Every method raises `InvariantViolated` if what it read is corrupt, or ends early.
    """

    def __init__(self, name: object, source: Source) -> None:
        """Read the header."""
        self._reader = _Reader(name, source)
        header = self._reader.header()
        self.metadata = header.metadata
        self.level = level_of(header.format) or FIRST
        self._contents: SnapshotContents | None = None

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield the chunks, each a list of key, value, key, value, and so on.

        Nothing of them may be used before the last one is followed by the end: it verifies the whole.
        """
        reader = self._reader
        chunks = records = size = 0
        last = b""
        for chunk in reader.chunks():
            keys = chunk[::2]
            if len(chunk) % 2 or keys[0] <= last or not all(map(lt, keys, keys[1:])):
                raise reader.corrupt(f"the records of chunk {chunks} are out of order")
            chunks, records, size, last = chunks + 1, records + len(keys), size + sum(map(len, chunk)), keys[-1]
            yield chunk
        if reader.footer() != _Footer(chunks, records, size):
            raise reader.corrupt("its counts do not match its contents")
        self._contents = SnapshotContents(self.metadata, records, size, self.level)

    @property
    def contents(self) -> SnapshotContents:
        """What was read and verified to its end. Raises `InvariantViolated` before that."""
        if self._contents is None:
            raise self._reader.corrupt("it was not read to its end")
        return self._contents


class _Reader:
    """Reads the parts of a file in order; everything that it returns has been verified."""

    def __init__(self, name: object, source: Source) -> None:
        self._name = name
        self._source = source
        self._whole = hashlib.sha256()

    def header(self) -> _Header:
        head = self._take(len(_MAGIC) + _LENGTH.size)
        if not head.startswith(_MAGIC):
            raise self.corrupt("it is not a snapshot file")
        body = self._take(self._bounded(head[len(_MAGIC) :], _HEADER_BYTES_MAX))
        if self._take(_HASH_BYTES) != hashlib.sha256(head + body).digest():
            raise self.corrupt("its header does not match its hash")
        # The format BEFORE the other fields: another format may have other ones.
        found = next(iter(msgspec.msgpack.decode(body, type=list[object])), None)
        if level_of(found) is None:
            raise self.corrupt(f"its format is {found}; this version reads {FORMAT} to {NEWEST}")
        return self._decode(_header_decoder, body)

    def chunks(self) -> Iterator[list[bytes]]:
        number = 0
        while length := self._bounded(self._take(_LENGTH.size), _CHUNK_BYTES_MAX):
            body = self._take(length)
            if self._take(_HASH_BYTES) != hashlib.sha256(body).digest():
                raise self.corrupt(f"chunk {number} does not match its hash")
            chunk = self._decode(_chunk_decoder, body)
            if not chunk:
                raise self.corrupt(f"chunk {number} is empty")
            yield chunk
            number += 1

    def footer(self) -> _Footer:
        body = self._take(self._bounded(self._take(_LENGTH.size), _HEADER_BYTES_MAX))
        # BEFORE the last hash is read, which does not cover itself. No byte may follow it.
        expected = self._whole.digest()
        if self._take(_HASH_BYTES) != expected or self._source.read(1):
            raise self.corrupt("it does not match its hash")
        return self._decode(_footer_decoder, body)

    def corrupt(self, what: str) -> InvariantViolated:
        return InvariantViolated(f"snapshot {self._name} is corrupt: {what}")

    def _take(self, count: int) -> bytes:
        data = self._source.read(count)
        if len(data) != count:
            raise self.corrupt("it ends early")
        self._whole.update(data)
        return data

    def _bounded(self, data: bytes, bound: int) -> int:
        length: int = _LENGTH.unpack(data)[0]
        # BEFORE memory is allocated for it: no hash has covered the length yet.
        if length > bound:
            raise self.corrupt(f"a part of {length} bytes")
        return length

    def _decode(self, decoder: msgspec.msgpack.Decoder[_T], body: bytes) -> _T:
        try:
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            raise self.corrupt(str(error)) from error


def _chunks(records: Iterable[tuple[bytes, bytes]], chunk_bytes: int) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for record in records:
        chunk += record
        size += len(record[0]) + len(record[1])
        if size >= chunk_bytes:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
