"""The shares of the memory sum to less than the limit, and the limit is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.memory import (
    LIMIT_BYTES_MIN,
    MIB,
    MemoryTooSmall,
    container_limit,
    memory_budget,
    table,
)
from collectionstore_node.part_settings import http_limits, storage_tuning
from collectionstore_node.ports import divide
from collectionstore_node.space import space_limits


@given(st.integers(LIMIT_BYTES_MIN, 1 << 42))
def test_shares_sum_to_less_than_the_limit(limit: int) -> None:
    budget = memory_budget(limit)
    assert sum(budget.shares.values()) <= limit
    assert min(budget.shares.values()) > 0
    # A memtable being filled and three that wait, of three families, must not pass the bound at once.
    assert budget.memtable_bytes * 2 <= budget.write_buffers_bytes


def test_larger_limits_never_shrink_a_share() -> None:
    before = memory_budget(LIMIT_BYTES_MIN)
    for limit in range(LIMIT_BYTES_MIN, 4096 * MIB, 64 * MIB):
        budget = memory_budget(limit)
        assert all(budget.shares[name] >= share for name, share in before.shares.items())
        before = budget


def test_too_small_a_limit_is_refused_with_what_to_change() -> None:
    with pytest.raises(MemoryTooSmall, match=r"255 MiB; .* at least 256 MiB: raise spec.resources.limits.memory"):
        memory_budget(LIMIT_BYTES_MIN - 1)


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("sys/fs/cgroup/memory.max", "536870912\n", 512 * MIB),
        ("sys/fs/cgroup/memory.max", "max\n", None),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n", 1024 * MIB),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("elsewhere", "1", None),
    ],
)
def test_limit_of_the_container_is_read(tmp_path: Path, name: str, text: str, limit: int | None) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert container_limit(tmp_path) == limit


def test_parts_take_their_shares() -> None:
    budget = memory_budget(512 * MIB)
    tuning = storage_tuning(budget, space_limits(300 * MIB), divide(1024, clients_wanted=256))
    assert tuning.block_cache_bytes == budget.block_cache_bytes
    assert tuning.write_buffers_bytes == budget.write_buffers_bytes
    assert http_limits(budget).unsent_bytes_max == budget.answers_bytes
    assert tuning.log_cache_bytes == budget.log_cache_bytes
    assert tuning.wal_bytes_max <= 300 * MIB // 16, "the reserve of a small volume covers it"


def test_documented_table_is_the_computed_one() -> None:
    page = Path(__file__).parents[3] / "docs/operate/capacity.md"
    assert table() in page.read_text()
