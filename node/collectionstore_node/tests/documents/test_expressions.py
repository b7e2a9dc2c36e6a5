"""Expressions: the table of what they compute, what is refused, and what they may cost."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.documents.expressions import ExpressionParser, Scope, compile_expression, weigh
from collectionstore_node.documents.expressions.parsing import DEPTH_MAX, NODES_MAX
from collectionstore_node.documents.expressions.scope import VALUE_BYTES_MAX
from collectionstore_node.documents.filters import compile_filter, parse_filter
from collectionstore_node.documents.regexes import PATTERNS_MAX
from collectionstore_node.errors import InvalidPart, InvalidRequest
from collectionstore_node.tests.documents.expression_cases import ALL, Fails, Row


def computed(given: Any, document: dict[str, Any]) -> Any:
    """Return what an expression computes from a document."""
    parser = ExpressionParser()
    node = parser.parse(given, "/x")
    scope = Scope(parser.slots)
    scope.begin(document)
    return compile_expression(node)(scope)


def test_the_table_has_at_least_two_hundred_cases() -> None:
    assert len(ALL) >= 200


@pytest.mark.parametrize("row", ALL, ids=lambda row: f"{row[0]}"[:70])
def test_an_expression_computes_what_the_table_says(row: Row) -> None:
    given, document, expected = row
    before = repr(document)
    if isinstance(expected, Fails):
        with pytest.raises(InvalidPart) as failed:
            computed(given, document)
        assert expected.detail in failed.value.detail
        assert failed.value.code in ("expression_failed", "invalid_expression")
        assert failed.value.pointer.startswith("/x/$")
    else:
        assert repr(computed(given, document)) == repr(expected)
    assert repr(document) == before, "a document is not changed"


REFUSED: list[tuple[Any, str, str]] = [
    ("$", "", "not empty"),
    ("$a..b", "", "no empty part"),
    ("$$nothing", "", "no such variable; known here: $$ROOT, $$CURRENT, $$REMOVE"),
    ("$$NOW", "", "known in aggregations"),
    ({"$foo": 1}, "/$foo", "unknown operator; known: $abs"),
    ({"$add": [1], "b": 2}, "", "stands alone"),
    ({"a": 1, "$add": [1]}, "/$add", "does not begin with a dollar sign"),
    ({"a.b": 1}, "/a.b", "has no dot"),
    ({"$subtract": [1]}, "/$subtract", "[number, number]; these are 1"),
    ({"$subtract": 1}, "/$subtract", "[number, number]"),
    ({"$cond": [1, 2]}, "/$cond", '{"if": condition'),
    ({"$cond": {"if": 1, "then": 2}}, "/$cond", "there is no 'else'"),
    ({"$cond": {"if": 1, "then": 2, "else": 3, "x": 4}}, "/$cond/x", '{"if": condition'),
    ({"$ifNull": ["$a"]}, "/$ifNull", "two or more"),
    ({"$switch": {"branches": []}}, "/$switch/branches", "1 to 128"),
    ({"$switch": {"branches": [{"case": 1}]}}, "/$switch/branches/0", "there is no 'then'"),
    ({"$map": {"input": [1]}}, "/$map", "there is no 'in'"),
    ({"$map": {"input": [1], "as": "A", "in": 1}}, "/$map/as", "begins with a small letter"),
    ({"$map": {"input": "$$this", "in": 1}}, "/$map/input", "no such variable"),
    ({"$let": {"vars": {"a": 1, "b": "$$a"}, "in": 1}}, "/$let/vars/b", "no such variable"),
    ({"$reduce": {"input": [1], "initialValue": 0}}, "/$reduce", "there is no 'in'"),
    ({"$sortArray": {"input": [], "sortBy": 2}}, "/$sortArray/sortBy", "1 or -1"),
    ({"$regexMatch": {"input": "a", "regex": "("}}, "/$regexMatch/regex", "not a pattern of RE2"),
    ({"$regexMatch": {"input": "a", "regex": "$p"}}, "/$regexMatch/regex", "not computed"),
    ({"$regexMatch": {"input": "a", "regex": "a", "options": "x"}}, "/$regexMatch/options", "letters out of"),
    ({"$dateToString": {}}, "/$dateToString", "there is no 'date'"),
    ({"$year": [1, 2]}, "/$year", "a date, or"),
    ({"$dateFromParts": {}}, "/$dateFromParts", "join the parts"),
    ({"$function": {}}, "/$function", "no code"),
    ({"$rand": {}}, "/$rand", "same answer"),
    ({"$trim": "x"}, "/$trim", '{"input": text'),
    ({"$concat": ["a"] * 129}, "/$concat", "these are 129"),
]


@pytest.mark.parametrize(("given", "pointer", "detail"), REFUSED, ids=lambda value: str(value)[:50])
def test_a_mistake_is_refused_with_its_place(given: Any, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        ExpressionParser().parse(given, "/x")

    assert refused.value.code == "invalid_expression"
    assert refused.value.pointer == "/x" + pointer
    assert detail in refused.value.detail


def test_nesting_and_parts_are_bounded() -> None:
    deep: Any = 1
    for _ in range(DEPTH_MAX):
        deep = {"$abs": deep}
    assert computed(deep, {}) == 1
    with pytest.raises(InvalidPart, match="nested at most"):
        computed({"$abs": deep}, {})
    with pytest.raises(InvalidPart, match=f"more than {NODES_MAX} parts"):
        computed([[1] * 100] * 11, {})
    with pytest.raises(InvalidPart, match=f"at most {PATTERNS_MAX} patterns"):
        computed([{"$regexMatch": {"input": "a", "regex": f"a{at}"}} for at in range(PATTERNS_MAX + 1)], {})


RANGE = {"$range": [0, 100_000]}
SQUARE = {"$map": {"input": {"$range": [0, 1_000]}, "in": {"$map": {"input": {"$range": [0, 1_000]}, "in": 1}}}}
DOUBLED = {"$reduce": {"input": {"$range": [0, 60]}, "initialValue": [1], "in": ["$$value", "$$value"]}}
TEXT = {"$reduce": {"input": {"$range": [0, 60]}, "initialValue": "x", "in": {"$concat": ["$$value", "$$value"]}}}
ROWS = {"$reduce": {"input": {"$range": [0, 60]}, "initialValue": [1], "in": {"$concatArrays": ["$$value", "$$value"]}}}
DEEP = {"$reduce": {"input": {"$range": [0, 9_999]}, "initialValue": 1, "in": ["$$value"]}}
BOMBS: list[Any] = [
    SQUARE,
    {"$map": {"input": RANGE, "in": {"$concat": ["a", "b", "c"]}}},
    {"$reduce": {"input": RANGE, "initialValue": 0, "in": {"$add": ["$$value", {"$size": RANGE}]}}},
    TEXT,
    ROWS,
    {"$eq": [DOUBLED, 1]},
    {"$in": [DOUBLED, [DOUBLED]]},
    {"$setUnion": [[DOUBLED]]},
    {"$max": [DOUBLED, 1]},
    {"$sortArray": {"input": [DOUBLED, DEEP], "sortBy": 1}},
    {"$eq": [DEEP, 1]},
    {"$replaceAll": {"input": "$long", "find": "", "replacement": "$long"}},
    {"$split": ["$long", "x"]},
    {"$sortArray": {"input": RANGE, "sortBy": -1}},
    {"$maxN": {"input": RANGE, "n": 1}},
    {"$concatArrays": [RANGE, RANGE, RANGE]},
    {"$trim": {"input": "$long", "chars": "$long"}},
    {"$regexMatch": {"input": "$long", "regex": "[ab]*a[ab]{200}z"}},
    {"$zip": {"inputs": [RANGE, RANGE, RANGE]}},
    {"$concat": [*["$long"] * 10]},
    {"$map": {"input": {"$range": [0, 2_000]}, "in": {"$toUpper": "$long"}}},
    {"$map": {"input": {"$range": [0, 2_000]}, "in": {"$eq": ["$long", "$long"]}}},
    {"$map": {"input": {"$range": [0, 2_000]}, "in": "$wide.a"}},
    {"$map": {"input": {"$range": [0, 2_000]}, "in": {"$mergeObjects": ["$$ROOT", "$many"]}}},
]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: str(bomb)[:60])
def test_a_bomb_is_refused_within_its_bound(bomb: Any) -> None:
    document = {
        "long": "x" * (1 << 20),
        "wide": [{"a": 1}] * 1_000,
        "many": {f"f{at}": at for at in range(1_000)},
    }
    with pytest.raises(InvalidRequest) as refused:
        computed(bomb, document)

    assert refused.value.code in ("query_too_costly", "query_memory_exceeded", "expression_failed")


def test_what_was_doubled_is_not_written_out() -> None:
    """Small in memory and enormous as text: it is weighed before it is looked at."""
    assert weigh(computed(DOUBLED, {})) > VALUE_BYTES_MAX
    with pytest.raises(InvalidRequest, match="nested more than"):
        weigh(computed(DEEP, {}))


@pytest.mark.parametrize(
    ("given", "matches", "others"),
    [
        ({"$expr": {"$gt": ["$spent", "$budget"]}}, [{"spent": 2, "budget": 1}], [{"spent": 1, "budget": 2}, {}]),
        ({"a": 1, "$expr": "$b"}, [{"a": 1, "b": 1}], [{"a": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 0}]),
        ({"$nor": [{"$expr": {"$eq": ["$a", "$b"]}}]}, [{"a": 1, "b": 2}], [{"a": 1, "b": 1}, {}]),
        (
            {"$expr": {"$anyElementTrue": [{"$map": {"input": "$a", "in": {"$gt": ["$$this", 1]}}}]}},
            [{"a": [2]}],
            [{"a": [1]}],
        ),
    ],
    ids=str,
)
def test_expr_in_a_filter(given: Any, matches: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    match = compile_filter(parse_filter(given, "", ExpressionParser()))

    assert [document for document in matches if not match(document)] == []
    assert [document for document in others if match(document)] == []


@pytest.mark.parametrize(
    ("given", "pointer", "detail"),
    [
        ({"$expr": {"$foo": 1}}, "/$expr/$foo", "unknown operator"),
        ({"a": {"$expr": {}}}, "/a/$expr", "stands at the top of a filter"),
        ({"a": {"$elemMatch": {"$expr": {"$eq": [1, 1]}}}}, "/a/$elemMatch/$expr", "not within $elemMatch"),
        ({"$and": [{"$expr": {"$add": []}}] * 129}, "", "at most 128 are allowed"),
    ],
    ids=str,
)
def test_a_mistake_in_expr_is_refused(given: Any, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_filter(given, "", ExpressionParser())

    assert (refused.value.pointer, detail in refused.value.detail) == (pointer, True)
    assert refused.value.code in ("invalid_filter", "invalid_expression")


def test_an_expression_that_fails_in_a_filter_says_where() -> None:
    match = compile_filter(parse_filter({"$expr": {"$gt": [{"$add": ["$a", 1]}, 1]}}, "/filter", ExpressionParser()))

    assert match({"a": 1})
    with pytest.raises(InvalidPart) as failed:
        match({"a": "x"})
    assert (failed.value.code, failed.value.pointer) == ("expression_failed", "/filter/$expr/$gt/0/$add")
