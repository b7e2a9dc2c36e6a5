"""docs/reference/aggregation.md describes what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from collectionstore_node.documents.expressions.operators import OPERATORS
from collectionstore_node.documents.expressions.parsing import DEPTH_MAX as NESTED_MAX
from collectionstore_node.documents.expressions.parsing import NODES_MAX
from collectionstore_node.documents.expressions.scope import DEPTH_MAX as VALUE_DEPTH_MAX
from collectionstore_node.documents.expressions.scope import RANGE_MAX, STEPS_MAX, VALUE_BYTES_MAX
from collectionstore_node.documents.expressions.special import SPECIAL
from collectionstore_node.documents.regexes import PATTERNS_MAX
from collectionstore_node.query.aggregation.accumulators import SEVERAL, SIMPLE
from collectionstore_node.query.aggregation.faceting import FACETS_MAX
from collectionstore_node.query.aggregation.joining import BATCH_DOCUMENTS, VALUES_MAX
from collectionstore_node.query.aggregation.pipeline import JOINS_MAX, NAMES, STAGES_MAX
from collectionstore_node.query.sorting import KEY_BYTES_MAX
from collectionstore_node.service import StoreLimits

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "aggregation.md").read_text()


def test_limits_of_aggregation_are_as_written() -> None:
    limits = StoreLimits()

    assert f"{STAGES_MAX} stages" in PAGE
    assert f"{JOINS_MAX} `$lookup` and `$unionWith`, {FACETS_MAX} pipelines" in PAGE
    assert f"{NODES_MAX:,} parts of expressions, nested {NESTED_MAX} deep; {PATTERNS_MAX} patterns" in PAGE
    assert f"{limits.query_documents_max:,} documents and {limits.query_bytes_max >> 30} GiB read" in PAGE
    assert f"{STEPS_MAX:,} steps" in PAGE
    assert f"a `$range` of {RANGE_MAX:,}" in PAGE
    assert f"{VALUE_BYTES_MAX >> 20} MiB in a value or document that is built, {VALUE_DEPTH_MAX} deep" in PAGE
    assert f"{limits.query_memory_bytes_max >> 20} MiB kept" in PAGE
    assert f"{VALUES_MAX:,} values of one document" in PAGE
    assert f"{KEY_BYTES_MAX:,} bytes of what one document is sorted by" in PAGE
    assert f"{limits.list_items_max:,} documents, {limits.list_bytes_max >> 20} MiB in the answer" in PAGE
    assert f"once for each {BATCH_DOCUMENTS} documents" in PAGE


def test_all_stages_and_operators_are_on_the_page() -> None:
    documented = set(re.findall(r"\$[A-Za-z0-9]+", PAGE.partition("## Different")[0]))

    assert {*NAMES, *OPERATORS, *SPECIAL, *SIMPLE, *SEVERAL} - documented == set()
