"""Files of a local cluster on a full disk: written with space of the reserve, as long as that lasts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from collectionstore_local.state import directory
from collectionstore_local.state.directory import RESERVE, RESERVE_BYTES, RESERVE_STEP_BYTES, StateDirectory


@pytest.fixture
def cluster(tmp_path: Path) -> directory.ClusterDirectory:
    """Return a cluster whose reserve is filled."""
    made = StateDirectory(tmp_path / "state").create_cluster("demo")
    with made.edit_lock():
        pass
    assert (made.path / RESERVE).stat().st_blocks * 512 >= RESERVE_BYTES, "real blocks"
    return made


def test_write_on_a_full_disk_spends_a_part_of_the_reserve(cluster: directory.ClusterDirectory) -> None:
    failures = [OSError(errno.ENOSPC, "full")]
    written: list[int] = []

    def write() -> None:
        if failures:
            raise failures.pop()
        written.append((cluster.path / RESERVE).stat().st_size)

    directory.with_reserve(cluster.path / "nodes" / "demo-0" / "process.json", write)
    assert written == [RESERVE_BYTES - RESERVE_STEP_BYTES]


def test_reserve_that_is_spent_and_other_errors_are_reported(cluster: directory.ClusterDirectory) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "full")

    def broken() -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        directory.with_reserve(cluster.status, broken)
    assert (cluster.path / RESERVE).stat().st_size == RESERVE_BYTES
    for _ in range(RESERVE_BYTES // RESERVE_STEP_BYTES + 1):
        with pytest.raises(OSError, match="full"):
            directory.with_reserve(cluster.status, full)
    assert (cluster.path / RESERVE).stat().st_size == 0
    with cluster.edit_lock():
        assert (cluster.path / RESERVE).stat().st_size == RESERVE_BYTES, "filled again when there is space"
