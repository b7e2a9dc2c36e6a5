"""The compiled filter agrees with a slow, obvious reference on random filters and documents."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.documents.filters import compile_filter, compile_steps, parse_filter
from collectionstore_node.tests.documents.json_values import DOCUMENTS, VALUES
from collectionstore_node.tests.documents.reference_filter import matches

PATHS = st.sampled_from(["a", "b", "a.b", "a.a", "a.0", "a.1.b", "b.0.0", "a.b.a", "0", "1.a"])
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), VALUES),
    st.tuples(st.sampled_from(["$in", "$nin", "$all"]), st.lists(VALUES, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$size"), st.integers(0, 3)),
)
LOGICAL = st.sampled_from(["$and", "$or", "$nor"])
SIMPLE = st.dictionaries(PATHS, st.lists(OPERATORS, min_size=1, max_size=2).map(dict), min_size=1, max_size=2)


def _deeper(inner: Any) -> Any:
    return st.one_of(
        st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda x: {x[0]: x[1]}
        ),
        st.tuples(PATHS, inner).map(lambda x: {x[0]: {"$elemMatch": x[1]}}),
        st.tuples(PATHS, OPERATORS).map(lambda x: {x[0]: {"$not": {x[1][0]: x[1][1]}}}),
        st.tuples(PATHS, OPERATORS).map(lambda x: {x[0]: {"$elemMatch": {x[1][0]: x[1][1]}}}),
        st.tuples(PATHS, VALUES.filter(lambda v: not isinstance(v, dict))).map(lambda x: {x[0]: x[1]}),
    )


FILTERS = st.recursive(SIMPLE, _deeper, max_leaves=4)


@settings(max_examples=300)
@given(FILTERS, DOCUMENTS)
def test_a_filter_matches_as_the_reference_says(given_filter: dict[str, Any], document: dict[str, Any]) -> None:
    node = parse_filter(given_filter)
    wanted = matches(given_filter, document)

    assert compile_filter(node)(document) == wanted
    assert _result(compile_steps(node)(document)) == wanted


def _result(steps: Generator[None, None, bool]) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)
