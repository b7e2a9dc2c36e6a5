"""The entries of documents: one for every value that a filter asks about, and what can be told from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.documents.paths import parse_path, values_at
from collectionstore_node.documents.values import NOTHING, equal, inverted, sort_key
from collectionstore_node.indexes.definition import Definition, parse_definition
from collectionstore_node.indexes.encoding import key_of
from collectionstore_node.indexes.entries import (
    ENTRIES_MAX,
    VALUES_MAX,
    TooManyEntries,
    document_id_in,
    entries_of,
    entry_in,
    stored_entry,
    teller_of,
)
from collectionstore_node.tests.documents.json_values import DOCUMENTS


def index(fields: dict[str, int], **members: Any) -> Definition:
    return parse_definition({"name": "one", "fields": fields} | members)


def keys(definition: Definition, document: Any) -> set[bytes]:
    return set(entries_of(definition)(document).keys)


@pytest.mark.parametrize(
    ("path", "document", "values"),
    [
        ("a", {"a": 1}, [1]),
        ("a", {}, [None]),
        ("a", {"a": None}, [None]),
        ("a", {"a": [1, 2, 1.0]}, [1, 2]),
        ("a", {"a": [[1, 2], 3]}, [[1, 2], 3]),
        ("a.b", {"a": {"b": 1}}, [1]),
        ("a.b", {"a": 5}, [None]),
        ("a.b", {"a": [{"b": 1}, {"b": [2, 3]}, {}, 7]}, [1, 2, 3, None]),
        ("a.0", {"a": [{"0": 1}, 2]}, [1, {"0": 1}]),
    ],
)
def test_a_field_has_the_key_of_each_of_its_values(path: str, document: Any, values: list[Any]) -> None:
    assert keys(index({path: 1}), document) == {sort_key(value) for value in values}
    assert keys(index({path: -1}), document) == {inverted(sort_key(value)) for value in values}


@pytest.mark.parametrize(("path", "document"), [("a", {"a": []}), ("a.b", {"a": []}), ("a.b", {"a": [1]})])
def test_what_has_no_value_has_an_entry_all_the_same(path: str, document: Any) -> None:
    assert keys(index({path: 1}), document) == {NOTHING}


def test_compound_entries_are_every_combination() -> None:
    found = keys(index({"a": 1, "b": -1}), {"a": [1, 2], "b": [3, 4]})
    assert found == {sort_key(a) + inverted(sort_key(b)) for a in (1, 2) for b in (3, 4)}


def test_sparse_leaves_out_documents_without_any_field() -> None:
    definition = index({"a": 1, "b.c": 1}, sparse=True)
    assert keys(definition, {"x": 1}) == set()
    assert keys(definition, {"b": [{}]}) == set()
    assert keys(definition, {"a": None}) == {sort_key(None) * 2}


def test_partial_leaves_out_what_its_filter_does_not_match() -> None:
    definition = index({"a": 1}, filter={"b": {"$gt": 5}, "c": {"$exists": True}})
    assert keys(definition, {"a": 1, "b": 6, "c": None}) == {sort_key(1)}
    assert keys(definition, {"a": 1, "b": 5, "c": None}) == set()
    assert keys(definition, {"a": 1, "b": 6}) == set()


def test_folded_texts_are_alike() -> None:
    definition = index({"a": 1}, fold=["a"])
    assert keys(definition, {"a": "STRASSE"}) == keys(definition, {"a": "straße"}) == {sort_key("strasse")}
    assert keys(definition, {"a": {"b": "X"}}) == {sort_key({"b": "X"})}


def test_documents_with_too_many_entries_are_refused() -> None:
    definition = index({"a": 1, "b": 1})
    assert len(keys(index({"a": 1}), {"a": list(range(ENTRIES_MAX))})) == ENTRIES_MAX
    with pytest.raises(TooManyEntries, match="1000 entries"):
        entries_of(index({"a": 1}))({"a": list(range(ENTRIES_MAX + 1))})
    with pytest.raises(TooManyEntries, match="1000 entries"):
        entries_of(definition)({"a": list(range(40)), "b": list(range(40))})
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(TooManyEntries, match="nested"):
        entries_of(index({"x": 1}))({"x": deep})


NESTED: Any = {"a": {"a": {"a": {f"k{number}": 0 for number in range(VALUES_MAX // 4)}}}}
"""An object that lies on four paths of one index."""


@pytest.mark.parametrize(
    ("definition", "document"),
    [
        (index({"a": 1, "a.a": 1, "a.a.a": 1, "a.a.a.a": 1}), {"a": NESTED}),
        (index({"a": 1}), {"a": [1] * (VALUES_MAX + 1)}),
        (index({"a": 1}), {"a": [[1] * VALUES_MAX, 1]}),
        (index({"a": 1}), {"a": {"b": "x" * 64 * VALUES_MAX}}),
        (index({"a": 1}), {"a": {"x" * 64 * VALUES_MAX: 1}}),
        (index({"a.b.c": 1}), {"a": [{"b": [{}] * 10}] * (VALUES_MAX // 10)}),
        (index({"a.0.b": 1}), {"a": [[{}] * VALUES_MAX]}),
        (index({"b": 1}, filter={"a": 2}), {"a": [1] * (VALUES_MAX + 1)}),
        (index({"b": 1}, filter={"$and": [{"a": 2}, {"a": 3}]}), {"a": [1] * (VALUES_MAX // 2 + 1)}),
    ],
)
def test_documents_of_which_too_much_is_looked_at_are_refused(definition: Definition, document: Any) -> None:
    """All replicas look at it, for every write, in up to 16 indexes."""
    with pytest.raises(TooManyEntries, match="4000 values"):
        entries_of(definition)(document)


def test_what_is_looked_at_is_counted() -> None:
    enter = entries_of(index({"a": 1, "b": 1}))
    assert enter({"a": 1, "b": "x" * 1_000}).values == 0
    assert enter({"a": [1] * VALUES_MAX}).values == VALUES_MAX
    assert enter({"a": {"b": [1, {}]}, "b": {"": "x" * 64}}).values == 1 + 2 + 2
    assert entries_of(index({"a": 1}, filter={"b": 1}))({"b": [0, 0]}).values == 2


@given(DOCUMENTS, st.sampled_from(["a", "b", "a.b", "a.0", "b.a.0", "0.1"]))
def test_every_value_that_a_filter_asks_about_has_an_entry(document: dict[str, Any], path: str) -> None:
    """All but arrays as a whole, by which nothing is looked up."""
    found = keys(index({path: 1}), document)
    assert found
    for value in values_at(document, parse_path(path, "", "")):
        for one in value if type(value) is list else [value]:
            assert key_of(one) in found


@given(
    DOCUMENTS,
    st.lists(st.sampled_from(["a", "b", "0", "a.b"]), unique=True, min_size=1, max_size=3),
    st.integers(0, 7),
)
def test_the_fields_of_a_document_are_told_from_its_entry(document: Any, paths: list[str], directions: int) -> None:
    definition = index({path: -1 if directions >> at & 1 else 1 for at, path in enumerate(paths)})
    entries = entries_of(definition)(document)
    if entries.shape is None:
        return
    (key,) = entries.keys
    told = teller_of(definition)(key, entries.shape)
    for path in paths:
        (mine,), (stored,) = (values_at(one, parse_path(path, "", "")) for one in (told, document))
        assert type(mine) is type(stored)
        assert equal(mine, stored)
        assert repr(mine) == repr(stored)
    # What is shown of a document is in its order.
    shown = [name for name in document if name in paths]
    assert [name for name in told if name in paths] == shown


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("shape", [None, b"\x00\x01"])
def test_stored_entries_are_read_back(unique: bool, shape: bytes | None) -> None:  # noqa: FBT001
    key, value = stored_entry(b"prefix", b"fields", b"d\xc3\xa91", shape, 7, unique=unique)
    found = entry_in(6, key, value, unique=unique)
    assert found == ("dé1", b"fields", shape, 0 if shape is None else 7)
    if unique:
        assert document_id_in(value) == "dé1"
