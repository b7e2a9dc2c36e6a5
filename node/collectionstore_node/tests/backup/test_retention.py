"""What retention deletes, and what it never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.backup.retention import Found, prune, would_delete_last

NOW = datetime(2026, 6, 30, tzinfo=UTC)
DAY = 86_400.0


def found(days_ago: float, *, complete: bool = True, intact: bool = True, number: int = 0, of: str = "shop") -> Found:
    started = NOW - timedelta(days=days_ago)
    return Found(
        f"{started:%Y%m%dT%H%M%SZ}-{number:08x}", started, complete, complete and intact, of if complete else ""
    )


def ids(*several: Found) -> list[str]:
    return [one.id for one in several]


A, B, C, D = found(10), found(5), found(2), found(0.5)
DAMAGED = found(1, intact=False)
LEFT, RUNNING = found(3, complete=False), found(0.1, complete=False)


@pytest.mark.parametrize(
    ("listed", "last", "within_days", "keep", "delete"),
    [
        ([A, B, C, D], 2, 0, [C, D], [A, B]),
        ([A, B, C, D], 1, 0, [D], [A, B, C]),
        ([A, B, C, D], 1, 6, [B, C, D], [A]),
        ([A, B, C, D], 9, 0, [A, B, C, D], []),
        ([D, A, C, B], 2, 0, [C, D], [A, B]),
        ([A], 1, 0, [A], []),
        ([A, DAMAGED], 1, 0, [A], []),
        ([A, B, DAMAGED, LEFT], 1, 0, [B], [A]),
        ([], 1, 0, [], []),
    ],
)
def test_the_policy(listed: list[Found], last: int, within_days: int, keep: list[Found], delete: list[Found]) -> None:
    decided = prune(listed, NOW, keep_last=last, keep_within_s=within_days * DAY, unfinished_after_s=DAY)

    assert decided.keep == ids(*keep)
    assert decided.delete == ids(*delete)


def test_leftovers_go_when_no_run_can_be_behind_them() -> None:
    decided = prune([A, LEFT, RUNNING, DAMAGED], NOW, keep_last=1, keep_within_s=0, unfinished_after_s=DAY)

    assert decided.leftovers == ids(LEFT)
    assert decided.damaged == ids(DAMAGED)


_listed = st.lists(
    st.builds(
        found,
        st.floats(0, 100),
        complete=st.booleans(),
        intact=st.booleans(),
        of=st.sampled_from(["shop", "bank"]),
        number=st.integers(0, 2**32 - 1),
    ),
    max_size=20,
    unique_by=lambda one: one.id,
)


@given(_listed, st.integers(-3, 10), st.floats(0, 50), st.floats(0, 5))
def test_the_newest_intact_backup_always_stays(listed: list[Found], last: int, days: float, unfinished: float) -> None:
    decided = prune(listed, NOW, keep_last=last, keep_within_s=days * DAY, unfinished_after_s=unfinished * DAY)

    intact = sorted(one.id for one in listed if one.intact)
    assert sorted(decided.keep + decided.delete) == intact
    for cluster in ("shop", "bank"):
        own = sorted(one.id for one in listed if one.intact and one.cluster_id == cluster)
        kept = [one for one in decided.keep if one in own]
        assert own[-1:] == kept[-1:]
        assert len(kept) >= min(max(1, last), len(own))
    gone = {*decided.delete, *decided.leftovers}
    assert not gone & {one.id for one in listed if one.complete and not one.intact}
    assert all(NOW - one.started >= timedelta(days=days) for one in listed if one.id in decided.delete)


def test_the_last_one_is_recognized() -> None:
    assert would_delete_last([A, DAMAGED, LEFT], A.id)
    assert not would_delete_last([A, B], A.id)
    assert not would_delete_last([A, DAMAGED], DAMAGED.id)


def test_each_cluster_of_a_repository_is_judged_by_itself() -> None:
    """Seven newer backups of one cluster are no reason to delete the only one of another."""
    other = found(50, of="bank")
    several = [found(days) for days in range(1, 9)]

    decided = prune([other, *several], NOW, keep_last=7, keep_within_s=0, unfinished_after_s=DAY)

    assert other.id in decided.keep
    assert decided.delete == [several[-1].id]
    assert would_delete_last([other, *several], other.id)
    assert not would_delete_last([other, *several], several[0].id)
