"""Looking at documents one after another, in steps of bounded work.

What a step costs is estimated, not timed, so that a simulation replays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from collectionstore_node.documents.paths import ID, REVISION, Match
from collectionstore_node.errors import InvalidRequest

STEP_NS: Final = 1_000_000
"""What a step may cost before the next one; one document is looked at in one step, whatever it costs."""
DOCUMENT_NS: Final = 3_000
BYTE_NS: Final = 6
TEST_NS: Final = 500
VISIT_NS: Final = 60
"""What documents cost: each, by byte, by test, and by value that a test may meet; `bench/README.md` has the command."""

FEW_BYTES: Final = 4 << 10
"""Up to this size the values of a document are not counted."""
VISITS_MAX: Final = 1_000_000
"""Tests times values in one document: what cannot be interrupted."""


class Record(NamedTuple):
    """A stored document."""

    id: str
    revision: int
    text: bytes
    """Compact JSON."""
    size: int
    """Stored bytes."""


class Meter:
    """What a query has read so far."""

    __slots__ = ("bytes", "documents")

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0


def matching(
    records: Iterator[Record], match: Match, weight: int, meter: Meter
) -> Iterator[tuple[Record, dict[str, Any]] | None]:
    """Yield the records that match, each with its decoded document, and None at the end of each step.

    The document has its ID and revision in it, as `_id` and `_revision`. `weight` is the cost of looking at one value,
    see `Find`. Raises `InvalidRequest("query_too_costly")` at a document that would hold up everything else.
    """
    fixed = DOCUMENT_NS + TEST_NS * weight
    spent = 0
    for record in records:
        size = len(record.text)
        spent += fixed + BYTE_NS * size
        if size > FEW_BYTES:
            visits = weight * (1 + record.text.count(b","))
            if visits > VISITS_MAX:
                raise InvalidRequest(
                    "query_too_costly",
                    f"a document of {size} bytes has too many values for the {weight} tests of this query; "
                    "make fewer tests, or split the document",
                )
            spent += VISIT_NS * visits
        meter.documents += 1
        meter.bytes += record.size
        document = orjson.loads(record.text)
        document[ID], document[REVISION] = record.id, record.revision
        if match(document):
            yield record, document
        if spent >= STEP_NS:
            spent = 0
            yield None
