"""Random expressions over random documents: they give a JSON value, or are refused as a request is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.documents.expressions import ExpressionParser, Scope, compile_expression, weigh
from collectionstore_node.documents.expressions.operators import OPERATORS
from collectionstore_node.documents.values import MISSING, equal
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.tests.documents.json_values import DOCUMENTS, VALUES

EXTREMES = st.sampled_from(
    [1e308, -1e308, 5e-324, (1 << 64) - 1, -(1 << 63), 1e15, -1, 0, 0.0, -0.0, "1", "-5.5", "é", "a.b", "$a", "int", 31]
)
LEAVES = st.one_of(
    st.sampled_from(["$a", "$b", "$a.b", "$0", "$$ROOT", "$$REMOVE", "$$this", "$$value"]),
    VALUES.map(lambda value: {"$literal": value}),
    EXTREMES.map(lambda value: {"$literal": value}),
)


def _calls(inner: Any) -> Any:
    positional = st.tuples(
        st.sampled_from(sorted(name for name, one in OPERATORS.items() if not one.names)),
        st.lists(inner, max_size=4),
    ).map(lambda pair: {pair[0]: pair[1]})
    named = st.sampled_from(sorted(name for name, one in OPERATORS.items() if one.names)).flatmap(
        lambda name: st.fixed_dictionaries(
            {one: inner for one in OPERATORS[name].names[: OPERATORS[name].least]},
            optional={one: inner for one in OPERATORS[name].names[OPERATORS[name].least :]},
        ).map(lambda arguments: {name: arguments})
    )
    special = st.one_of(
        st.tuples(inner, inner).map(lambda two: {"$map": {"input": two[0], "in": two[1]}}),
        st.tuples(inner, inner).map(lambda two: {"$filter": {"input": two[0], "cond": two[1]}}),
        st.tuples(inner, inner, inner).map(
            lambda three: {"$reduce": {"input": three[0], "initialValue": three[1], "in": three[2]}}
        ),
        st.tuples(inner, inner, inner).map(lambda three: {"$cond": list(three)}),
        st.tuples(inner, inner).map(lambda two: {"$ifNull": list(two)}),
        st.tuples(inner, inner).map(lambda two: {"$let": {"vars": {"this": two[0]}, "in": two[1]}}),
        inner.map(lambda one: {"$sortArray": {"input": one, "sortBy": {"a.b": -1}}}),
        inner.map(lambda one: {"$regexMatch": {"input": one, "regex": "^[a-z]+"}}),
        st.lists(inner, max_size=3).map(lambda some: {"$or": some}),
    )
    return st.one_of(positional, named, special, st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2))


EXPRESSIONS = st.recursive(LEAVES, _calls, max_leaves=8)


def _computed(given: Any, document: dict[str, Any]) -> Any:
    parser = ExpressionParser()
    node = parser.parse({"$let": {"vars": {"this": "$a", "value": "$b"}, "in": given}}, "/x")
    scope = Scope(parser.slots)
    scope.begin(document)
    return compile_expression(node)(scope)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, DOCUMENTS)
def test_an_expression_gives_a_json_value_or_is_refused(expression: Any, document: dict[str, Any]) -> None:
    """Any other exception than a refusal fails here."""
    before = repr(document)

    with suppress(InvalidRequest):
        value = _computed(expression, document)
        if value is not MISSING:
            assert weigh(value) > 0
            # As it is answered, kept and read again.
            assert equal(orjson.loads(orjson.dumps(value)), value)
    assert repr(document) == before
