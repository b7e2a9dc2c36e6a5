"""Filters: the table of what they match, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.documents.filters import compile_filter, parse_filter
from collectionstore_node.documents.filters.parsing import DEPTH_MAX, LEAVES_MAX, OPERANDS_MAX
from collectionstore_node.documents.filters.tree import leaves
from collectionstore_node.documents.paths import values_at
from collectionstore_node.documents.regexes import PATTERNS_MAX
from collectionstore_node.errors import InvalidPart, InvalidRequest
from collectionstore_node.tests.documents.filter_cases import ALL, Row

CASES = sum(len(matches) + len(others) for _, matches, others in ALL)


def test_the_table_has_at_least_three_hundred_cases() -> None:
    assert CASES >= 300


@pytest.mark.parametrize("row", ALL, ids=lambda row: str(row[0])[:60])
def test_a_filter_matches_what_the_table_says(row: Row) -> None:
    given, matches, others = row
    match = compile_filter(parse_filter(given))

    assert [document for document in matches if not match(document)] == []
    assert [document for document in others if match(document)] == []


@pytest.mark.parametrize("row", ALL, ids=lambda row: str(row[0])[:60])
def test_nor_matches_the_others(row: Row) -> None:
    """The negation of every filter of the table holds for exactly the documents that it does not match."""
    given, matches, others = row
    match = compile_filter(parse_filter({"$nor": [given]}))

    assert [document for document in others if not match(document)] == []
    assert [document for document in matches if match(document)] == []


REFUSED: list[tuple[Any, str, str]] = [
    ([], "", "a filter is an object"),
    ("x", "", "a filter is an object"),
    ({"$x": 1}, "/$x", "known: $and, $comment, $nor, $or"),
    ({"$gt": 1}, "/$gt", "stands under a field"),
    ({"$where": "1"}, "/$where", "runs no code"),
    ({"$expr": {}}, "/$expr", "not supported"),
    ({"$text": {}}, "/$text", "no text index"),
    ({"$and": []}, "/$and", "one or more filters"),
    ({"$or": {"a": 1}}, "/$or", "one or more filters"),
    ({"$or": [{"a": 1}, 5]}, "/$or/1", "a filter is an object"),
    ({"a": {"$foo": 1}}, "/a/$foo", "known: $all"),
    ({"a": {"$and": []}}, "/a/$and", "at the top of a filter"),
    ({"a": {"$gt": 1, "b": 2}}, "/a/b", "not mixed"),
    ({"": 1}, "/", "not empty"),
    ({"a..b": 1}, "/a..b", "no empty part"),
    ({".a": 1}, "/.a", "no empty part"),
    ({"a.": 1}, "/a.", "no empty part"),
    ({"a.$b": 1}, "/a.$b", "dollar sign"),
    ({"a/b~c": {"$x": 1}}, "/a~1b~0c/$x", "unknown operator"),
    ({"x" * 1025: 1}, "/" + "x" * 1025, "at most 1024 characters"),
    ({".".join("a" * 65): 1}, "/" + ".".join("a" * 65), "at most 64 parts"),
    ({"a": {"$in": 1}}, "/a/$in", "a list"),
    ({"a": {"$in": list(range(OPERANDS_MAX + 1))}}, "/a/$in", f"at most {OPERANDS_MAX}"),
    ({"a": {"$in": [{"$gt": 1}]}}, "/a/$in/0", "no other operators"),
    ({"a": {"$in": [{"$regex": "x", "y": 1}]}}, "/a/$in/0/y", "nothing else"),
    ({"a": {"$nin": "x"}}, "/a/$nin", "a list"),
    ({"a": {"$all": {}}}, "/a/$all", "a list"),
    ({"a": {"$all": [{"$gt": 1}]}}, "/a/$all/0", "$elemMatch alone"),
    ({"a": {"$not": 1}}, "/a/$not", "takes operators"),
    ({"a": {"$not": {"b": 1}}}, "/a/$not", "takes operators"),
    ({"a": {"$not": {}}}, "/a/$not", "takes operators"),
    ({"a": {"$exists": 1}}, "/a/$exists", "true or false"),
    ({"a": {"$type": "date"}}, "/a/$type", "names of JSON's types"),
    ({"a": {"$type": 9}}, "/a/$type", "names of JSON's types"),
    ({"a": {"$type": []}}, "/a/$type", "one or more"),
    ({"a": {"$type": [True]}}, "/a/$type", "names of JSON's types"),
    ({"a": {"$size": -1}}, "/a/$size", "at least 0"),
    ({"a": {"$size": 1.5}}, "/a/$size", "at least 0"),
    ({"a": {"$size": "1"}}, "/a/$size", "at least 0"),
    ({"a": {"$size": True}}, "/a/$size", "at least 0"),
    ({"a": {"$mod": [0, 1]}}, "/a/$mod/0", "not 0"),
    ({"a": {"$mod": [0.5, 1]}}, "/a/$mod/0", "not 0"),
    ({"a": {"$mod": [1]}}, "/a/$mod", "two numbers"),
    ({"a": {"$mod": ["4", 1]}}, "/a/$mod", "two numbers"),
    ({"a": {"$mod": [1e300, 1]}}, "/a/$mod", "64 bits"),
    ({"a": {"$bitsAllSet": -1}}, "/a/$bitsAllSet", "at least 0"),
    ({"a": {"$bitsAnySet": [64]}}, "/a/$bitsAnySet", "0 to 63"),
    ({"a": {"$bitsAllClear": "x"}}, "/a/$bitsAllClear", "a mask"),
    ({"a": {"$bitsAnyClear": [True]}}, "/a/$bitsAnyClear", "0 to 63"),
    ({"a": {"$elemMatch": 1}}, "/a/$elemMatch", "takes an object"),
    ({"a": {"$elemMatch": {"$gt": 1, "b": 2}}}, "/a/$elemMatch/b", "not mixed"),
    ({"a": {"$regex": 1}}, "/a/$regex", "as text"),
    ({"a": {"$regex": "("}}, "/a/$regex", "not a pattern of RE2"),
    ({"a": {"$regex": "(?=x)"}}, "/a/$regex", "look-around"),
    ({"a": {"$regex": "(a)\\1"}}, "/a/$regex", "not a pattern of RE2"),
    ({"a": {"$regex": "(a{1000}){1000}"}}, "/a/$regex", "not a pattern of RE2"),
    ({"a": {"$regex": "((a{100}){100}){100}"}}, "/a/$regex", "not a pattern of RE2"),
    ({"a": {"$regex": "x" * 1025}}, "/a/$regex", "1024 characters"),
    ({"a": {"$regex": "x", "$options": "x"}}, "/a/$options", "letters out of"),
    ({"a": {"$regex": "x", "$options": 1}}, "/a/$options", "letters out of"),
    ({"a": {"$options": "i"}}, "/a/$options", "goes with $regex"),
]


@pytest.mark.parametrize(("given", "pointer", "detail"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_mistake_is_refused_with_its_place(given: Any, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_filter(given)

    assert refused.value.code == "invalid_filter"
    assert refused.value.pointer == pointer
    assert detail in refused.value.detail


def test_nesting_and_tests_are_bounded() -> None:
    deep: Any = {"a": 1}
    for _ in range(DEPTH_MAX):
        deep = {"$and": [deep]}
    assert leaves(parse_filter(deep)) == 1
    with pytest.raises(InvalidPart, match="nested at most"):
        parse_filter({"$and": [deep]})
    with pytest.raises(InvalidPart, match="nested at most"):
        parse_filter({"a": _nested("$elemMatch", DEPTH_MAX + 2)})
    with pytest.raises(InvalidPart, match="nested at most"):
        parse_filter({"a": _nested("$not", DEPTH_MAX + 2)})
    wide = {f"f{at}": at for at in range(LEAVES_MAX)}
    assert leaves(parse_filter(wide)) == LEAVES_MAX
    with pytest.raises(InvalidPart, match=f"at most {LEAVES_MAX} are allowed"):
        parse_filter({**wide, "one": 1})
    with pytest.raises(InvalidPart, match=f"at most {LEAVES_MAX} are allowed"):
        parse_filter({"a": {"$all": list(range(LEAVES_MAX + 1))}})


def _nested(operator: str, depth: int) -> Any:
    inner: Any = {"$gt": 1}
    for _ in range(depth):
        inner = {operator: inner}
    return inner


def test_patterns_are_counted_before_they_are_compiled() -> None:
    """A pattern takes tens of milliseconds to compile, so a body full of them is refused at the first one too many."""
    patterns = [{"$regex": f"(a|b){at}"} for at in range(500)]

    with pytest.raises(InvalidPart, match=f"at most {PATTERNS_MAX} patterns") as refused:
        parse_filter({"a": {"$in": patterns}})
    assert refused.value.pointer == f"/a/$in/{PATTERNS_MAX}"


def test_empty_filters_count() -> None:
    with pytest.raises(InvalidPart, match=f"at most {LEAVES_MAX}"):
        parse_filter({"$and": [{}] * (LEAVES_MAX + 1)})
    with pytest.raises(InvalidPart, match="more than"):
        parse_filter({"$and": [{}] * 20_000})


def test_a_text_too_long_for_a_pattern_is_refused() -> None:
    match = compile_filter(parse_filter({"a": {"$regex": "[ab]*a[ab]{900}z"}}))

    assert not match({"a": "ab" * 1_000})
    with pytest.raises(InvalidRequest, match="too long for a pattern") as refused:
        match({"a": "ab" * 200_000})
    assert refused.value.code == "query_too_costly"


def test_ways_through_nested_arrays_do_not_multiply() -> None:
    """A part of digits leads into an array by its elements and by a position; 40 levels would be 2 to the 40th ways."""
    nested: Any = 1
    for _ in range(40):
        nested = [{"0": nested}]
    path = ".".join("0" * 64)

    assert not compile_filter(parse_filter({path: 2}))({"0": nested})
    assert len(values_at({"0": nested}, tuple(path.split(".")))) < 10_000
