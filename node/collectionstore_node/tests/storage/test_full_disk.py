"""A full disk, with the kernel's ENOSPC: the node stops, and starts again once there is space (L18)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.tests.storage.entries import contents, open_database


def run_on_a_full_disk(directory: Path, count: int) -> dict[str, Any]:
    """Return the report of a process whose disk is full after `count` entries."""
    command = [sys.executable, "-m", "collectionstore_node.tests.storage.full_disk", str(directory), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reported: dict[str, Any] = json.loads(done.stdout)
    return reported


def check_whole(directory: Path, acknowledged: int) -> None:
    """Open as a node does, and find everything that was acknowledged."""
    database = open_database(directory)
    last, applied = database.log.last_index(), database.state.applied.index
    assert last >= acknowledged
    assert applied <= last
    assert contents(database) == {b"%06d" % index: b"%d" % index for index in range(1, applied + 1)}
    database.close()


@pytest.mark.parametrize("count", [0, 3, 31, 97])
def test_node_starts_again_after_its_disk_was_full(tmp_path: Path, count: int) -> None:
    """At every point between a write to the WAL and a flush to tables, and on a disk that is still full.

    Others ended in a loop of crashes (facebook/rocksdb#7784): tables were ahead of a WAL that had lost its end.
    """
    reported = run_on_a_full_disk(tmp_path, count)
    assert reported["error"] == "StorageFailed"
    assert "No space left" in reported["text"]
    assert reported["acknowledged"] >= count
    still_full = run_on_a_full_disk(tmp_path, -1)
    assert still_full["error"] == "StorageFailed", "not damaged, and nothing was deleted"
    check_whole(tmp_path, reported["acknowledged"])


def test_disk_that_is_full_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """Each start goes on from what the last one left."""
    acknowledged = 0
    for count in (5, 40, 1, 23):
        reported = run_on_a_full_disk(tmp_path, count)
        assert reported["error"] == "StorageFailed"
        assert reported["acknowledged"] >= acknowledged + count
        acknowledged = reported["acknowledged"]
    check_whole(tmp_path, acknowledged)
