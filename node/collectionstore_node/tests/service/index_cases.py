"""Random documents, indexes and queries; and every answer to a query, by a scan and by each index.

By hand, as many as one likes: `python -m collectionstore_node.tests.service.index_cases 100000`.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Generator
from functools import partial
from time import monotonic
from typing import Any, TypeAlias, TypeVar

import orjson

from collectionstore_node.errors import InvalidPart
from collectionstore_node.indexes.definition import Definition, parse_definition
from collectionstore_node.query.find import parse_find
from collectionstore_node.query.planning import plan_of
from collectionstore_node.service.door import Door
from collectionstore_node.service.index_reads import count_keys, indexes_of
from collectionstore_node.service.limits import StoreLimits, check_operation
from collectionstore_node.service.operations import CountDocuments, DistinctValues, FindDocuments
from collectionstore_node.service.queries import Queries, _Run, _use_of
from collectionstore_node.service.results import FindResult, Found
from collectionstore_node.statemachine.commands import CreateCollection
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.statemachine.indexed import create, put, run

T = TypeVar("T")
Item: TypeAlias = tuple[str, int, bytes]

PATHS = ("a", "b", "c", "a.b", "b.a", "a.0", "c.a.b", "_id")
FIELDS = PATHS[:-1]
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, -1, 1.0, -0.0, 0.5, 2.5, 1 << 53, (1 << 53) + 1, "", "a", "A", "ab", "b", "k", "K",
    "\u212a", "s", "ſ", "ß", "ss", "a\0", "é", "x" * 300 + "1", "x" * 300 + "2", "x" * 220,
)  # fmt: skip
PATTERNS = ("^a", "^ab*", "^A", "k", "^s", "^x", "^")


class Cases:
    """Makes cases from a source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def value(self, depth: int = 0) -> Any:
        """Return any value."""
        kind = self.chance.random()
        if depth < 3 and kind < 0.18:
            return [self.value(depth + 1) for _ in range(self.chance.randrange(4))]
        if depth < 3 and kind < 0.36:
            return {name: self.value(depth + 1) for name in "abc" if self.chance.random() < 0.5}
        return self.chance.choice(SCALARS)

    def document(self, *, plain: bool) -> dict[str, Any]:
        """Return a document; a plain one holds no arrays, so that more of what indexes can do is used."""
        names = [name for name in "abc" if self.chance.random() < 0.8]
        self.chance.shuffle(names)
        return {name: self.chance.choice(SCALARS) if plain else self.value() for name in names}

    def index(self, name: str) -> Definition:
        """Return an index."""
        paths = self.chance.sample(FIELDS, self.chance.choice((1, 1, 2, 2, 3)))
        members: dict[str, Any] = {"name": name, "fields": {path: self.chance.choice((1, -1)) for path in paths}}
        if self.chance.random() < 0.3:
            members["sparse"] = True
        if self.chance.random() < 0.3:
            members["fold"] = [self.chance.choice(paths)]
        if self.chance.random() < 0.3:
            members["filter"] = {self.chance.choice(FIELDS): self.partial()}
        return parse_definition(members)

    def partial(self) -> Any:
        """Return a test that a partial index may have."""
        kind = self.chance.randrange(5)
        if kind == 0:
            return {"$exists": True}
        if kind == 1:
            return {"$type": self.chance.choice(("number", "string", "array"))}
        if kind == 2:
            return {"$in": [self.value(2) for _ in range(3)]}
        if kind == 3:
            return {"$eq": self.value(1)}
        return {self.chance.choice(("$gt", "$gte", "$lt", "$lte")): self.chance.choice(SCALARS)}

    def test(self, depth: int = 0) -> Any:
        """Return what a field is asked in a filter."""
        kind = self.chance.randrange(12)
        if kind < 3:
            return {"$eq": self.value(1)}
        if kind < 5:
            return {self.chance.choice(("$gt", "$gte", "$lt", "$lte")): self.value(2)}
        if kind == 5:
            low, high = self.chance.choice(SCALARS), self.chance.choice(SCALARS)
            return {"$gte": low, "$lt": high}
        if kind == 6:
            return {"$in": [self.value(2) for _ in range(self.chance.randrange(4))]}
        if kind == 7:
            return {"$regex": self.chance.choice(PATTERNS), "$options": self.chance.choice(("", "", "i", "s"))}
        if kind == 8 and depth < 2:
            return {"$elemMatch": self.test(depth + 1)}
        if kind == 9 and depth < 2:
            return {"$elemMatch": {name: self.test(depth + 1) for name in self.chance.sample("abc0", 2)}}
        if kind == 10:
            return self.chance.choice(({"$exists": True}, {"$exists": False}, {"$type": "number"}, {"$size": 1}))
        return {"$not": {"$eq": self.value(1)}}

    def filter(self, depth: int = 0) -> dict[str, Any]:
        """Return a filter."""
        if depth < 2 and self.chance.random() < 0.2:
            name = self.chance.choice(("$and", "$or", "$nor"))
            return {name: [self.filter(depth + 1) for _ in range(self.chance.randrange(1, 3))]}
        asked = {path: self.test() for path in self.chance.sample(FIELDS, self.chance.choice((1, 1, 1, 2, 2, 3)))}
        if self.chance.random() < 0.1:
            asked["_id"] = {"$gte": self.chance.choice(("d02", "d05"))}
        return asked

    def query(self, indexes: list[Definition]) -> tuple[dict[str, Any], dict[str, int], Any]:
        """Return filter, order and projection; often about the fields of an index, in its order."""
        asked = self.filter() if self.chance.random() < 0.9 else {}
        order: dict[str, int] = {}
        projection: Any = None
        index = self.chance.choice(indexes)
        paths = {one.path: -1 if one.descending else 1 for one in index.fields}
        if self.chance.random() < 0.5:
            skipped = self.chance.randrange(len(paths))
            order = dict(list(paths.items())[skipped:])
            asked |= {path: {"$eq": self.chance.choice(SCALARS)} for path in list(paths)[:skipped]}
        elif self.chance.random() < 0.2:
            order = {self.chance.choice(PATHS): self.chance.choice((1, -1))}
        if self.chance.random() < 0.5:
            shown = self.chance.sample(list(paths), self.chance.randrange(1, len(paths) + 1))
            apart = [one for one in shown if not any(one != other and one.startswith(f"{other}.") for other in shown)]
            projection = dict.fromkeys(apart, 1)
        if index.filter and self.chance.random() < 0.7:
            asked |= orjson.loads(index.filter)
        return asked, order, projection


class Subject:
    """A collection with documents and indexes, and every way to ask for them."""

    def __init__(self, documents: list[dict[str, Any]], indexes: list[Definition]) -> None:
        self.replica = MemoryReplica()
        self.names = [one.name for one in indexes]
        view = self.replica.view
        run(view, CreateCollection("c"))
        # Half of them before the indexes, which are built, and half behind them.
        half = len(documents) // 2
        run(view, *(put(f"d{number:02}", one) for number, one in enumerate(documents[:half])))
        create(view, *indexes)
        run(view, *(put(f"d{number:02}", one) for number, one in enumerate(documents[half:], half)))
        self.door = Door(self.replica, StoreLimits(), lambda: 0.0, check_operation)
        self.queries = Queries(self.door)
        self.plans: Counter[str] = Counter()

    def close(self) -> None:
        """End the thread of the queries."""
        self.queries.close()

    def answers(self, asked: Any, order: Any, projection: Any, hint: str | None, limit: int) -> tuple[Any, ...]:
        """Return pages, count and distinct values. Raises `InvalidPart` for an index that cannot be used."""
        find = parse_find(asked, order, projection, None, hint)
        plain = parse_find(asked, None, None, None, hint)
        pages: list[Any] = []
        after = None
        while True:
            request = FindDocuments("c", find, after, limit)
            self._note(request)
            page = self.page(request)
            pages += page.items
            if page.next_after is None:
                break
            after = page.next_after
        count = CountDocuments("c", plain)
        self._note(count)
        counted = finished(self.queries._count(count, _Run(self.door, count, monotonic() + 60)))
        values = []
        for path in (("a",), ("b", "a")):
            distinct = DistinctValues("c", plain, path)
            found = finished(self.queries._distinct(distinct, _Run(self.door, distinct, monotonic() + 60)))
            values.append(orjson.dumps(found.values))
        return pages, counted.count, values

    def page(self, request: FindDocuments) -> FindResult[Item]:
        """Return one page."""
        return finished(self.begin(request))

    def begin(self, request: FindDocuments) -> Generator[None, None, FindResult[Item]]:
        """Return the steps of reading one page, of the state as it is now."""
        run_ = _Run(self.door, request, monotonic() + 60)
        if not request.find.order:
            return self.queries._by_id(request, _item, run_)
        ordered = self.queries._by_index if run_.in_order else self.queries._sorted
        return ordered(request, _item, run_)

    def _note(self, request: Any) -> None:
        view = self.replica.view
        use, needs = _use_of(request)
        plan = plan_of(request.find, indexes_of(view, "c"), partial(count_keys, view), needs=needs, use=use)
        name = "scan" if plan is None else f"{plan.order}{' covered' * plan.covered}{' exact' * plan.exact}"
        self.plans[f"{type(request).__name__}: {name}"] += 1


def _item(found: Found) -> Item:
    return found.id, found.revision, found.document


def finished(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def check(seed: int, queries: int) -> tuple[int, Counter[str]]:
    """Compare the answers of one random collection; return how many were compared, and by which plans."""
    cases = Cases(random.Random(seed))
    plain = cases.chance.random() < 0.5
    documents = [cases.document(plain=plain) for _ in range(cases.chance.randrange(20))]
    subject = Subject(documents, [cases.index(f"i{number}") for number in range(4)])
    compared = 0
    try:
        definitions = [one.definition for one in indexes_of(subject.replica.view, "c")]
        for _ in range(queries):
            asked, order, projection = cases.query(definitions)
            limit = cases.chance.choice((1, 3, 100))
            wanted = subject.answers(asked, order, projection, "scan", limit)
            for hint in (None, *subject.names):
                try:
                    found = subject.answers(asked, order, projection, hint, limit)
                except InvalidPart as error:
                    if error.code != "invalid_hint":
                        raise
                    continue
                compared += 1
                if found != wanted:
                    raise AssertionError(
                        f"seed {seed}, hint {hint}, {asked}, {order}, {projection}, {limit}: {found} is not {wanted}; "
                        f"{documents}; {definitions}"
                    )
    finally:
        subject.close()
    return compared, subject.plans


def main() -> None:
    """Compare so many answers as the argument says."""
    wanted, compared, plans = int(sys.argv[1]), 0, Counter[str]()
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    while compared < wanted:
        one, by = check(seed, 20)
        compared += one
        plans += by
        seed += 1
    print(f"{compared} answers by an index are those of a scan, of {seed} collections")  # noqa: T201
    for name, count in sorted(plans.items()):
        print(f"{count:8}  {name}")  # noqa: T201


if __name__ == "__main__":
    main()
