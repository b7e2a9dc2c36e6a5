"""A segment of the archived log: committed entries that follow each other, as one object. Pure.

    magic, length of the header (4 bytes), header (JSON), payload, SHA-256 of all of it

The payload is the entries, each behind its length, compressed and encrypted as a part of a backup is. The header is
authenticated with it. Whether segments continue a state, and each other, is in the entries themselves: every entry has
the hash of the whole history up to it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec
from backports import zstd

from collectionstore_node.backup.errors import Corrupt, CredentialsRefused
from collectionstore_node.backup.parts import LEVEL, decompress
from collectionstore_node.backup.sealing import Encryption, Sealer
from collectionstore_node.raft.messages import Entry, chain_hash, decode_entry, encode

FORMAT: Final = 1
SEGMENT_BYTES: Final = 8 << 20
"""Of entries, at which a segment is stored before its time."""
SEGMENT_BYTES_MAX: Final = 128 << 20
"""What a reader accepts: a segment has SEGMENT_BYTES and one answer of a member."""
ROOT: Final = "log/"
_NAME: Final = re.compile(r"([0-9]{20})-([0-9]{20})\.segment")
_MAGIC: Final = b"CSLOG\r\n"
_LENGTH: Final = struct.Struct(">I")
_HASH_BYTES: Final = 32
_HEADER_BYTES_MAX: Final = 64 << 10

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The header of a segment."""

    format: Literal[1] = FORMAT
    cluster_id: str
    first: _Count
    last: _Count
    read_ms: _Count
    """When the archiver had read the last entry, in milliseconds since 1970 UTC: all of them were committed by then."""
    bytes: _Count
    """Of the entries, before compression."""
    encryption: Encryption | None


def folder(cluster_id: str) -> str:
    """Return the prefix of the segments of a cluster."""
    return f"{ROOT}{cluster_id}/"


def segment_name(first: int, last: int) -> str:
    """Return the name of a segment, below its folder: sorts by index."""
    return f"{first:020}-{last:020}.segment"


def parse_name(name: str) -> tuple[int, int] | None:
    """Return first and last index from the name of an object, None if it is no segment."""
    found = _NAME.fullmatch(name.rpartition("/")[2])
    return (int(found[1]), int(found[2])) if found else None


def encode_segment(cluster_id: str, entries: Sequence[Entry], read_ms: int, sealer: Sealer | None) -> bytes:
    """Return the object of some entries, at least one, that follow each other."""
    content = b"".join(_LENGTH.pack(len(data)) + data for data in map(encode, entries))
    header = msgspec.json.encode(
        Segment(
            cluster_id=cluster_id,
            first=entries[0].index,
            last=entries[-1].index,
            read_ms=read_ms,
            bytes=len(content),
            encryption=None if sealer is None else sealer.description,
        )
    )
    payload = zstd.compress(content, LEVEL)
    if sealer is not None:
        # The first index is the nonce: within the run that drew the salt, no two segments begin at the same one.
        payload = sealer.seal(entries[0].index, sha256(header).hexdigest(), payload)
    data = _MAGIC + _LENGTH.pack(len(header)) + header + payload
    return data + sha256(data).digest()


def decode_segment(name: str, data: bytes, key: bytes | None) -> tuple[Segment, list[Entry]]:
    """Return a segment and its entries. Raises `Corrupt`, and `CredentialsRefused` for a key that is not the one."""
    body, hashed = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
    if not body.startswith(_MAGIC) or sha256(body).digest() != hashed:
        raise Corrupt(f"{name} is not what was written")
    at = len(_MAGIC) + _LENGTH.size
    if len(body) < at:
        raise Corrupt(f"{name} ends before its header")
    size: int = _LENGTH.unpack(body[len(_MAGIC) : at])[0]
    if size > _HEADER_BYTES_MAX:
        raise Corrupt(f"{name} has a header of {size} bytes; at most {_HEADER_BYTES_MAX} are read")
    header = body[at : at + size]
    try:
        segment = msgspec.json.decode(header, type=Segment)
    except msgspec.DecodeError as error:
        raise Corrupt(f"{name} cannot be read: {error}") from None
    payload = _opened(name, segment, header, body[at + size :], key)
    if segment.bytes > SEGMENT_BYTES_MAX:
        raise Corrupt(f"{name} has {segment.bytes} bytes of entries")
    entries = list(split_entries(name, decompress(payload, segment.bytes, name)))
    if not entries or (entries[0].index, entries[-1].index) != (segment.first, segment.last):
        raise Corrupt(f"{name} does not hold the entries {segment.first} to {segment.last}")
    return segment, entries


def split_entries(name: str, content: bytes) -> Iterator[Entry]:
    """Yield entries that stand one behind the other, each behind its length. Raises `Corrupt`."""
    at = 0
    while at < len(content):
        end = at + _LENGTH.size
        size = _LENGTH.unpack(content[at:end])[0] if end <= len(content) else len(content)
        if end + size > len(content):
            raise Corrupt(f"{name} ends in the middle of an entry")
        try:
            yield decode_entry(content[end : end + size])
        except msgspec.DecodeError as error:
            raise Corrupt(f"{name} holds an entry that cannot be read: {error}") from None
        at = end + size


def check_continues(name: str, index: int, chain: bytes, entries: Sequence[Entry]) -> bytes:
    """Return the hash of the history behind `entries`. Raises `Corrupt` unless they continue that of `index`."""
    for entry in entries:
        chain = chain_hash(chain, entry.index, entry.term, entry.kind, entry.data)
        if entry.index != index + 1 or chain != entry.chain:
            raise Corrupt(f"{name}: entry {entry.index} does not continue the history up to {index}")
        index += 1
    return chain


def _opened(name: str, segment: Segment, header: bytes, payload: bytes, key: bytes | None) -> bytes:
    if segment.encryption is None:
        if key is not None:
            raise CredentialsRefused(f"{name} is not encrypted, although a key is given")
        return payload
    if key is None:
        raise CredentialsRefused(f"{name} is encrypted: give the key with --key-file")
    sealer = Sealer.of(segment.encryption, key)
    return sealer.open(segment.first, sha256(header).hexdigest(), payload)
