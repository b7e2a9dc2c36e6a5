"""The table of known bugs (`tests/scenarios/README.md`) and the tests of the core agree."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parent / "scenarios" / "README.md"


def test_every_known_bug_of_the_core_has_a_test_that_cites_it() -> None:
    """And no docstring cites a row that is not in the table."""
    rows = [line for line in TABLE.read_text().splitlines() if re.match(r"\| [SLN]\d+ \|", line)]
    labels = {row.split("|")[1].strip(): "raft/test_raft_" in row for row in rows}
    cited = {label for path in HERE.glob("test_*.py") for label in re.findall(r"\b[SLN]\d+\b", path.read_text())}
    assert cited <= labels.keys()
    assert {label for label, of_the_core in labels.items() if of_the_core} <= cited
