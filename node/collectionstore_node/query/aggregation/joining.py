"""Documents of other collections: `$lookup` and `$unionWith`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.documents.expressions.compiling import value_at
from collectionstore_node.documents.expressions.scope import VALUE_BYTES_MAX, too_large
from collectionstore_node.documents.filters.tree import Field, In
from collectionstore_node.documents.paths import Path, matcher, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.query.aggregation.accumulators import checked_key
from collectionstore_node.query.aggregation.mistakes import invalid, options
from collectionstore_node.query.aggregation.stage import Stage, Surroundings
from collectionstore_node.query.aggregation.unwinding import replaced
from collectionstore_node.query.aggregation.work import KEPT_BYTES, STAGE_NS, Item, Items, Work
from collectionstore_node.query.find import Find, find_where

BATCH_DOCUMENTS: Final = 500
BATCH_VALUES: Final = 1_000
BATCH_BYTES: Final = 4 << 20
"""Documents that are joined with one pass over the other collection; so many values of them, and so many bytes."""
VALUES_MAX: Final = 10_000
"""Values of one document that are looked up."""
_KEY_NS: Final = 800


class _Waiting:
    """A document whose partners are looked up."""

    __slots__ = ("partners", "size", "taken", "text")

    def __init__(self, text: bytes, size: int, taken: int) -> None:
        self.text = text
        self.size = size
        self.taken = taken
        self.partners: list[int] = []
        """Which of the partners are its own, in the order of their IDs."""


class _Batch:
    """Documents that wait, and what they look for."""

    __slots__ = ("bytes", "documents", "wanted")

    def __init__(self) -> None:
        self.documents: list[_Waiting] = []
        self.wanted: dict[bytes, tuple[Value, list[_Waiting]]] = {}
        """By the key of a value: the value, and who looks for it."""
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether it is time to look them up."""
        return len(self.documents) >= BATCH_DOCUMENTS or len(self.wanted) >= BATCH_VALUES or self.bytes >= BATCH_BYTES


class Lookup(msgspec.Struct, frozen=True):
    """Each document with an array of those documents of another collection that have an equal value."""

    join: int
    """The place of the other collection among those that the pipeline reads."""
    local: Path
    foreign: Path
    target: Path
    name: str = "$lookup"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield each document with its partners."""
        work = around.work
        batch = _Batch()
        for item in items:
            if item is None:
                yield None
                continue
            self._wait(batch, item, work)
            if batch.full:
                yield from self._joined(batch, around)
                batch = _Batch()
            if work.due:
                yield None
        if batch.documents:
            yield from self._joined(batch, around)

    def _wait(self, batch: _Batch, item: Item, work: Work) -> None:
        text, size = work.packed(item.document)
        taken = size + KEPT_BYTES
        work.keep(taken)
        waiting = _Waiting(text, item.size, taken)
        batch.documents.append(waiting)
        batch.bytes += taken
        work.scope.begin(item.document)
        found = value_at(work.scope, item.document, self.local, 0)
        values = found if type(found) is list else [None if found is MISSING else found]
        if len(values) > VALUES_MAX:
            raise InvalidRequest("query_too_costly", f"$lookup meets a document with more than {VALUES_MAX} values")
        for value in values:
            key = checked_key(value, work)
            known = batch.wanted.get(key)
            if known is None:
                batch.wanted[key] = (value, [waiting])
                batch.bytes += len(key) + KEPT_BYTES
            elif known[1][-1] is not waiting:
                known[1].append(waiting)

    def _joined(self, batch: _Batch, around: Surroundings) -> Items:
        work = around.work
        partners: list[bytes] = []
        sizes: list[int] = []
        kept = 0
        find = find_where(Field(self.foreign, In(tuple(value for value, _ in batch.wanted.values()))))
        for item in around.source.documents(self.join, find) if batch.wanted else ():
            if item is None:
                yield None
                continue
            text, size = work.packed(item.document)
            work.keep(size + KEPT_BYTES)
            kept += size + KEPT_BYTES
            at = len(partners)
            for waiting in self._takers(item.document, batch, work):
                waiting.partners.append(at)
                work.keep(8)
                kept += 8
            partners.append(text)
            sizes.append(item.size)
            if work.due:
                yield None
        for waiting in batch.documents:
            # BEFORE they are decoded.
            if waiting.size + sum(sizes[at] for at in waiting.partners) > VALUE_BYTES_MAX:
                raise too_large()
            found = [orjson.loads(partners[at]) for at in waiting.partners]
            yield work.item(replaced(orjson.loads(waiting.text), self.target, found))
            work.free(waiting.taken)
            work.spent += STAGE_NS
            if work.due:
                yield None
        work.free(kept)

    def _takers(self, document: dict[str, Any], batch: _Batch, work: Work) -> Iterator[_Waiting]:
        """Yield those that look for a value which the filter has found in `document`, each once."""
        keys: dict[bytes, None] = {}

        def note(value: Value) -> bool:
            keys[checked_key(value, work)] = None
            work.spent += _KEY_NS
            return False

        matcher(self.foreign, note, elements=True)(document)
        taken: set[int] = set()
        for key in keys:
            for waiting in batch.wanted.get(key, (None, ()))[1]:
                if id(waiting) not in taken:
                    taken.add(id(waiting))
                    yield waiting


class UnionWith(msgspec.Struct, frozen=True):
    """The documents, and behind them those of another collection, as a pipeline of their own makes them."""

    join: int
    find: Find
    stages: tuple[Stage, ...]
    name: str = "$unionWith"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield the documents of both."""
        yield from items
        others = around.source.documents(self.join, self.find)
        for stage in self.stages:
            others = stage.run(others, around)
        yield from others


def parse_lookup(given: Value, pointer: str, join: Callable[[str, str], int]) -> Lookup:
    """Return a `$lookup`; `join` counts the collection that it reads, with its pointer. Raises `InvalidPart`."""
    form = '{"from": collection, "localField": path, "foreignField": path, "as": path}'
    if type(given) is dict and not given.keys().isdisjoint(("pipeline", "let")):
        raise invalid(pointer, f"$lookup joins by equality, without a pipeline: it takes {form}")
    names = ("from", "localField", "foreignField", "as")
    found = options(given, pointer, form, names)
    for one in names:
        if type(found[one]) is not str:
            raise invalid(child(pointer, one), f"the stage takes {form}")
    local, foreign, target = (parse_path(found[one], "invalid_pipeline", child(pointer, one)) for one in names[1:])
    return Lookup(join(found["from"], child(pointer, "from")), local, foreign, target)
