"""A cluster has at most one supervisor, and csctl can wake it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collectionstore_local.processes.supervisor_process import is_supervised, wake_supervisor
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.supervisor_lock import AlreadySupervised, acquire_supervisor_lock, listen_for_wakeups


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("demo")


def test_a_cluster_has_one_supervisor(directory: ClusterDirectory) -> None:
    """The second is refused; once the first has ended, another can start."""
    assert not is_supervised(directory)
    with acquire_supervisor_lock(directory):
        assert is_supervised(directory)
        with pytest.raises(AlreadySupervised):
            acquire_supervisor_lock(directory)
    assert not is_supervised(directory)
    acquire_supervisor_lock(directory).close()


async def test_wake_supervisor_wakes_the_supervisor(directory: ClusterDirectory) -> None:
    """False without a supervisor; many wake-ups in a row are harmless."""
    woken = asyncio.Event()
    assert not wake_supervisor(directory)
    close = listen_for_wakeups(directory, woken.set)
    for _ in range(100_000 // 64):
        assert wake_supervisor(directory)
    async with asyncio.timeout(10):
        await woken.wait()
    close()
    assert not wake_supervisor(directory)
