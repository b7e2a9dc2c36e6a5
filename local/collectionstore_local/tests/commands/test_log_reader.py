"""Logs of several files are merged by time and followed."""

from __future__ import annotations

import json
from pathlib import Path

from collectionstore_local.commands import log_reader
from collectionstore_local.commands.log_reader import Source, Tail, read_last


def log_line(time: str, event: str) -> str:
    return json.dumps({"event": event, "member": "demo 0", "level": "info", "timestamp": f"2026-11-21T{time}Z"}) + "\n"


def test_logs_are_merged_by_time(tmp_path: Path) -> None:
    """Each line keeps its source; a line that is not JSON stays after the line before it."""
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
    """An incomplete line is read once it is complete; a new file is read from its beginning."""
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
