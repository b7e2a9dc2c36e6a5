"""Which IDs a filter leaves possible."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.documents.filters import compile_filter, parse_filter
from collectionstore_node.query.spans import EVERYTHING, NONE, Ids, Place, Span, ids_of


@pytest.mark.parametrize(
    ("given_filter", "place"),
    [
        ({}, EVERYTHING),
        ({"a": 1}, EVERYTHING),
        ({"_id": "x"}, Ids(("x",))),
        ({"_id": "x", "a": 1}, Ids(("x",))),
        ({"_id": 5}, NONE),
        ({"_id": None}, NONE),
        ({"_id": {"$in": ["b", "a", "b", 7]}}, Ids(("a", "b"))),
        ({"_id": {"$in": [{"$regex": "x"}]}}, EVERYTHING),
        ({"_id": {"$gte": "b", "$lt": "d"}}, Span("b", "d")),
        ({"_id": {"$gt": "b", "$lte": "d"}}, Span("b\0", "d\0")),
        ({"_id": {"$gt": 5}}, NONE),
        ({"_id": {"$gte": "b", "$in": ["a", "c"]}}, Ids(("c",))),
        ({"_id": {"$in": ["a", "c"], "$lt": "b"}}, Ids(("a",))),
        ({"$and": [{"_id": "x"}, {"_id": "y"}]}, NONE),
        ({"$or": [{"_id": "x"}, {"_id": {"$in": ["y"]}}]}, Ids(("x", "y"))),
        ({"$or": [{"_id": "x"}, {"a": 1}]}, EVERYTHING),
        ({"$or": [{"_id": {"$gt": "x"}}]}, EVERYTHING),
        ({"_id": {"$ne": "x"}}, EVERYTHING),
        ({"$nor": [{"_id": "x"}]}, EVERYTHING),
        ({"_id": {"$regex": "^2026-"}}, Span("2026-", "2026.")),
        ({"_id": {"$regex": "^ab*"}}, Span("a", "b")),
        ({"_id": {"$regex": "^a|b"}}, EVERYTHING),
        ({"_id": {"$regex": "^a(b|c)"}}, EVERYTHING),
        ({"_id": {"$regex": "^a.b"}}, Span("a", "b")),
        ({"_id": {"$regex": "a"}}, EVERYTHING),
        ({"_id": {"$regex": "^a", "$options": "i"}}, EVERYTHING),
        ({"_id": {"$regex": "^a?"}}, EVERYTHING),
        ({"_id.x": "y"}, EVERYTHING),
        ({"a": {"$elemMatch": {"_id": "x"}}}, EVERYTHING),
    ],
    ids=str,
)
def test_a_filter_narrows_the_ids(given_filter: dict[str, Any], place: Place) -> None:
    assert ids_of(parse_filter(given_filter)) == place


IDS = st.text(alphabet="ab-.\0", min_size=1, max_size=3)
ON_IDS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$gt", "$gte", "$lt", "$lte", "$ne"]), IDS | st.none() | st.just(1)),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(IDS | st.just(1), max_size=3)),
    st.tuples(st.just("$regex"), st.from_regex(r"\^?[ab-]{1,2}[*+?.]?[ab]?", fullmatch=True)),
).map(lambda pair: {"_id": {pair[0]: pair[1]}})
FILTERS = st.recursive(
    ON_IDS,
    lambda inner: st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    max_leaves=4,
)


@given(FILTERS, st.lists(IDS, max_size=8))
def test_every_match_is_in_the_place(given_filter: dict[str, Any], names: list[str]) -> None:
    node = parse_filter(given_filter)
    place, match = ids_of(node), compile_filter(node)

    for name in names:
        inside = name in place.names if isinstance(place, Ids) else name in place
        assert inside or not match({"_id": name})
