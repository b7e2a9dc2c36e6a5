"""`$facet`: several pipelines over the same documents, in one pass."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
import orjson

from collectionstore_node.documents.expressions.scope import VALUE_BYTES_MAX, too_large
from collectionstore_node.query.aggregation.stage import Stage, Surroundings
from collectionstore_node.query.aggregation.work import STAGE_NS, Item, Items

FACETS_MAX: Final = 16
"""Pipelines of one `$facet`."""


class _Mouth:
    """Feeds a pipeline: it yields what it is given, and None, being hungry, while there is nothing."""

    __slots__ = ("closed", "hungry", "items")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.hungry = False
        self.closed = False

    def run(self) -> Items:
        """Yield what was given."""
        while True:
            if self.items:
                yield self.items.popleft()
            elif self.closed:
                return
            else:
                self.hungry = True
                yield None


class _Facet:
    """One of the pipelines while it runs."""

    __slots__ = ("done", "mouth", "outcome", "texts")

    def __init__(self, stages: tuple[Stage, ...], around: Surroundings) -> None:
        self.mouth = _Mouth()
        outcome = self.mouth.run()
        for stage in stages:
            outcome = stage.run(outcome, around)
        self.outcome = outcome
        self.texts: list[bytes] = []
        self.done = False


class FacetStage(msgspec.Struct, frozen=True):
    """One document with what comes out of each pipeline, as an array."""

    pipelines: tuple[tuple[str, tuple[Stage, ...]], ...]
    name: str = "$facet"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield the document."""
        facets = {name: _Facet(stages, around) for name, stages in self.pipelines}
        size = _Size(around)
        for item in items:
            if item is None:
                yield None
                continue
            for facet in facets.values():
                if not facet.done:
                    facet.mouth.items.append(item)
                    yield from _drained(facet, size)
            if all(facet.done for facet in facets.values()):
                break
        for facet in facets.values():
            facet.mouth.closed = True
            yield from _drained(facet, size)
        yield around.work.item({name: list(map(orjson.loads, facet.texts)) for name, facet in facets.items()})
        around.work.free(size.kept)


class _Size:
    """What has come out of all pipelines together: the document that it will be is bounded."""

    __slots__ = ("_weight", "_work", "kept")

    def __init__(self, around: Surroundings) -> None:
        self._work = around.work
        self._weight = 0
        self.kept = 0

    def text(self, item: Item) -> bytes:
        """Return a document as it is kept. Raises `InvalidRequest`."""
        self._weight += item.size
        if self._weight > VALUE_BYTES_MAX:
            raise too_large()
        text, size = self._work.packed(item.document)
        self._work.keep(size)
        self.kept += size
        self._work.spent += STAGE_NS
        found: bytes = text
        return found

    @property
    def due(self) -> bool:
        """Whether it is time for a pause."""
        return self._work.due


def _drained(facet: _Facet, size: _Size) -> Items:
    """Take what comes out, until the pipeline wants more or has ended. Yields None at pauses."""
    mouth = facet.mouth
    mouth.hungry = False
    for item in facet.outcome:
        if item is not None:
            facet.texts.append(size.text(item))
            if size.due:
                yield None
        elif not mouth.hungry:
            yield None  # a pause of its own
        else:
            return
    facet.done = True
