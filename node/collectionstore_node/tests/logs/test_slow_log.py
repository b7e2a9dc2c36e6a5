"""Slow operations are logged with their phases, and cannot flood the log."""

from __future__ import annotations

from structlog.testing import capture_logs
from structlog.typing import EventDict

from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_node.logs.slow import LINES_MAX, OFF, WINDOW_S
from collectionstore_node.raft.messages import Index
from collectionstore_node.replica.observation.slow_entries import SlowEntries


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fsyncs(lines: list[EventDict]) -> list[int]:
    return [line["omitted"] for line in lines]


def test_only_what_reaches_its_threshold_is_told() -> None:
    slow = SlowLog(Thresholds(fsync_s=0.1), Clock())
    with capture_logs() as lines:
        slow.fsync(0.0999)
        slow.fsync(0.1)
    (line,) = lines
    assert (line["event"], line["kind"], line["seconds"], line["threshold_s"]) == ("operation.slow", "fsync", 0.1, 0.1)


def test_off_is_never() -> None:
    with capture_logs() as lines:
        SlowLog(Thresholds(apply_s=OFF), Clock()).apply(1e9, entries=1, index=1)
    assert lines == []


def test_a_flood_is_cut_and_counted() -> None:
    """Per kind: slow syncs do not hide a slow request."""
    clock = Clock()
    slow = SlowLog(Thresholds(), clock)
    with capture_logs() as lines:
        for _ in range(LINES_MAX + 40):
            slow.fsync(1)
        slow.read(1, {"confirm": 1})
        assert [line["kind"] for line in lines] == ["fsync"] * LINES_MAX + ["read"]
        clock.now = WINDOW_S
        slow.fsync(1)
        slow.fsync(1)
    assert fsyncs(lines[-2:]) == [40, 0]


def test_the_phases_of_an_entry_add_up() -> None:
    clock = Clock()
    entries = SlowEntries(SlowLog(Thresholds(write_s=1), clock), clock)
    entries.arrived()
    clock.now = 1
    entries.arrived()
    entries.proposed(Index(7), 2, more=False)
    clock.now = 3
    entries.synced(Index(7))
    clock.now = 7
    with capture_logs() as lines:
        began, clock.now = clock.now, 15
        entries.applied(Index(7), began)
        entries.applied(Index(7), began)
    (line,) = lines
    assert line["phases"] == {"queue": 1, "sync": 2, "quorum": 4, "apply": 8}
    assert (line["seconds"], line["commands"], line["index"]) == (15, 2, 7)


def test_an_entry_that_others_had_first_waited_for_no_quorum() -> None:
    """Two of three may store it before the leader's own disk has."""
    clock = Clock()
    entries = SlowEntries(SlowLog(Thresholds(write_s=1), clock), clock)
    entries.arrived()
    entries.proposed(Index(7), 1, more=False)
    clock.now = 2
    with capture_logs() as lines:
        entries.applied(Index(7), 2)
    assert lines[0]["phases"] == {"queue": 0, "sync": 2, "quorum": 0, "apply": 0}


def test_a_leader_that_was_deposed_forgets() -> None:
    clock = Clock()
    entries = SlowEntries(SlowLog(Thresholds(write_s=0), clock), clock)
    entries.proposed(Index(7), 1, more=False)
    entries.forget()
    with capture_logs() as lines:
        entries.applied(Index(7), 2)
    assert lines == []
