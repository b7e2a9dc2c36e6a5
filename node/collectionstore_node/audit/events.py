"""`Event`: what is recorded of one request, and its form in a record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson

TEXT_MAX: Final = 512
"""Characters of a text that a client chooses, such as the ID of a document; what is longer is cut."""
CONTENT_MAX: Final = 4_096
"""Characters of content; what is longer is cut."""
TEXT_BYTES: Final = 4
"""What a character of a text may take in memory."""
TOUCHED_MAX: Final = 17
"""Names of collections and buckets in a record."""
NAME_BYTES: Final = 128
"""What one of them takes."""
OVERHEAD_BYTES: Final = 768
"""What a record takes besides the texts of its client, at most about."""


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One request, or one operation of a stream. Empty texts and None are left out of records."""

    at_ms: int
    """When it ended, in milliseconds since 1970 UTC."""
    user: str = ""
    """Empty without access control."""
    method: str = ""
    """How the user was authenticated, see `access.callers.Method`."""
    credential: str = ""
    """Public ID of the credential."""
    address: str = ""
    verb: str
    """What was done, see `access.verbs.Verb`."""
    operation: str
    """Method and pattern of the route, or `stream` and the kind of the operation."""
    kind: str
    """Kind of the resource, see `access.verbs.Kind`."""
    resource: str = ""
    """The collection or bucket; empty for the cluster."""
    id: str = ""
    """ID of the document, or the key, where the request names one."""
    touched: tuple[str, ...] = ()
    """Of a transaction: the collections and buckets that it names, as `collection:NAME` and `bucket:NAME`."""
    outcome: str
    """`ok`, or of a refused request `not_applied`, `applied` or `unknown`, as its problem says."""
    status: int
    code: str = ""
    """The code of the problem."""
    revision: int = 0
    """That the answer names; of a write, its own."""
    latency_us: int = 0
    request_id: str = ""
    trace_id: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0
    content: str = ""
    """The body of the request, only where a rule asks for it."""


class Dropped(msgspec.Struct, frozen=True):
    """Records that a sink has lost, because its queue was full while it failed."""

    at_ms: int
    count: int


Entry = Event | Dropped

_NAMES: Final = Event.__struct_fields__[1:]


def fields_of(entry: Entry) -> dict[str, Any]:
    """Return what is recorded of an entry."""
    if isinstance(entry, Dropped):
        return {"type": "dropped", "time": shown_time(entry.at_ms), "count": entry.count}
    fields: dict[str, Any] = {"type": "request", "time": shown_time(entry.at_ms)}
    for name in _NAMES:
        value = getattr(entry, name)
        if value:
            fields[name] = value
    return fields


def size_of(entry: Entry) -> int:
    """Return how many bytes of memory an entry takes, about."""
    if isinstance(entry, Dropped):
        return OVERHEAD_BYTES
    texts = len(entry.content) + len(entry.id) + len(entry.user) + len(entry.resource)
    return OVERHEAD_BYTES + TEXT_BYTES * texts + NAME_BYTES * len(entry.touched)


def shown_time(at_ms: int) -> str:
    """Return a time as RFC 3339 shows it, in UTC with milliseconds."""
    # Of the milliseconds apart: as a number with a fraction a time would be rounded.
    seconds, milliseconds = divmod(at_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def cut(text: str, most: int = TEXT_MAX) -> str:
    """Return a text that fits into a record: of at most `most` characters, and encodable as UTF-8."""
    if len(text) > most:
        text = text[:most] + "…"
    return text if text.isascii() else text.encode(errors="replace").decode()


def canonical(fields: dict[str, Any]) -> bytes:
    """Return fields as canonical JSON: members in the order of their names, no white space, UTF-8, no fractions."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
