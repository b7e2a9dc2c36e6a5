"""Documents against the quota of their collection: every write passes `admit`, and `count` once it is stored.

A quota refuses what makes a collection larger than it may be, and never what makes it smaller: also one that is over
its quota, because that was lowered, takes deletes and shorter texts. A command is judged as a whole, by what is there
behind all of its writes, so that a transaction may delete one document and store another.

A document that has expired counts until it is removed, by the leader within seconds or by the next command that meets
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from collectionstore_node.statemachine.catalog import Catalog, OpenUsage
from collectionstore_node.statemachine.commands import DocumentRef, Ref, RefusedBy
from collectionstore_node.statemachine.stored import value_start


class Write(Protocol):
    """A write of one document or raw value."""

    @property
    def ref(self) -> Ref: ...

    @property
    def previous(self) -> bytes | None: ...

    @property
    def record(self) -> bytes | None: ...


class Exceeded(NamedTuple):
    """A quota that a command would exceed."""

    position: int
    """Of the last of its writes that adds to the collection."""
    by: RefusedBy
    """The option, and its value."""


class _Added(NamedTuple):
    """What a write adds to its collection."""

    position: int
    usage: OpenUsage
    documents: int
    size_bytes: int


def admit(catalog: Catalog, writes: Sequence[Write]) -> Exceeded | None:
    """Return the quota that `writes` together would exceed, None if they may be stored. Changes nothing."""
    total: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    opened: dict[int, OpenUsage] = {}
    for position, usage, documents, size_bytes in _added(catalog, writes):
        number = usage.collection_id
        opened[number] = usage
        sums = total.setdefault(number, [0, 0])
        sums[0] += documents
        sums[1] += size_bytes
        if documents > 0 or size_bytes > 0:
            last[number] = position
    for number, (documents, size_bytes) in total.items():
        usage = opened[number]
        if usage.record.counting:
            continue
        for name, most, now, more in (
            ("max_documents", usage.max_documents, usage.record.documents, documents),
            ("max_bytes", usage.max_bytes, usage.record.size_bytes, size_bytes),
        ):
            if most and more > 0 and now + more > most:
                return Exceeded(last[number], RefusedBy(name, str(most)))
    return None


def count(catalog: Catalog, writes: Sequence[Write]) -> None:
    """Count writes that are stored."""
    for _, usage, documents, size_bytes in _added(catalog, writes):
        if documents or size_bytes:
            usage.record.documents += documents
            usage.record.size_bytes += size_bytes
            catalog.used(usage)


def text_bytes(record: bytes | None) -> int:
    """Return how many bytes of a record its collection is charged for."""
    return 0 if record is None else len(record) - value_start(record)


def _added(catalog: Catalog, writes: Sequence[Write]) -> Iterator[_Added]:
    metered = catalog.metered
    for position, write in enumerate(writes):
        ref = write.ref
        usage = metered.get(ref.collection) if isinstance(ref, DocumentRef) else None
        if usage is None or not isinstance(ref, DocumentRef) or not usage.record.maintains(ref.id):
            continue
        before, after = write.previous, write.record
        documents = (after is not None) - (before is not None)
        yield _Added(position, usage, documents, text_bytes(after) - text_bytes(before))
