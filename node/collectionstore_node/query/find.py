"""`Find`: one checked query for documents of a collection."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.documents.expressions import ExpressionParser, Spent
from collectionstore_node.documents.filters import Node, compile_filter, heaviest, parse_filter
from collectionstore_node.documents.filters.tree import And, leaves
from collectionstore_node.documents.paths import ID, REVISION, Path
from collectionstore_node.documents.projection import Project, parse_projection
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart
from collectionstore_node.indexes.definition import NAME
from collectionstore_node.query.scanning import Asked
from collectionstore_node.query.sorting import FIELDS_MAX, Order, SortField, parse_sort
from collectionstore_node.query.spans import Ids, Place, Span, ids_of

SKIP_MAX: Final = 10_000

_BY_ID: Final = (SortField((ID,)),)


class Find(msgspec.Struct, frozen=True):
    """Which documents, in which order, and what is shown of them."""

    asked: Asked
    """Whether a document belongs to the answer."""
    place: Place
    """Where all of them are."""
    order: Order = ()
    """Empty for the order of the IDs."""
    project: Project | None = None
    skip: int = 0
    shown_paths: frozenset[Path] | None = None
    """The fields at the top that are shown, if no others are; None if that is not so."""
    hint: str | None = None
    """The index by which the documents are to be found, or `scan` for none; None to choose."""

    def plan(self) -> dict[str, Any]:
        """Return how the documents are found: by `ids`, by a `span` of IDs, or by a `scan` of the collection."""
        match self.place:
            case Ids(names):
                plan: dict[str, Any] = {"kind": "ids", "ids": len(names)}
            case Span("", None):
                plan = {"kind": "scan"}
            case Span(lowest, end):
                plan = {"kind": "span", "lowest": lowest, "end": end}
        plan["sort"] = "memory" if self.order else "id"
        return plan

    def shown(self, text: bytes, document: dict[str, Any] | None = None) -> bytes:
        """Return what is answered of a stored document; `document` is its decoded form, if it is at hand."""
        if self.project is None:
            return text
        if document is None:
            document = orjson.loads(text)
        document.pop(ID, None)
        document.pop(REVISION, None)
        return orjson.dumps(self.project(document))


def parse_find(
    filter_: Value = None, sort: Value = None, projection: Value = None, skip: Value = None, hint: Value = None
) -> Find:
    """Return the query of these parts of a request; None is a part that is not given.

    Raises `InvalidPart` with a pointer that begins with `/filter`, `/sort`, `/projection`, `/skip` or `/hint`.
    """
    if hint is not None and (type(hint) is not str or not NAME.fullmatch(hint)):
        raise InvalidPart("invalid_hint", "/hint", "a hint is the name of an index, or 'scan' for none")
    node: Node = And(()) if filter_ is None else parse_filter(filter_, "/filter", ExpressionParser())
    order = () if sort is None else parse_sort(sort, "/sort")
    if order == _BY_ID:
        order = ()
    if skip is not None and (type(skip) is not int or not 0 <= skip <= SKIP_MAX):
        raise InvalidPart("invalid_query", "/skip", f"skip is a whole number from 0 to {SKIP_MAX}; pages have cursors")
    return find_where(
        node,
        order,
        None if projection is None else parse_projection(projection, "/projection"),
        skip or 0,
        None if projection is None else _shown(projection),
        hint,
    )


def find_where(
    node: Node,
    order: Order = (),
    project: Project | None = None,
    skip: int = 0,
    shown_paths: frozenset[Path] | None = None,
    hint: str | None = None,
) -> Find:
    """Return the query for the documents for which `node` holds."""
    spent = Spent()
    asked = Asked(compile_filter(node, spent), node, leaves(node), heaviest(node), spent)
    return Find(asked, ids_of(node), order, project, skip, shown_paths, hint)


def _shown(projection: dict[str, Any]) -> frozenset[Path] | None:
    """Return the fields that a checked projection shows, unless it hides some, or shows parts of them."""
    if not all(projection.values()) or any("." in name for name in projection):
        return None
    return frozenset((name,) for name in projection)


def parse_sort_text(text: str) -> dict[str, int]:
    """Return the order that `-age,name` in a URL stands for, as `parse_sort` takes it. Raises `InvalidPart`."""
    names = text.split(",")
    if len(names) > FIELDS_MAX:
        raise InvalidPart("invalid_sort", "/sort", f"an order has at most {FIELDS_MAX} fields")
    order: dict[str, int] = {}
    for name in names:
        path = name.removeprefix("-")
        if path in order:
            raise InvalidPart("invalid_sort", "/sort", "an order names a field once")
        order[path] = -1 if name[:1] == "-" else 1
    return order


def parse_fields_text(text: str) -> dict[str, Any]:
    """Return the projection that `name,age` in a URL stands for, as `parse_projection` takes it."""
    return dict.fromkeys(text.split(","), 1)
