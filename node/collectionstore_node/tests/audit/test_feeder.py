"""The queue in front of a sink: order, retries, what becomes of a queue that is full, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from collectionstore_node.audit.events import Dropped, Entry, Event, size_of
from collectionstore_node.audit.feeder import BATCH_MAX, RETRY_S_MAX, RETRY_S_MIN, STALLED_S, Feeder
from collectionstore_node.tests.audit.recorded import RecordedSeries, RecordedSink, Time, event


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def series() -> RecordedSeries:
    return RecordedSeries()


@pytest.fixture
async def sink() -> RecordedSink:
    return RecordedSink()


def made(sink: RecordedSink, series: RecordedSeries, time: Time, *, records: int = 10_000) -> Feeder:
    """Return a feeder with room for so many records."""
    return Feeder(
        "file",
        sink,
        series,
        bytes_max=records * size_of(event()),
        clock=time.clock,
        wall_ms=lambda: 42,
        sleep=time.sleep,
        random=lambda: 0.5,
    )


@pytest.fixture
async def feeder(sink: RecordedSink, series: RecordedSeries, time: Time) -> AsyncIterator[Feeder]:
    feeder = made(sink, series, time)
    feeder.start()
    yield feeder
    sink.failures = 0
    sink.free.set()
    await feeder.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never is")


async def test_records_reach_the_sink_in_order(feeder: Feeder, sink: RecordedSink, series: RecordedSeries) -> None:
    events = [event(number) for number in range(BATCH_MAX + 7)]
    for one in events:
        feeder.put(one)
    await until(lambda: not feeder.queued)
    assert sink.taken == events
    assert sink.batches == [BATCH_MAX, 7]
    assert (feeder.bytes, series.counts["written"]) == (0, len(events))


async def test_a_batch_that_failed_is_sent_again_behind_longer_and_longer_pauses(
    feeder: Feeder, sink: RecordedSink, series: RecordedSeries, time: Time
) -> None:
    sink.failures = 9
    feeder.put(event(1))
    await until(lambda: series.counts["failed"] == 1)
    assert feeder.failing
    assert feeder.failure == "it is told to"
    feeder.put(event(2))
    await until(lambda: not feeder.queued)
    assert sink.taken == [event(1), event(2)]
    assert not feeder.failing
    assert time.slept == [min(RETRY_S_MIN * 2**attempt, RETRY_S_MAX) for attempt in range(9)]


async def test_a_full_queue_loses_what_comes_and_tells_the_sink_how_much(
    sink: RecordedSink, series: RecordedSeries, time: Time
) -> None:
    feeder = made(sink, series, time, records=3)
    sink.free.clear()
    feeder.start()
    for number in range(10):
        feeder.put(event(number))
    assert (feeder.queued, feeder.dropped, series.counts["dropped"]) == (3, 7, 7)
    sink.free.set()
    await until(lambda: not feeder.queued and sink.taken[-1:] == [Dropped(42, 7)])
    feeder.put(event(99))
    await until(lambda: not feeder.queued)
    await feeder.close()
    assert sink.taken == [event(0), event(1), event(2), Dropped(42, 7), event(99)]
    assert series.counts["written"] == 4


async def test_what_is_lost_while_a_batch_fails_is_told_once(
    sink: RecordedSink, series: RecordedSeries, time: Time
) -> None:
    feeder = made(sink, series, time, records=1)
    sink.failures = 5
    feeder.start()
    feeder.put(event(0))
    feeder.put(event(1))
    await until(lambda: series.counts["failed"] >= 2)
    feeder.put(event(2))
    await until(lambda: not feeder.queued)
    feeder.put(event(3))
    await until(lambda: not feeder.queued)
    await feeder.close()
    told = [one.count for one in sink.taken if isinstance(one, Dropped)]
    assert sum(told) == 2
    assert [one.revision for one in sink.taken if isinstance(one, Event)] == [0, 3]


async def test_a_bug_of_a_sink_is_a_failure_and_no_end_of_the_member(
    feeder: Feeder, sink: RecordedSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(entries: Sequence[Entry]) -> None:
        raise KeyError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(sink, "send", broken)
        feeder.put(event())
        await until(lambda: feeder.failing)
        assert feeder.failure == "unexpected KeyError"
    await until(lambda: not feeder.queued)
    assert not feeder.failing


async def test_a_sink_that_hangs_counts_as_failing_and_holds_nothing_up(
    feeder: Feeder, sink: RecordedSink, time: Time
) -> None:
    sink.free.clear()
    feeder.put(event())
    await until(lambda: not sink.free.is_set() and feeder.queued == 1)
    await asyncio.sleep(0)
    assert not feeder.failing
    time.now += STALLED_S
    assert feeder.failing
    assert "longer than" in feeder.failure


async def test_what_is_queued_is_sent_at_the_end(sink: RecordedSink, series: RecordedSeries, time: Time) -> None:
    feeder = made(sink, series, time)
    feeder.start()
    for number in range(2 * BATCH_MAX):
        feeder.put(event(number))
    await feeder.close()
    assert len(sink.taken) == 2 * BATCH_MAX
    assert sink.closed


async def test_an_end_does_not_wait_for_a_sink_that_hangs(
    sink: RecordedSink, series: RecordedSeries, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectionstore_node.audit.feeder.CLOSE_S", 0.01)
    feeder = made(sink, series, time)
    sink.free.clear()
    feeder.start()
    feeder.put(event())
    await feeder.close()
    assert series.counts["dropped"] == 1
    assert sink.closed


async def test_a_large_record_is_a_batch_of_its_own(feeder: Feeder, sink: RecordedSink) -> None:
    large = event(content="x" * 4_096)
    for _ in range(200):
        feeder.put(large)
    await until(lambda: not feeder.queued)
    assert len(sink.taken) == 200
    assert max(sink.batches) < 200
