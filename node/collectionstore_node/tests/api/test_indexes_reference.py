"""docs/reference/indexes.md describes what the code does."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.indexes.definition import DEFINITION_BYTES_MAX, FIELDS_MAX, INDEXES_MAX
from collectionstore_node.indexes.encoding import KEY_BYTES_MAX, LONG_PREFIX_BYTES
from collectionstore_node.indexes.entries import ENTRIES_MAX
from collectionstore_node.query.planning import PROBE_KEYS
from collectionstore_node.service.index_reads import GATHERED_MAX
from collectionstore_node.statemachine.costs import BUILD_BYTES, BUILD_DOCUMENTS, BUILD_ENTRIES

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "indexes.md").read_text()


def test_limits_of_indexes_are_as_written() -> None:
    assert f"A collection has up to {INDEXES_MAX}." in PAGE
    assert f"1 to {FIELDS_MAX} [paths]" in PAGE
    assert f"at most {DEFINITION_BYTES_MAX >> 10} KiB together" in PAGE
    assert f"at most {ENTRIES_MAX:,} entries in an index" in PAGE
    assert f"longer than {KEY_BYTES_MAX} bytes is indexed by its first {LONG_PREFIX_BYTES} bytes" in PAGE
    assert f"at most {BUILD_DOCUMENTS} documents, {BUILD_BYTES >> 10} KiB or some {BUILD_ENTRIES:,} entries" in PAGE
    assert f"counted, up to {PROBE_KEYS} entries" in PAGE
    assert f"more than {GATHERED_MAX:,} of them" in PAGE
