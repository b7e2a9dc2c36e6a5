"""Events are appended, followed and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_local.state import event_journal
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.event_journal import EventReader, EventWriter
from collectionstore_operator.status.events import Event


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("demo")


def test_events_are_followed_from_the_end(directory: ClusterDirectory) -> None:
    """Earlier events are not read."""
    file = EventWriter(directory.events)
    file.record(Event(time=1.0, reason="Old", message=""))
    reader = EventReader(directory.events, from_end=True)
    assert reader.read() == []
    event = Event(time=2.0, reason="Bootstrap", subject="demo-0", message="it is new", seconds=0.1, generation=1)
    file.record(event)
    assert reader.read() == [event]
    assert reader.read() == []
    assert [one.reason for one in event_journal.recent_events(directory.events, 5)] == ["Old", "Bootstrap"]
    assert event_journal.recent_events(directory.events, 1) == [event]


def test_event_file_is_bounded(directory: ClusterDirectory) -> None:
    """The older half is dropped, and a reader continues with the rest."""
    file, reader = EventWriter(directory.events), EventReader(directory.events, from_end=False)
    long = Event(time=1.0, reason="Long", message="x" * 50_000)
    for _ in range(100):
        file.record(long)
        assert directory.events.stat().st_size <= event_journal.EVENT_BYTES_MAX
    last = Event(time=2.0, reason="Last", message="")
    file.record(last)
    assert reader.read()[-1] == last
    assert event_journal.recent_events(directory.events, 5) == [last]
