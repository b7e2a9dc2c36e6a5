"""How fast a backup reads, and how much of the processor it takes."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.backup import create, parts
from collectionstore_node.backup.pacing import CREDIT_S, RATE_MIN, Pace
from collectionstore_node.backup.repository import SYNC_BYTES, Repository
from collectionstore_node.backup.yielding import Yielding

RATE = 4 << 20


class Clock:
    """Time that passes by sleeping, and as a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_a_fast_source_is_read_at_the_rate() -> None:
    clock = Clock()
    pace = Pace(RATE, clock, clock.sleep)
    for _ in range(400):
        pace.after(RATE // 40)
    assert clock.now == pytest.approx(110.0)


def test_a_slow_source_is_not_delayed_and_saves_up_little() -> None:
    """Init: a source that gave nothing for an hour. Check: then at most CREDIT_S are made up for."""
    clock = Clock()
    pace = Pace(RATE, clock, clock.sleep)
    for _ in range(10):
        clock.now += 1.0
        before = clock.now
        pace.after(RATE // 2)
        assert clock.now == before
    clock.now += 3600
    began = clock.now
    for _ in range(32):
        pace.after(RATE // 8)
    assert clock.now - began == pytest.approx(4.0 - CREDIT_S)


def test_parts_are_compressed_one_at_a_time_and_stored_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Init: a store whose first two puts wait for each other. Check: both are under way; one part is compressed."""
    compressing = threading.Lock()
    together = threading.Barrier(create.WORKERS)
    compress, puts = parts.store_part, iter(range(100))

    def alone(*arguments: Any) -> Any:
        assert compressing.acquire(blocking=False)
        try:
            return compress(*arguments)
        finally:
            compressing.release()

    class Waiting(Repository):
        def put(self, name: str, data: bytes) -> None:
            if next(puts) < create.WORKERS:
                together.wait(30)
            super().put(name, data)

    monkeypatch.setattr(create, "store_part", alone)
    where, wanted = Waiting(str(tmp_path)), "20260102T030405Z-0123abcd"
    with create.PartWriter(where, wanted, None, lambda _: None, Yielding(), 100) as writer:
        for number in range(20):
            writer.write(bytes([number]) * 100)
        writer.finish()
        assert [part.bytes for part in writer.parts] == [100] * 20


@pytest.mark.parametrize("size", [0, 1, SYNC_BYTES, 3 * SYNC_BYTES - 1])
def test_what_is_stored_in_a_directory_goes_to_the_disk_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Every byte of it, and none twice: what the log of a member has to sync waits for one piece."""
    written: list[tuple[int, int]] = []

    class Told(mmap.mmap):
        def flush(self, offset: int = 0, size: int = 0) -> None:
            written.append((offset, size))
            super().flush(offset, size)

    monkeypatch.setattr(mmap, "mmap", Told)
    store, content = Repository(str(tmp_path)), bytes(range(256)) * (size // 256 + 1)
    store.put("one", content[:size])
    store.settle_object("one")
    assert [at for at, _ in written] == list(range(0, size, SYNC_BYTES))
    assert sum(length for _, length in written) == size
    assert store.get("one", size) == content[:size]


@pytest.mark.parametrize("rate", [str(RATE_MIN - 1), "0", "-1", "fast"])
def test_a_rate_that_a_member_would_cut_is_refused(rate: str) -> None:
    where = ("--repository", "/nowhere/at/all", "--endpoint", "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "collectionstore_node.backup", "create", *where, "--max-bytes-per-second", rate],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--max-bytes-per-second" in done.stderr
