"""What a watch tells: events, and how they are written for each transport."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson


class Event(NamedTuple):
    """One event; `token` is that of the place behind it."""

    kind: str
    token: str
    """Empty for initial documents, and for `gone`: there is no place to go on from."""
    text: bytes
    """A JSON object on one line."""


class Form(enum.Enum):
    """How events are written one behind the other."""

    LINES = "lines"
    """One JSON object a line (NDJSON)."""
    SSE = "sse"
    """Server-sent events (WHATWG HTML 9.2): the id is the token."""
    ITEMS = "items"
    """JSON objects with commas between them."""


READY: Final = "ready"
PROGRESS: Final = "progress"
GONE: Final = "gone"
SLOW: Final = "slow"
INVALIDATE: Final = "invalidate"
MOVED: Final = "moved"
FAILED: Final = "failed"
ENDS: Final = frozenset((GONE, SLOW, INVALIDATE, MOVED, FAILED))
"""The events behind which a watch has none."""


def event(kind: str, token: str, **members: Any) -> Event:
    """Return an event that is no change and no document."""
    placed = {"event": kind, "token": token} if token else {"event": kind}
    return Event(kind, token, orjson.dumps(placed | members))


def write(events: Sequence[Event], form: Form) -> bytes:
    """Return the bytes of events."""
    match form:
        case Form.LINES:
            return b"".join([one.text + b"\n" for one in events])
        case Form.ITEMS:
            return b",".join([one.text for one in events])
        case Form.SSE:
            # JSON has no line break outside of strings, and escapes it there: a text is one line of data. A browser
            # that connects again sends the last id: what has no token must not become one.
            return b"".join(
                [
                    b"event: %s\n%sdata: %s\n\n"
                    % (one.kind.encode(), b"id: %s\n" % one.token.encode() if one.token else b"", one.text)
                    for one in events
                ]
            )
