"""Number and hash of exported lines: the trailer that an export ends with, and an import checks."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import orjson

from collectionstore_node.errors import InvalidRequest

_BEGINNING = b'{"_trailer":'


class Trailer(msgspec.Struct, frozen=True):
    """The last line of an export, `{"_trailer": {...}}`: what it says of the lines before it."""

    count: int
    """Documents."""
    sha256: str
    """Of the lines, each with a line feed at its end; in hexadecimal."""
    revision: int = 0
    """Of the state that was exported."""


class _Line(msgspec.Struct, frozen=True):
    trailer: Trailer = msgspec.field(name="_trailer")


class Tally:
    """Counts lines and hashes them."""

    __slots__ = ("_hash", "count")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, lines: bytes, count: int = 1) -> None:
        """Count lines, each with its end."""
        self._hash.update(lines)
        self.count += count

    @property
    def sha256(self) -> str:
        """The hash so far, in hexadecimal."""
        return self._hash.hexdigest()

    def trailer(self, revision: int) -> bytes:
        """Return the line that ends an export of a state."""
        return b'{"_trailer":%s}\n' % orjson.dumps({"count": self.count, "sha256": self.sha256, "revision": revision})

    def digest_line(self) -> bytes:
        """Return the header line with the hash (RFC 9530), for what has no place for a trailer of its own."""
        return b"Content-Digest: sha-256=:%b:\r\n" % base64.b64encode(self._hash.digest())

    def check(self, trailer: Trailer) -> None:
        """Compare what was counted with a trailer. Raises `InvalidRequest("trailer_mismatch")`."""
        if trailer.count != self.count:
            raise InvalidRequest(
                "trailer_mismatch", f"the trailer counts {trailer.count} documents, and {self.count} came before it"
            )
        if trailer.sha256.lower() != self.sha256:
            raise InvalidRequest("trailer_mismatch", "the lines before the trailer are not those that were exported")


def parse_trailer(line: bytes) -> Trailer | None:
    """Return the trailer that a line of compact JSON is, None for a document. Raises `InvalidRequest`."""
    if not line.startswith(_BEGINNING):
        return None
    try:
        return msgspec.json.decode(line, type=_Line).trailer
    except msgspec.ValidationError:
        raise InvalidRequest(
            "invalid_body", 'a trailer is {"_trailer": {"count": number, "sha256": text, "revision": number}}'
        ) from None
