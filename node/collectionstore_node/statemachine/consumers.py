"""Named consumers of changes: what each asks for, and how far its client has acknowledged. From level `CHANGES` on.

A consumer does not keep the history: one that is behind what is kept is told so when it goes on. There are few of them,
so all are read to count them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import AckConsumer, Code, DeleteConsumer, Outcome, PutConsumer
from collectionstore_node.statemachine.costs import READ_COST_BYTES
from collectionstore_node.statemachine.header import Header
from collectionstore_node.statemachine.keys import CONSUMERS, last_text, prefix_end
from collectionstore_node.statemachine.view import Overlay, View

CONSUMERS_MAX: Final = 64
REQUEST_BYTES_MAX: Final = 16 << 10
"""What a consumer asks for, as JSON."""
PASSED_MAX: Final = 0xFFFF_FFFF
"""All changes of a command; see `changes.tokens`."""

ConsumerAction: TypeAlias = PutConsumer | AckConsumer | DeleteConsumer


class Consumer(msgspec.Struct, frozen=True, array_like=True):
    """The record of a consumer, stored under its name. Add fields at the end, with a default."""

    kind: str
    """`collection`, `bucket` or `store`."""
    scope: str
    """Name of the collection or bucket; empty for the store."""
    request: bytes
    """What else it asks for: a JSON object."""
    revision: int
    """Its position: what is before this revision is acknowledged, and the first `passed` changes of it."""
    passed: int
    created_revision: int
    acked_ms: int
    """Replicated time of the last acknowledgement, or of its creation."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Consumer)


def find_consumer(view: View, name: str) -> Consumer | None:
    """Return the consumer called `name`, or None."""
    data = view.get(_key(name))
    return None if data is None else decode_own(_decoder, data, "a consumer")


def scan_consumers(view: View) -> Iterator[tuple[str, Consumer]]:
    """Yield all consumers with their names, in order of name."""
    for key, data in view.scan(CONSUMERS, prefix_end(CONSUMERS)):
        yield last_text(key, CONSUMERS), decode_own(_decoder, data, "a consumer")


def apply_consumer(overlay: Overlay, action: ConsumerAction, header: Header) -> Outcome:
    """Apply a command about a consumer."""
    revision = header.revision
    if isinstance(action, PutConsumer):
        return _put(overlay, action, header)
    known = find_consumer(overlay, action.name)
    if known is None:
        return Outcome(Code.CONSUMER_NOT_FOUND, revision)
    if isinstance(action, DeleteConsumer):
        overlay.delete(_key(action.name))
        return Outcome(Code.OK, revision, current_revision=known.created_revision)
    if action.revision > revision:
        return Outcome(Code.CONSUMER_POSITION, revision)
    # It never goes back: an acknowledgement that was overtaken changes nothing.
    if (action.revision, action.passed) > (known.revision, known.passed):
        moved = msgspec.structs.replace(known, revision=action.revision, passed=action.passed, acked_ms=header.time_ms)
        overlay.put(_key(action.name), _encoder.encode(moved))
    return Outcome(Code.OK, revision, current_revision=max(known.revision, action.revision))


def _put(overlay: Overlay, put: PutConsumer, header: Header) -> Outcome:
    revision = header.revision
    known = find_consumer(overlay, put.name)
    if known is not None:
        if (known.kind, known.scope, known.request) == (put.kind, put.scope, put.request):
            return Outcome(Code.OK, revision, current_revision=known.created_revision)
        return Outcome(Code.CONSUMER_EXISTS, revision, current_revision=known.created_revision)
    if put.revision is not None and put.revision > revision:
        return Outcome(Code.CONSUMER_POSITION, revision)
    if _count(overlay) >= CONSUMERS_MAX:
        return Outcome(Code.TOO_MANY_CONSUMERS, revision)
    # Without a position it begins behind this very command.
    at, passed = (revision, PASSED_MAX) if put.revision is None else (put.revision, put.passed)
    made = Consumer(put.kind, put.scope, put.request, at, passed, revision, header.time_ms)
    overlay.put(_key(put.name), _encoder.encode(made))
    return Outcome(Code.OK, revision, created=True)


def _count(overlay: Overlay) -> int:
    """Return how many consumers there are. What is read for that is counted: they may have a megabyte together."""
    records = [record for _, record in overlay.scan(CONSUMERS, prefix_end(CONSUMERS))]
    overlay.cost += READ_COST_BYTES * len(records) + sum(map(len, records))
    return len(records)


def _key(name: str) -> bytes:
    return CONSUMERS + name.encode()
