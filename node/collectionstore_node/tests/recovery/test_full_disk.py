"""A disk that becomes full while a survivor is made the first member of a new cluster."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.recovery import recover
from collectionstore_node.recovery.rewrite import RecoveryStep, recovery_steps
from collectionstore_node.storage import Database
from collectionstore_node.tests.backup.small_disk import SmallDisk, mounted
from collectionstore_node.tests.recovery.test_rewrite import LAST, NEW, fill


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk") as found:
        yield found


@pytest.mark.parametrize("done", range(len(RecoveryStep)))
def test_a_recovery_on_a_full_disk_says_so_and_is_completed_when_there_is_room(disk: SmallDisk, done: int) -> None:
    """Init: a survivor. Step: its disk is full behind each step of the recovery, which goes on; then there is room.

    Check: it fails with what is wrong, or needed no room. Meanwhile the directory is that of the old member, or is
    refused, or is complete; the next recovery completes it, with every entry of the log.
    """
    directory = disk.path / "data"
    instruction = fill(directory)
    steps = recovery_steps(directory, instruction, NEW)
    assert len(list(islice(steps, done))) == done
    disk.fill()
    said = ""
    try:
        list(steps)
    except (OSError, StorageFailed) as error:
        said = str(error)
    assert "No space left on device" in said or (done > 0 and not said), "the mark cannot be written on a full disk"

    disk.empty()
    try:
        Database.open(directory, cluster_id="old", name="n1").close()
    except DataDirectoryRefused:
        pass  # marked, or of the new cluster: never half of both
    else:
        assert done <= 1
    recovered = recover(directory, instruction, NEW)
    assert recovered.applied_index >= LAST
    Database.open(directory, cluster_id="new", name="n1").close()
