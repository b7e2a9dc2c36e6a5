"""One supervisor is in charge, and it can be woken; events and logs can be followed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from collectionstore_local.commands import log_reader
from collectionstore_local.commands.log_reader import Source, Tail, read_last
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.supervisor_process import is_supervised, wake_supervisor
from collectionstore_local.state import event_journal
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.event_journal import EventReader, EventWriter
from collectionstore_local.state.operator_state import OperatorStateFile
from collectionstore_local.state.run_state import RunState, read_run_state, write_run_state
from collectionstore_local.state.supervisor_lock import AlreadySupervised, acquire_supervisor_lock, listen_for_wakeups
from collectionstore_operator.status.events import Event


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("demo")


def test_only_one_supervisor_is_in_charge(directory: ClusterDirectory) -> None:
    """The second gives way; when the first has gone, however that came about, another can take over."""
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


def test_intent_is_kept(directory: ClusterDirectory) -> None:
    """A cluster of which nothing was said is meant to run."""
    assert read_run_state(directory) is RunState.RUNNING
    write_run_state(directory, RunState.STOPPED)
    assert read_run_state(directory) is RunState.STOPPED


def test_operator_state_survives_the_supervisor(directory: ClusterDirectory) -> None:
    """The next one reads what the last one wrote; damage is an error, not a fresh start."""
    OperatorStateFile(directory.operator_state).change(cluster_id="c0ffee", epoch=3)
    assert OperatorStateFile(directory.operator_state).current.epoch == 3
    directory.operator_state.write_text("{")
    with pytest.raises(LocalError, match="is corrupt"):
        OperatorStateFile(directory.operator_state)


def test_events_are_followed_from_the_end(directory: ClusterDirectory) -> None:
    """What happened before the reader came is not its story."""
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
    """The older half goes, and a reader goes on with what is left."""
    file, reader = EventWriter(directory.events), EventReader(directory.events, from_end=False)
    long = Event(time=1.0, reason="Long", message="x" * 50_000)
    for _ in range(100):
        file.record(long)
        assert directory.events.stat().st_size <= event_journal.EVENT_BYTES_MAX
    last = Event(time=2.0, reason="Last", message="")
    file.record(last)
    assert reader.read()[-1] == last
    assert event_journal.recent_events(directory.events, 5) == [last]


def log_line(time: str, event: str) -> str:
    return json.dumps({"event": event, "member": "demo 0", "level": "info", "timestamp": f"2026-11-21T{time}Z"}) + "\n"


def test_logs_are_merged_by_time(tmp_path: Path) -> None:
    """Each line keeps its source; what is not JSON stays beside the line before it."""
    (tmp_path / "a").write_text(log_line("10:00:01", "one") + "Traceback\n" + log_line("10:00:04", "four"))
    (tmp_path / "b").write_text(log_line("10:00:02", "two"))
    tails = [Tail(Source(name, tmp_path / name)) for name in ("a", "b", "none")]
    lines = read_last(tails)
    assert [(line.source, line.readable().split()[0]) for line in lines] == [
        ("a", "one"),
        ("a", "Traceback"),
        ("b", "two"),
        ("a", "four"),
    ]
    assert lines[0].readable() == 'one member="demo 0"'
    assert read_last(tails) == []


def test_newest_lines_are_chosen_by_time_and_count(tmp_path: Path) -> None:
    """--since and --tail."""
    file = tmp_path / "a"
    file.write_text("".join(log_line(f"10:00:0{second}", f"event-{second}") for second in range(5)))
    assert [line.readable().split()[0] for line in read_last([Tail(Source("a", file))], count=2)] == [
        "event-3",
        "event-4",
    ]
    since = read_last([Tail(Source("a", file))])[3].time
    assert len(read_last([Tail(Source("a", file))], since=since)) == 2
    assert read_last([Tail(Source("a", file))], count=0) == []


def test_log_is_followed_over_a_replacement(tmp_path: Path) -> None:
    """A line that is half written waits; a new file is read from its beginning."""
    file = tmp_path / "a"
    file.write_text(log_line("10:00:01", "one") + '{"event": "ha')
    tail = Tail(Source("a", file))
    assert [line.fields["event"] for line in tail.read()] == ["one"]
    with file.open("a") as writer:
        writer.write('lf"}\n')
    assert [line.fields["event"] for line in tail.read()] == ["half"]
    file.rename(tmp_path / "a.1")
    file.write_text(log_line("10:00:02", "two"))
    assert [line.fields["event"] for line in tail.read()] == ["two"]


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    """Beginning with a whole line."""
    file = tmp_path / "a"
    file.write_text(log_line("10:00:01", "x" * 1_000) * (log_reader.TAIL_BYTES // 1_000))
    lines = Tail(Source("a", file)).read()
    assert 0 < len(lines) < log_reader.TAIL_BYTES // 1_000
    assert all(line.fields for line in lines)
