"""A slow, obvious evaluation of pipelines: lists in, lists out, by the words of MongoDB's manual."""

from __future__ import annotations

from fractions import Fraction
from functools import cmp_to_key
from typing import Any

from collectionstore_node.documents.values import MISSING, NOTHING
from collectionstore_node.tests.documents.reference_filter import candidates_of, matches
from collectionstore_node.tests.documents.test_values import compare

Document = dict[str, Any]


def run(stages: list[Document], documents: list[Document]) -> list[Document]:
    """Return what the stages make of the documents."""
    for stage in stages:
        ((name, operand),) = stage.items()
        documents = _STAGES[name](operand, documents)
    return documents


def _match(operand: Any, documents: list[Document]) -> list[Document]:
    return [document for document in documents if matches(operand, document)]


def _limit(operand: int, documents: list[Document]) -> list[Document]:
    return documents[:operand]


def _skip(operand: int, documents: list[Document]) -> list[Document]:
    return documents[operand:]


def _sort(operand: dict[str, int], documents: list[Document]) -> list[Document]:
    def by(left: Document, right: Document) -> int:
        for path, direction in operand.items():
            one, other = _extreme(left, path, direction), _extreme(right, path, direction)
            if found := _compare_extremes(one, other):
                return found * direction
        return 0

    return sorted(documents, key=cmp_to_key(by))


def _extreme(document: Document, path: str, direction: int) -> Any:
    """Return the value that a document sorts by; `NOTHING` for an empty array."""
    values: list[Any] = []
    for value, is_array in candidates_of(document, path.split(".")) or [(None, False)]:
        if is_array or isinstance(value, list):
            values += value or [NOTHING]
        else:
            values.append(None if value is MISSING else value)
    found = values[0]
    for value in values[1:]:
        if _compare_extremes(value, found) * direction < 0:
            found = value
    return found


def _compare_extremes(left: Any, right: Any) -> int:
    if left is NOTHING or right is NOTHING:
        return (left is not NOTHING) - (right is not NOTHING)
    return compare(left, right)


def value_of(expression: Any, document: Document) -> Any:
    """Return the value of a path, of a constant, or of an object of them."""
    if isinstance(expression, dict):
        found = {name: value_of(one, document) for name, one in expression.items()}
        return {name: one for name, one in found.items() if one is not MISSING}
    if not isinstance(expression, str) or not expression.startswith("$"):
        return expression
    return _at(document, expression[1:].split("."))


def _at(value: Any, parts: list[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, list):
        found = [_at(one, parts) for one in value if isinstance(one, dict)]
        return [one for one in found if one is not MISSING]
    return _at(value[parts[0]], parts[1:]) if isinstance(value, dict) and parts[0] in value else MISSING


def _group(operand: Document, documents: list[Document]) -> list[Document]:
    groups: list[tuple[Any, list[Document]]] = []
    for document in documents:
        key = value_of(operand["_id"], document)
        key = None if key is MISSING else key
        for known, members in groups:
            if compare(known, key) == 0:
                members.append(document)
                break
        else:
            groups.append((key, [document]))
    made = []
    for key, members in groups:
        made.append({"_id": key})
        for field, accumulator in operand.items():
            if field != "_id":
                ((name, expression),) = accumulator.items()
                made[-1][field] = _gathered(name, [value_of(expression, member) for member in members])
    return made


def _gathered(name: str, values: list[Any]) -> Any:
    numbers = [one for one in values if type(one) in (int, float)]
    present = [one for one in values if one is not MISSING]
    total = sum(map(Fraction, numbers), Fraction(0))
    match name:
        case "$sum":
            exact = all(type(one) is int for one in numbers) and -(1 << 63) <= total < 1 << 64
            return int(total) if exact else float(total)
        case "$avg":
            return float(total / len(numbers)) if numbers else None
        case "$push":
            return present
        case "$addToSet":
            different: list[Any] = []
            for one in present:
                if not any(compare(one, known) == 0 for known in different):
                    different.append(one)
            return different
        case "$first":
            return None if values[0] is MISSING else values[0]
        case "$last":
            return None if values[-1] is MISSING else values[-1]
        case "$count":
            return len(values)
    ordered = sorted((one for one in present if one is not None), key=cmp_to_key(compare))
    if name == "$max":
        # Of equals the first: 1 and 1.0 are.
        ordered = [one for one in ordered if ordered and compare(one, ordered[-1]) == 0]
    return ordered[0] if ordered else None


def _unwind(operand: Any, documents: list[Document]) -> list[Document]:
    given = {"path": operand} if isinstance(operand, str) else operand
    name, index = given["path"][1:], given.get("includeArrayIndex")
    made = []
    for document in documents:
        value = document.get(name, MISSING)
        elements = value if isinstance(value, list) else [value]
        for at, one in enumerate(elements):
            if one in (None, MISSING) and not isinstance(value, list) and not given.get("preserveNullAndEmptyArrays"):
                continue
            made.append({**document, name: one} if one is not MISSING else {**document})
            if index:
                made[-1][index] = at if isinstance(value, list) else None
        if not elements and given.get("preserveNullAndEmptyArrays"):
            made.append({field: one for field, one in document.items() if field != name})
            if index:
                made[-1][index] = None
    return made


def _bucket(operand: Document, documents: list[Document]) -> list[Document]:
    low, *ends = operand["boundaries"]
    made: list[Document] = []
    for end in ends:
        members = [
            document
            for document in documents
            if (value := value_of(operand["groupBy"], document)) is not MISSING
            and type(value) not in (list, dict)
            and compare(value, low) >= 0
            and compare(value, end) < 0
        ]
        if members:
            made.append({"_id": low, "count": len(members)})
        low = end
    rest = len(documents) - sum(one["count"] for one in made)
    if rest:
        made.append({"_id": operand["default"], "count": rest})

    def by_id(left: Document, right: Document) -> int:
        return compare(left["_id"], right["_id"])

    return sorted(made, key=cmp_to_key(by_id))


def _facet(operand: Document, documents: list[Document]) -> list[Document]:
    return [{name: run(stages, documents) for name, stages in operand.items()}]


def _project(operand: dict[str, Any], documents: list[Document]) -> list[Document]:
    """Computed fields without dots, beside `_id`."""
    made = []
    for document in documents:
        found = {"_id": document["_id"]} if "_id" in document else {}
        for name, expression in operand.items():
            value = value_of(expression, document)
            if value is not MISSING:
                found[name] = value
        made.append(found)
    return made


_STAGES = {
    "$match": _match,
    "$limit": _limit,
    "$skip": _skip,
    "$sort": _sort,
    "$group": _group,
    "$unwind": _unwind,
    "$bucket": _bucket,
    "$facet": _facet,
    "$project": _project,
}
