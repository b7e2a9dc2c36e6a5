"""Records as sealed lines, each with the hash of the one before it.

A line is a JSON object: first its fields as canonical JSON, among them `prev`, the hash of the line before it; last
`hash`, the SHA-256 in hexadecimal of that JSON without it. So a line that is changed does not have its hash, and one
that is left out, put elsewhere or added breaks `prev` and `sequence` of what follows. The first line of a file is its
header: it names the chain, the number of the file and the sequence of its first record, and is a link of the chain as
the others are. What a chain cannot show by itself is that its end was cut off: that takes the header of a next file, or
an anchor, which is the sequence and the hash of a record, kept elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, NamedTuple

import msgspec

from collectionstore_node.audit.events import Entry, canonical, fields_of, shown_time

FORMAT: Final = 1
FIRST_HASH: Final = "0" * 64
"""`prev` of the first line of a chain."""
_SEAL: Final = re.compile(rb',"hash":"([0-9a-f]{64})"}\n\Z')


class Position(NamedTuple):
    """Where a chain stands."""

    chain: str
    """Its ID: random, hexadecimal."""
    file: int = 0
    """Number of the last file; 0 before the first."""
    sequence: int = 0
    """That of the last record."""
    hash: str = FIRST_HASH
    """That of the last line."""


class Origin(NamedTuple):
    """Whose records they are."""

    cluster: str
    member: str


def begin_file(position: Position, origin: Origin, at_ms: int, *, torn: bool = False) -> tuple[bytes, Position]:
    """Return the header of the next file, and where the chain stands behind it.

    `torn` says that the file before it ends in a part of a line, which a crash has left.
    """
    fields: dict[str, Any] = {
        "type": "header",
        "format": FORMAT,
        "chain": position.chain,
        "file": position.file + 1,
        "sequence": position.sequence + 1,
        "cluster": origin.cluster,
        "member": origin.member,
        "time": shown_time(at_ms),
    }
    if torn:
        fields["torn"] = True
    line, digest = _sealed(fields, position.hash)
    return line, position._replace(file=position.file + 1, hash=digest)


def append(position: Position, entry: Entry) -> tuple[bytes, Position]:
    """Return the line of the next record, and where the chain stands behind it."""
    fields = fields_of(entry)
    fields["sequence"] = position.sequence + 1
    line, digest = _sealed(fields, position.hash)
    return line, position._replace(sequence=position.sequence + 1, hash=digest)


def _sealed(fields: dict[str, Any], prev: str) -> tuple[bytes, str]:
    fields["prev"] = prev
    text = canonical(fields)
    digest = hashlib.sha256(text).hexdigest()
    return b'%b,"hash":"%b"}\n' % (text[:-1], digest.encode()), digest


class _Sealed(msgspec.Struct):
    """What is read of a line to go on behind it."""

    sequence: int
    type: str = "request"
    chain: str = ""
    file: int = 0


_decoder: Final = msgspec.json.Decoder(_Sealed)


def position_behind(header: bytes, last: bytes) -> Position | None:
    """Return where a chain stands behind the line `last` of a file that begins with `header`.

    None if one of them is no sealed line, so that nothing can be chained to it.
    """
    begins, ends = _opened(header), _opened(last)
    if begins is None or ends is None or begins[0].type != "header":
        return None
    first, (found, digest) = begins[0], ends
    # A header has the sequence of the record that follows it.
    sequence = found.sequence - 1 if found.type == "header" else found.sequence
    return Position(first.chain, first.file, sequence, digest)


def _opened(line: bytes) -> tuple[_Sealed, str] | None:
    seal = _SEAL.search(line)
    if seal is None or hashlib.sha256(line[: seal.start()] + b"}").hexdigest() != seal[1].decode():
        return None
    try:
        return _decoder.decode(line), seal[1].decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
