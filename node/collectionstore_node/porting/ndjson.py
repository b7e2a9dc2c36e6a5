"""A document with its ID as one line of JSON: `{"_id": "ada", "_revision": 7, "name": "Ada"}`, and the other way.

Names that begin with an underscore are reserved at the top of a document, so those of the store's own are never those
of a field. The text of the fields stays as it is, digit by digit.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec
import orjson

from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.errors import InvalidRequest

METADATA: Final = frozenset((ID, REVISION))
"""What an export adds, and an import takes away again."""

_EMPTY: Final = b"{}"
_HEAD: Final = re.compile(rb'\{"_id":("[^"\\]*(?:\\.[^"\\]*)*")(?:,"_revision":[0-9]{1,20})?(?:,|(?=\}\Z))', re.DOTALL)
"""What an exported line begins with, in compact JSON: the quick way."""
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Identified(NamedTuple):
    """A document, and its ID if it was given."""

    id: str | None
    text: bytes
    """Compact JSON."""


def line_of(name: str, revision: int, text: bytes) -> bytes:
    """Return the line, with its end, of a document in compact JSON."""
    head = b'{"_id":%s,"_revision":%d' % (orjson.dumps(name), revision)
    return head + b"}\n" if text == _EMPTY else b"%s,%s\n" % (head, memoryview(text)[1:])


def identified(line: bytes) -> Identified:
    """Return what a line holds: an object in compact JSON, which is valid and names no key twice.

    Raises `InvalidRequest`: `invalid_body` for an ID that is no text, `reserved_field` for other reserved names.
    """
    head = _HEAD.match(line)
    if head is not None:
        text = b"{" + line[head.end() :]
        if not any(name[:1] == "_" for name in _members.decode(text)):
            return Identified(orjson.loads(head[1]), text)
    members = _members.decode(line)
    given = members.pop(ID, None)
    revision = members.pop(REVISION, None)
    for name in members:
        if name[:1] == "_":
            raise InvalidRequest(
                "reserved_field", "top-level names beginning with '_' are reserved, but for _id and _revision"
            )
    if given is None and revision is None:
        return Identified(None, line)
    text = b"{%s}" % b",".join(b"%s:%s" % (orjson.dumps(name), bytes(value)) for name, value in members.items())
    if given is None:
        return Identified(None, text)
    name = orjson.loads(bytes(given))
    if type(name) is not str:
        raise InvalidRequest("invalid_body", "_id is the ID of the document: a text")
    return Identified(name, text)
