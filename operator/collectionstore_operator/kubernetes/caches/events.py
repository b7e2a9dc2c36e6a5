"""The response of a watch as events: one JSON object a line. Pure.

Source: Kubernetes docs, "Kubernetes API Concepts", efficient detection of changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_operator.kubernetes.api.api_errors import ApiError, Unavailable, error_of
from collectionstore_operator.kubernetes.api.kinds import Body

LINE_BYTES_MAX: Final = 8 << 20
"""More than etcd stores of an object, 1.5 MB, in its longest form."""


class Event(msgspec.Struct, frozen=True):
    """`kind` is ADDED, MODIFIED, DELETED or BOOKMARK; of a bookmark only the resourceVersion means anything."""

    kind: str = msgspec.field(name="type")
    body: Body = msgspec.field(name="object")


class Lines:
    """Cuts the chunks of a response into events."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that a chunk completes. Raises ApiError for an error, Expired among them."""
        self._rest += chunk
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            if line.strip():
                yield _event(line)
        if len(self._rest) > LINE_BYTES_MAX:
            raise Unavailable(f"an event of the watch is longer than {LINE_BYTES_MAX} bytes")


def _event(line: bytes) -> Event:
    try:
        event = msgspec.json.decode(line, type=Event)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the watch sent something else than an event: {error}") from error
    if event.kind == "ERROR":
        raise _failure(event.body)
    return event


def _failure(status: Body) -> ApiError:
    code = status.get("code")
    return error_of(code if isinstance(code, int) else 500, status, "WATCH")
