"""How far an archive is behind, by what it read, what it stored, and when the members were asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.backup.archive_lag import ANSWERS_MAX, LagMeter


def test_an_archive_that_stores_at_once_is_as_far_behind_as_its_last_question() -> None:
    meter = LagMeter(10, 0.0)
    meter.read(last=12, size=200, applied=12, revision=7, asked=5.0)
    assert meter.lag().described(6.0)["lag_seconds"] == 6.0  # nothing is stored yet
    assert (meter.lag().archived, meter.lag().bytes, meter.lag().revisions) == (10, 200, None)

    meter.stored(12)

    assert meter.lag().described(6.0) == {
        "archived_index": 12,
        "applied_index": 12,
        "lag_entries": 0,
        "lag_seconds": 1.0,
        "lag_revisions": 0,
        "lag_bytes": 0,
    }


def test_entries_that_were_not_read_count_by_the_mean_size() -> None:
    meter = LagMeter(10, 0.0)
    meter.read(last=12, size=200, applied=12, revision=7, asked=1.0)
    meter.stored(12)
    meter.read(last=14, size=400, applied=24, revision=30, asked=9.0)
    lag = meter.lag()
    assert (lag.archived, lag.applied, lag.bytes, lag.revisions) == (12, 24, 400 + 10 * 150, 23)

    meter.stored(14)

    # The cluster is further than what is stored: nothing newer than the first question is covered.
    assert meter.lag().described(10.0)["lag_seconds"] == 9.0


def test_an_empty_answer_says_that_the_archive_has_caught_up() -> None:
    meter = LagMeter(10, 0.0)
    meter.read(last=10, size=0, applied=10, revision=3, asked=8.0)
    assert meter.lag().described(9.0)["lag_seconds"] == 1.0
    assert meter.lag().revisions == 0


def test_the_seconds_grow_while_nothing_is_stored() -> None:
    """The store does not answer: what is pending is lost with the cluster."""
    meter = LagMeter(0, 0.0)
    meter.read(last=1, size=10, applied=1, revision=1, asked=1.0)
    assert [meter.lag().described(now)["lag_seconds"] for now in (2.0, 60.0)] == [2.0, 60.0]


def test_a_jump_behind_a_backup_leaves_nothing_pending() -> None:
    meter = LagMeter(0, 0.0)
    meter.jumped(100, 50)
    meter.read(last=101, size=10, applied=101, revision=52, asked=2.0)
    assert (meter.lag().archived, meter.lag().revisions, meter.lag().bytes) == (100, 2, 10)


def test_what_is_remembered_is_bounded() -> None:
    meter = LagMeter(0, 0.0)
    for number in range(1, 10 * ANSWERS_MAX):
        meter.read(last=number, size=1, applied=number + 1, revision=number, asked=float(number))
    assert len(meter._answers) <= ANSWERS_MAX
    meter.stored(10 * ANSWERS_MAX)
    assert meter.lag().covered == float(10 * ANSWERS_MAX - 1)


_steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=60)


@given(_steps)
def test_nothing_is_said_to_be_covered_that_is_not_stored(steps: list[tuple[int, int, bool]]) -> None:
    """A model: at each question the cluster has acknowledged up to an index; the archive reads some, stores now and
    then. Check: what was acknowledged before `covered` is stored, and the entries behind are exact."""
    meter = LagMeter(0, 0.0)
    read = stored = applied = 0
    acknowledged = [(0.0, 0)]
    for number, (written, taken, stores) in enumerate(steps, 1):
        moment = float(number)
        applied += written
        acknowledged.append((moment, applied))
        taken = min(taken, applied - read)
        read += taken
        meter.read(last=read, size=10 * taken, applied=applied, revision=applied, asked=moment)
        if read == stored:
            assert meter.lag().bytes == (0 if read == applied else meter.lag().bytes)
        if stores:
            stored = read
            meter.stored(read)
        lag = meter.lag()
        assert (lag.archived, lag.applied) == (stored, applied)
        before = [index for moment, index in acknowledged if moment <= lag.covered]
        assert max(before) <= stored
        assert lag.revisions is None or lag.revisions >= applied - stored
