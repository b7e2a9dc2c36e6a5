"""Real I/O errors: the node stops at the first, and what it was writing is unknown, never failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collectionstore_node.errors import StorageFailed
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.tests.storage.entries import contents, open_database

AFTERWARDS = {
    "append again",
    "sync again",
    "entries",
    "term",
    "get",
    "scan",
    "commit",
    "compact",
    "export",
    "property of a family",
    "property of the whole",
}


def run_with_failing_disk(directory: Path, how: str) -> dict[str, str]:
    """Return what each call raised in a process whose disk fails."""
    command = [sys.executable, "-m", "collectionstore_node.tests.storage.failing_disk", str(directory), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    raised: dict[str, str] = json.loads(done.stdout)
    return raised


@pytest.mark.parametrize("how", ["fsync", "tail_marker", "write"])
def test_first_error_stops_everything(tmp_path: Path, how: str) -> None:
    """EIO from an fsync, of the WAL or of the tail marker, or a write that fails: no later call does anything.

    After a restart everything acknowledged is there; the entry whose sync failed may be (raft.md 6.2: it was).
    """
    raised = run_with_failing_disk(tmp_path, how)
    first = "append" if how == "write" else "sync"
    assert raised[first] == "StorageFailed"
    if first == "sync":
        assert raised["append"] == "nothing"
    assert {raised[name] for name in AFTERWARDS} == {"StorageFailed"}

    restarted = open_database(tmp_path)
    assert restarted.log.last_index() in ((3,) if how == "write" else (3, 4))
    assert contents(restarted) == {b"a": b"1"}
    restarted.close()


def test_first_error_is_the_one_told() -> None:
    """Later ones are its consequences."""
    failstop = FailStop()
    assert "sync the WAL: EIO" in str(failstop.fail("sync the WAL", "EIO"))
    assert "first error: sync the WAL: EIO" in str(failstop.fail("write", "has previous error"))
    failstop.close()
    with pytest.raises(StorageFailed, match=r"^sync the WAL: EIO$"):
        failstop.check()
