"""Looking at documents one after another, in steps.

A step ends by an estimate of what it has cost, about a millisecond; one test of a large document may take longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from collectionstore_node.documents.expressions import Spent
from collectionstore_node.documents.filters import Node, Steps, compile_steps
from collectionstore_node.documents.paths import ID, REVISION, Match
from collectionstore_node.errors import InvalidRequest

STEP_NS: Final = 1_000_000
"""What a step may cost before the next one."""
DOCUMENT_NS: Final = 3_000
BYTE_NS: Final = 6
TEST_NS: Final = 500
VISIT_NS: Final = 60
"""What documents cost: each, by byte, by test, and by value that a test may meet. Estimates, not measured."""
STEPS_NS: Final = 150
"""What a step of an expression costs."""

FEW_BYTES: Final = 4 << 10
"""Up to this size the values of a document are not counted."""
VISITS_MAX: Final = 1_000_000
"""Tests times values between two pauses: every document of 1 MiB can be asked two tests at a time."""


class Record(NamedTuple):
    """A stored document."""

    id: str
    revision: int
    text: bytes
    """Compact JSON; empty for a document that has expired, which is looked at and matches nothing."""
    size: int
    """Stored bytes."""


class Meter:
    """What a query has read so far."""

    __slots__ = ("bytes", "documents", "keys", "last", "plan", "undone")

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0
        self.keys = 0
        """Entries of an index."""
        self.plan: dict[str, Any] | None = None
        """How an index is used, for an explanation; None if none is."""
        self.last = ""
        """The ID of the document that was looked at last, and is counted."""
        self.undone = 0
        """Of a read of the past: the documents that were changed since."""


class Asked(NamedTuple):
    """What documents are asked."""

    match: Match
    node: Node
    """What it was compiled from."""
    weight: int
    """How many tests are made of a document at most."""
    heaviest: int
    """How many of them without a pause."""
    spent: Spent
    """The steps of their expressions."""


def check_values(text: bytes, asked: Asked) -> int:
    """Return about how many values a document has, 0 for a small one.

    Raises `InvalidRequest("query_too_costly")` if asking it would hold up everything else.
    """
    size = len(text)
    if size <= FEW_BYTES:
        return 0
    values = 1 + text.count(b",")
    if values * asked.heaviest > VISITS_MAX:
        raise InvalidRequest(
            "query_too_costly",
            f"a document of {size} bytes has too many values for the {asked.heaviest} tests of one $elemMatch; "
            "make fewer tests, or split the document",
        )
    return values


def matching(records: Iterator[Record], asked: Asked, meter: Meter) -> Iterator[tuple[Record, dict[str, Any]] | None]:
    """Yield the records that match, each with its decoded document, and None at the end of each step.

    The document has its ID and revision in it, as `_id` and `_revision`. Raises `InvalidRequest("query_too_costly")` at
    a document that would hold up everything else.
    """
    match, weight = asked.match, asked.weight
    fixed = DOCUMENT_NS + TEST_NS * weight
    spent = 0
    steps: Steps | None = None
    for record in records:
        size = len(record.text)
        spent += fixed + BYTE_NS * size
        visits = 0
        if not size:
            meter.documents += 1
            meter.bytes += record.size
            meter.last = record.id
            if spent >= STEP_NS:
                spent = 0
                yield None
            continue
        visits = VISIT_NS * check_values(record.text, asked) * weight
        document = orjson.loads(record.text)
        document[ID], document[REVISION] = record.id, record.revision
        if visits <= STEP_NS:
            spent += visits
            matches = match(document)
            spent += STEPS_NS * asked.spent.taken()
        else:
            # Compiled for the first document that needs it: few queries meet one.
            steps = steps or compile_steps(asked.node)
            yield None
            matches = yield from steps(document)
            spent = STEP_NS
        # BEHIND the verdict: a page may end at any pause, and the next one begins behind `last`.
        meter.documents += 1
        meter.bytes += record.size
        meter.last = record.id
        if matches:
            yield record, document
        if spent >= STEP_NS:
            spent = 0
            yield None
