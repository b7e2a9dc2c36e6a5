"""Which documents go on, and in which order: `$match`, `$sort`, `$limit`, `$skip`."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import Final

import msgspec
import orjson

from collectionstore_node.documents.expressions import ExpressionParser, Spent
from collectionstore_node.documents.filters import Node, compile_filter, parse_filter
from collectionstore_node.documents.filters.tree import leaves
from collectionstore_node.documents.paths import Match
from collectionstore_node.documents.values import Value, inverted
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.query.aggregation.mistakes import invalid, whole
from collectionstore_node.query.aggregation.stage import Surroundings
from collectionstore_node.query.aggregation.work import KEPT_BYTES, STAGE_NS, Item, Items, Work
from collectionstore_node.query.scanning import STEPS_NS, TEST_NS, VISIT_NS, VISITS_MAX
from collectionstore_node.query.sorting import Order, key_of, parse_sort

COUNT_MAX: Final = 1_000_000
"""Of `$limit` and `$skip`."""
_VALUE_BYTES: Final = 8
"""What each value weighs at least."""
_KEY_NS: Final = 3_000
_ORDERED_NS: Final = 3_000


class MatchStage(msgspec.Struct, frozen=True):
    """`$match`: the documents that match."""

    node: Node
    match: Match
    weight: int
    spent: Spent
    name: str = "$match"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield the documents that match."""
        work, match, weight = around.work, self.match, self.weight
        fixed = STAGE_NS + TEST_NS * weight
        for item in items:
            if item is None:
                yield None
                continue
            visits = item.size // _VALUE_BYTES * weight
            if visits > VISITS_MAX:
                raise InvalidRequest(
                    "query_too_costly",
                    f"a document has too many values for a $match of {weight} tests here; put it first, or $unwind",
                )
            work.spent += fixed + VISIT_NS * visits
            matches = match(item.document)
            work.spent += STEPS_NS * self.spent.taken()
            if matches:
                yield item
            if work.due:
                yield None


class Limit(msgspec.Struct, frozen=True):
    """`$limit`: the first documents."""

    count: int
    name: str = "$limit"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield the first documents, and take no more."""
        left = self.count
        for item in items:
            yield item
            if item is not None:
                left -= 1
                if left == 0:
                    return


class Skip(msgspec.Struct, frozen=True):
    """`$skip`: all but the first documents."""

    count: int
    name: str = "$skip"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield the documents behind the first."""
        left = self.count
        for item in items:
            if item is None or left == 0:
                yield item
            else:
                left -= 1


class Sort(msgspec.Struct, frozen=True):
    """`$sort`: all documents in order, equals as they came; only the first `count` if that is given."""

    order: Order
    count: int | None = None
    name: str = "$sort"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield the documents in order."""
        work, key, most = around.work, key_of(self.order), self.count
        # The last of those that are kept is on top: the keys are inverted.
        heap: list[tuple[bytes, int, bytes, int, int]] = []
        for at, item in enumerate(items):
            if item is None:
                yield None
                continue
            rank = inverted(key(item.document))
            work.spent += _KEY_NS
            if most is None or len(heap) < most:
                heappush(heap, self._entry(rank, at, item, work))
            elif (rank, -at) > heap[0][:2]:
                work.free(heap[0][3])
                heapreplace(heap, self._entry(rank, at, item, work))
            if work.due:
                yield None
        kept: list[tuple[bytes, int, int]] = []
        while heap:
            _, _, text, taken, size = heappop(heap)
            kept.append((text, taken, size))
            work.spent += _ORDERED_NS
            if work.due:
                yield None
        while kept:
            text, taken, size = kept.pop()
            yield Item(orjson.loads(text), size)
            work.free(taken)
            work.spent += STAGE_NS + len(text)
            if work.due:
                yield None

    def _entry(self, rank: bytes, at: int, item: Item, work: Work) -> tuple[bytes, int, bytes, int, int]:
        text, size = work.packed(item.document)
        taken = size + KEPT_BYTES + len(rank)
        work.keep(taken)
        return rank, -at, text, taken, item.size


def parse_match(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> MatchStage:
    """Return a `$match`. Raises `InvalidPart`."""
    node = parse_filter(given, pointer, expressions)
    spent = Spent()
    return MatchStage(node, compile_filter(node, spent), leaves(node), spent)


def parse_sort_stage(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Sort:
    """Return a `$sort`. Raises `InvalidPart`."""
    order = parse_sort(given, pointer)
    if not order:
        raise invalid(pointer, "$sort names at least one field")
    return Sort(order)


def parse_limit(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Limit:
    """Return a `$limit`. Raises `InvalidPart`."""
    return Limit(whole(given, pointer, 1, COUNT_MAX))


def parse_skip(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Skip:
    """Return a `$skip`. Raises `InvalidPart`."""
    return Skip(whole(given, pointer, 0, COUNT_MAX))
