"""Definitions: what is accepted, and where a mistake is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectionstore_node.errors import InvalidPart
from collectionstore_node.indexes.definition import (
    Definition,
    IndexField,
    definition_violation,
    parse_definition,
    shown,
)


def index(**members: Any) -> dict[str, Any]:
    return {"name": "one", "fields": {"a": 1}} | members


def test_all_members_are_kept() -> None:
    given = index(fields={"b.c": -1, "a": 1}, unique=True, sparse=True, fold=["a"], filter={"a": {"$gt": 5}})
    made = parse_definition(given)
    assert made == Definition(
        "one",
        (IndexField("b.c", descending=True), IndexField("a", fold=True)),
        unique=True,
        sparse=True,
        filter=b'{"a":{"$gt":5}}',
    )
    assert shown(made) == given
    assert definition_violation(made) is None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Definition) == made


@pytest.mark.parametrize(
    ("given", "pointer", "detail"),
    [
        ([], "", "an index is an object"),
        (index(extra=1), "/extra", "no such member"),
        ({"fields": {"a": 1}}, "/name", "1-63"),
        (index(name="Scan"), "/name", "1-63"),
        (index(name="scan"), "/name", "not 'scan'"),
        (index(name="a" * 64), "/name", "1-63"),
        (index(fields=[]), "/fields", "paths to 1 or -1"),
        (index(fields={}), "/fields", "paths to 1 or -1"),
        (index(fields={str(number): 1 for number in range(9)}), "/fields", "at most 8"),
        (index(fields={"a": 2}), "/fields/a", "1 \\(ascending"),
        (index(fields={"a": True}), "/fields/a", "1 \\(ascending"),
        (index(fields={"a..b": 1}), "/fields/a..b", "no empty part"),
        (index(fields={"a/b.$x": 1}), "/fields/a~1b.$x", "dollar"),
        (index(fields={"_id": 1}), "/fields/_id", "underscore"),
        (index(unique=1), "/unique", "true or false"),
        (index(sparse="yes"), "/sparse", "true or false"),
        (index(fold="a"), "/fold", "list"),
        (index(fold=["b"]), "/fold/0", "each once"),
        (index(fold=["a", "a"]), "/fold/1", "each once"),
        (index(fold=[["a"]]), "/fold/0", "each once"),
        (index(filter=[]), "/filter", "a filter is an object"),
        (index(filter={}), "/filter", "1 to 16"),
        (index(filter={"a": {"$regex": "x"}}), "/filter", "\\$eq"),
        (index(filter={"a": {"$ne": 1}}), "/filter", "\\$eq"),
        (index(filter={"$or": [{"a": 1}, {"b": 1}]}), "/filter", "\\$eq"),
        (index(filter={"a": {"$in": [{"$regex": "x"}]}}), "/filter", "\\$eq"),
        (index(filter={"a": {"$what": 1}}), "/filter/a/$what", "unknown operator"),
        (index(filter={"_id": "a"}), "/filter", "fields of the document"),
        (index(filter={f"f{number}": 1 for number in range(17)}), "/filter", "1 to 16"),
        (index(filter={"a": "x" * 5_000}), "", "at most 4096"),
        (index(filter={"a": {"$eq": [[[]] * 3] * 3}}), None, None),
    ],
)
def test_mistakes_are_named_with_their_place(given: Any, pointer: str | None, detail: str) -> None:
    if pointer is None:
        assert definition_violation(parse_definition(given)) is None
        return
    with pytest.raises(InvalidPart, match=detail) as caught:
        parse_definition(given)
    assert (caught.value.code, caught.value.pointer) == ("invalid_index", pointer)


def test_a_filter_nested_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(InvalidPart, match="nested too deep"):
        parse_definition(index(filter={"a": {"$eq": deep}}))


@pytest.mark.parametrize(
    "definition",
    [
        Definition("one", ()),
        Definition("one", tuple(IndexField(str(number)) for number in range(9))),
        Definition("One", (IndexField("a"),)),
        Definition("one", (IndexField("a"), IndexField("a"))),
        Definition("one", (IndexField("a"),), filter=b"{"),
        Definition("one", (IndexField("a"),), filter=b'{ "a": 1}'),
        Definition("one", (IndexField("a"),), filter=b"[" * 3_000),
        Definition("one", (IndexField("a" * 5_000),)),
        Definition("one", (IndexField(""),)),
    ],
)
def test_what_no_front_end_makes_is_refused(definition: Definition) -> None:
    """A member forwards it, or a log entry holds it: once stored it would be asked at every write."""
    assert definition_violation(definition) is not None
