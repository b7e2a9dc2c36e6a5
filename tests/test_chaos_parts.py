"""The parts of the chaos program that decide what may be broken, and that break files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from collectionstore_chaos.budget import Budget, NotNow
from collectionstore_testkit.faults.disks import flip_bit, wipe


@pytest.mark.parametrize(("nodes", "disks"), [(3, 1), (5, 2)])
def test_budget_never_lets_more_than_a_minority_of_the_disks_be_damaged(nodes: int, disks: int) -> None:
    budget = Budget(nodes)
    for number in range(disks):
        budget.damage(f"n-{number}")
    with pytest.raises(NotNow, match="must be whole again first"):
        budget.damage("n-9")
    with pytest.raises(NotNow, match="damaged"):
        budget.damage("n-0")
    budget.repaired("n-0")
    budget.damage("n-9")
    assert budget.most_damaged == disks


def test_budget_gives_a_member_one_fault_at_a_time() -> None:
    budget = Budget(3)
    with budget.member("n-0"):
        assert not budget.is_free("n-0")
        with pytest.raises(NotNow, match="n-0 has a fault already"), budget.member("n-1", "n-0"):
            raise AssertionError("never reached")
        assert budget.is_free("n-1")
    assert budget.is_free("n-0")


def test_flipped_bit_is_exactly_one_of_one_file_of_the_kind(tmp_path: Path) -> None:
    """The same one for the same chance; nothing at all when there is no such file."""
    (tmp_path / "rocks").mkdir()
    assert flip_bit(tmp_path, ".log", random.Random(1)) is None
    before = {"000001.log": bytes(1000), "000002.log": bytes(range(256)), "000003.sst": bytes(100), "empty.log": b""}
    for name, content in before.items():
        (tmp_path / "rocks" / name).write_bytes(content)
    reported = flip_bit(tmp_path, ".log", random.Random(1))
    after = {name: (tmp_path / "rocks" / name).read_bytes() for name in before}
    (changed,) = [name for name in before if after[name] != before[name]]
    assert reported is not None
    assert changed in reported
    assert changed.endswith(".log")
    flipped = [one ^ other for one, other in zip(before[changed], after[changed], strict=True) if one != other]
    assert [byte.bit_count() for byte in flipped] == [1]
    assert flip_bit(tmp_path, ".log", random.Random(1)) == reported
    assert (tmp_path / "rocks" / changed).read_bytes() == before[changed]


def test_wiped_disk_is_empty_and_still_there_behind_its_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "rocks").mkdir(parents=True)
    (tmp_path / "disk" / "IDENTITY").write_text("{}")
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    wipe(tmp_path / "data")
    assert list((tmp_path / "disk").iterdir()) == []
    assert (tmp_path / "data").is_dir()
