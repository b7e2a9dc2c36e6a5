"""Pipelines agree with a slow, obvious reference on random stages and documents."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.query.aggregation import Work, parse_pipeline
from collectionstore_node.tests.documents.json_values import VALUES
from collectionstore_node.tests.query import reference_pipeline
from collectionstore_node.tests.query.running import MEMORY_BYTES, run

FIELDS = st.sampled_from(["a", "b", "0"])
PATHS = st.sampled_from(["a", "b", "a.b", "a.a", "b.0", "_id"])
DOCUMENTS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=3), max_size=6).map(
    lambda found: [{"_id": at, **document} for at, document in enumerate(found)]
)
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$lte"]), VALUES).map(lambda pair: dict([pair])),
    st.booleans().map(lambda there: {"$exists": there}),
)
EXPRESSIONS = st.one_of(PATHS.map(lambda path: f"${path}"), st.sampled_from([None, 1, 0.5]))
ACCUMULATORS = st.tuples(
    st.sampled_from(["$sum", "$avg", "$min", "$max", "$push", "$addToSet", "$first", "$last"]), EXPRESSIONS
).map(lambda pair: dict([pair]))
GROUPS = st.tuples(
    st.one_of(EXPRESSIONS, st.dictionaries(FIELDS, EXPRESSIONS, min_size=1, max_size=2)),
    st.dictionaries(FIELDS, ACCUMULATORS, max_size=3),
).map(lambda pair: {"$group": {"_id": pair[0], **pair[1]}})
UNWINDS = st.tuples(FIELDS.filter(str.isalpha), st.booleans(), st.booleans()).map(
    lambda given: {
        "$unwind": {
            "path": f"${given[0]}",
            "preserveNullAndEmptyArrays": given[1],
            **({"includeArrayIndex": "at"} if given[2] else {}),
        }
    }
)
SORTS = st.dictionaries(PATHS, st.sampled_from([1, -1]), min_size=1, max_size=2).map(lambda order: {"$sort": order})
BUCKETS = EXPRESSIONS.map(
    lambda by: {"$bucket": {"groupBy": by, "boundaries": [0, 0.5, 1, 1 << 53], "default": "other"}}
)
SIMPLE = st.one_of(
    st.dictionaries(PATHS, OPERATORS, max_size=2).map(lambda found: {"$match": found}),
    GROUPS,
    SORTS,
    UNWINDS,
    BUCKETS,
    st.dictionaries(FIELDS, PATHS.map(lambda path: f"${path}"), min_size=1, max_size=3).map(
        lambda found: {"$project": found}
    ),
    st.integers(1, 4).map(lambda count: {"$limit": count}),
    st.integers(0, 3).map(lambda count: {"$skip": count}),
)
FACETS = st.dictionaries(FIELDS, st.lists(SIMPLE, max_size=3), min_size=1, max_size=3).map(
    lambda found: {"$facet": found}
)
STAGES = st.lists(st.one_of(SIMPLE, SIMPLE, SIMPLE, SIMPLE, FACETS), max_size=5)


@settings(max_examples=400, deadline=None)
@given(STAGES, DOCUMENTS)
def test_a_pipeline_makes_what_the_reference_says(
    stages: list[dict[str, Any]], documents: list[dict[str, Any]]
) -> None:
    expected = reference_pipeline.run(stages, documents)

    assert repr(run(stages, documents)) == repr(expected)


@settings(max_examples=100, deadline=None)
@given(STAGES, DOCUMENTS)
def test_pauses_change_nothing(stages: Any, documents: list[dict[str, Any]]) -> None:
    """A pipeline that pauses wherever it can makes the same."""
    expected = run(stages, documents)

    work = AlwaysDue(parse_pipeline(stages).slots, MEMORY_BYTES)
    assert repr(run(stages, documents, None, work)) == repr(expected)


class AlwaysDue(Work):
    """Wants a pause everywhere."""

    __slots__ = ()

    @property
    def due(self) -> bool:
        return True
