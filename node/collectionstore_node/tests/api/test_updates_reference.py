"""docs/reference/updates.md describes what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from collectionstore_node.documents.regexes import PATTERNS_MAX
from collectionstore_node.documents.updates.budget import DEPTH_MAX, STEPS_MAX
from collectionstore_node.documents.updates.conditions import SEARCH_STEP
from collectionstore_node.documents.updates.json_patch import OPERATIONS_MAX
from collectionstore_node.documents.updates.operators import ARRAY_FILTERS_MAX
from collectionstore_node.documents.updates.parsing import CLAUSES_MAX, NAMES
from collectionstore_node.service import StoreLimits
from collectionstore_node.service.updates import (
    ATTEMPTS_MAX,
    BATCH_DOCUMENTS,
    BULK_ITEMS_MAX,
    MANY_DOCUMENTS,
    MANY_DOCUMENTS_MAX,
    TIME_SHARE,
)
from collectionstore_node.statemachine.costs import (
    FILTER_BYTES_MAX,
    TRANSACTION_PATTERNS_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_VALUES_MAX,
)
from collectionstore_node.statemachine.levels import ENGINE

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "updates.md").read_text()


def test_limits_of_updates_are_as_written() -> None:
    assert f"{UPDATE_BYTES_MAX:,} bytes and {UPDATE_VALUES_MAX:,} values in an update" in PAGE
    assert f"{FILTER_BYTES_MAX:,} bytes in its filter" in PAGE
    assert f"{CLAUSES_MAX} paths, or operations of a JSON Patch; {ARRAY_FILTERS_MAX} array filters" in PAGE
    assert f"{PATTERNS_MAX} patterns, and as many in the filter" in PAGE
    assert f"{TRANSACTION_PATTERNS_MAX} in the updates of a transaction" in PAGE
    assert OPERATIONS_MAX == CLAUSES_MAX
    assert f"(1 MiB), nested {DEPTH_MAX} deep" in PAGE
    assert f"{STEPS_MAX:,} steps" in PAGE
    assert f"one for {SEARCH_STEP} instructions" in PAGE
    assert f"up to {ATTEMPTS_MAX} times" in PAGE
    assert f"Up to {BATCH_DOCUMENTS} are under way" in PAGE
    assert f"(1 to {MANY_DOCUMENTS_MAX:,}, default {MANY_DOCUMENTS:,})" in PAGE
    assert "half of its `timeout`" in PAGE
    assert TIME_SHARE == 0.5
    assert f"| {BULK_ITEMS_MAX:,} | one after the other" in PAGE
    assert f"| {StoreLimits().transaction_items_max} | as one transaction" in PAGE
    assert f"feature level {ENGINE}" in PAGE


def test_every_operator_of_updates_is_described() -> None:
    table = PAGE.partition("## Operators")[2].partition("**Paths**")[0]
    assert set(re.findall(r"`(\$[a-zA-Z]+)`", table)) >= set(NAMES)
