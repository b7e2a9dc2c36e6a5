"""docs/reference/porting.md describes what the code does."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.api.budgets.uploads import RATE_MIN as BODY_RATE_MIN
from collectionstore_node.api.handlers.imports import PROGRESS_S, RECORD_BYTES
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.options import FORMATS, IMPORT_ERRORS_MAX, IMPORT_MODES, default_options
from collectionstore_node.porting.cells import CellType
from collectionstore_node.porting.tables import COLUMNS_MAX
from collectionstore_node.service.document_exports import EXPORTS_MAX, GRACE_S, LASTS_S, RATE_MIN
from collectionstore_node.service.imports import BATCH_BYTES, BATCH_LINES, IMPORTS_MAX, Mode
from collectionstore_node.statemachine.dedupe import LIMITS

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "porting.md").read_text()


def test_limits_are_as_written() -> None:
    assert f"at most {EXPORTS_MAX} exports at a time" in PAGE
    assert f"less than {RATE_MIN >> 10} KiB/s, beyond the first {GRACE_S:g} s" in PAGE
    assert "longer than an hour" in PAGE
    assert LASTS_S == 3_600
    assert f"{IMPORTS_MAX} imports at a time" in PAGE
    assert f"up to {BATCH_LINES} lines or {BATCH_BYTES >> 20} MiB" in PAGE
    assert f"(0 to {IMPORT_ERRORS_MAX:,}, default {default_options(HttpLimits()).max_errors})" in PAGE
    assert "once a second" in PAGE
    assert PROGRESS_S == 1
    assert f"less than {BODY_RATE_MIN >> 10} KiB/s" in PAGE
    assert f"{COLUMNS_MAX:,} columns" in PAGE
    assert f"a line or record {RECORD_BYTES >> 10} KiB more" in PAGE
    assert f"of its {LIMITS.entries_max:,} places" in PAGE


def test_choices_are_as_written() -> None:
    rows = PAGE.partition("| `mode` |")[2]
    assert all(f"| `{mode}`" in rows for mode in IMPORT_MODES)
    assert sorted(mode.value for mode in Mode) == sorted(IMPORT_MODES)
    assert all(f"`{kind.value}`" in PAGE for kind in CellType)
    assert FORMATS == ("csv", "ndjson")
