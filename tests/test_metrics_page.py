"""docs/reference/metrics.md says what both programs tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("metrics_page")

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 60


def test_page_is_that_of_the_tables() -> None:
    command = [sys.executable, "docs/generate_metrics.py"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert checked.returncode == 0, checked.stderr
