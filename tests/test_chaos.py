"""The chaos program, for a moment: real processes, a few kinds of faults, a checked history."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("chaos")

COMMAND = (sys.executable, "-m", "collectionstore_chaos")
KINDS = "kill-leader,isolate,corrupt,wal-flip"
DEADLINE_S = 420


def test_short_storm_breaks_no_promise(tmp_path: Path) -> None:
    """Faults were made, operations succeeded, the verdict is good, and nothing is left of the cluster."""
    arguments = [
        "--minutes",
        "0.25",
        "--seed",
        "1",
        "--only",
        KINDS,
        "--bank",
        "--base-port",
        str(free_base_port(60, within=range(10_000, 20_000))),
    ]
    done = subprocess.run(
        [*COMMAND, *arguments, "--folder", str(tmp_path), "-o", "json"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["verdict"] == "good"
    assert sum(fault["count"] for fault in result["faults"].values()) >= 2
    assert sum(counts.get("ok", 0) for counts in result["operations"].values()) > 100
    assert sum(count for name, count in result["transactions"].items() if name.endswith("committed")) > 20
    assert result["compared_keys"] > 0
    assert result["most_damaged"] <= result["disks_max"] == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_kind_of_fault_is_named_with_those_there_are() -> None:
    done = subprocess.run([*COMMAND, "--only", "kill,earthquake"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "earthquake; allowed: kill, kill-leader, kill-all" in done.stderr
