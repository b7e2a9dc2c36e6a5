"""When and where the log is cut."""

from __future__ import annotations

import pytest

from collectionstore_node.raft.messages import Index, SnapshotMetadata, Term
from collectionstore_node.replica.persistence.compaction_policy import CompactionPolicy


def mark(index: int) -> SnapshotMetadata:
    return SnapshotMetadata(Index(index), Term(1))


@pytest.mark.parametrize(
    ("commands", "size", "due"),
    [
        pytest.param(999, 0, False, id="below-both"),
        pytest.param(1_000, 0, True, id="commands"),
        pytest.param(1, 49, False, id="half-the-bytes-less-one"),
        pytest.param(1, 50, True, id="half-the-bytes"),
    ],
)
def test_mark_is_due_by_commands_or_bytes(commands: int, size: int, *, due: bool) -> None:
    compaction = CompactionPolicy(commands_max=1_000, bytes_max=100)
    compaction.applied(commands, size)
    assert compaction.due is due


def test_log_is_cut_one_generation_behind() -> None:
    compaction = CompactionPolicy(commands_max=10, bytes_max=1 << 30)
    assert compaction.advance(mark(10)) is None
    compaction.applied(10, 1)
    assert compaction.due
    assert compaction.advance(mark(20)) == mark(10)
    assert not compaction.due


def test_installed_snapshot_forgets_marks_from_before() -> None:
    compaction = CompactionPolicy(commands_max=10, bytes_max=1 << 30)
    compaction.advance(mark(10))
    compaction.reset()
    assert compaction.advance(mark(500)) is None
