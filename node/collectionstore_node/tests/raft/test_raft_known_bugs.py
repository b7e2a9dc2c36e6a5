"""The list of known bugs and the tests agree."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_known_bug_has_a_test_that_cites_it() -> None:
    listed = set(re.findall(r"^\| ([SLN]\d+) \|", (HERE / "KNOWN_BUGS.md").read_text(), re.MULTILINE))
    cited = {label for path in HERE.glob("test_*.py") for label in re.findall(r"\b[SLN]\d+\b", path.read_text())}
    assert listed == cited
