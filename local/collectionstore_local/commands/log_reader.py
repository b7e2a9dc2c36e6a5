"""Reads the logs of a local cluster: JSON lines of several files, merged by time and followed as they grow.

A line that is not a JSON object keeps its text, and gets the time of the line before it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

TAIL_BYTES = 1 << 20
POLL_S = 0.2
META = ("timestamp", "level", "event")


@dataclass(frozen=True, slots=True)
class Source:
    """A log file and the name its lines are shown under."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Line:
    """One log line. `time` in Unix seconds, 0 if unknown; `fields` is empty for a line that is not JSON."""

    time: float
    source: str
    text: str
    fields: dict[str, object]

    @property
    def level(self) -> str:
        """Return the level of the line, "info" if it has none."""
        return str(self.fields.get("level", "info"))

    def readable(self) -> str:
        """Return the line as text: the event, then its fields."""
        if not self.fields:
            return self.text
        values = (f"{key}={_format(value)}" for key, value in self.fields.items() if key not in META)
        return " ".join([str(self.fields.get("event", "")), *values]).strip()


class Tail:
    """Reads a log file from near its end, then what is appended; continues after it was rotated or truncated."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inode = 0
        self._position = 0
        self._time = 0.0

    def read(self) -> list[Line]:
        """Return the complete lines since the last call."""
        try:
            with open(self._source.path, "rb") as file:
                return self._read(file.fileno())
        except FileNotFoundError:
            return []

    def _read(self, descriptor: int) -> list[Line]:
        state = os.fstat(descriptor)
        first = self._inode == 0
        if state.st_ino != self._inode or state.st_size < self._position:
            self._inode = state.st_ino
            self._position = max(0, state.st_size - TAIL_BYTES) if first else 0
        content = os.pread(descriptor, state.st_size - self._position, self._position)
        if first and self._position > 0:
            content = content[content.find(b"\n") + 1 :]
            self._position = state.st_size - len(content)
        complete = content[: content.rfind(b"\n") + 1]
        self._position += len(complete)
        return [self._line(raw.decode(errors="replace")) for raw in complete.splitlines()]

    def _line(self, text: str) -> Line:
        fields = parse(text)
        self._time = timestamp(fields) or self._time
        return Line(self._time, self._source.name, text, fields)


def read_last(tails: Sequence[Tail], *, since: float = 0.0, count: int | None = None) -> list[Line]:
    """Return the lines of all files by time, from `since` (Unix seconds) on, the last `count` at most."""
    lines = sorted((line for tail in tails for line in tail.read()), key=lambda line: line.time)
    lines = [line for line in lines if line.time >= since]
    return lines if count is None else lines[max(0, len(lines) - count) :]


def follow(tails: Sequence[Tail]) -> Iterator[Line]:
    """Yield lines as they are written, without end."""
    while True:
        lines = read_last(tails)
        yield from lines
        if not lines:
            time.sleep(POLL_S)


def last_line(path: Path) -> str:
    """Return the last line of a log as text, and the path of the log."""
    lines = [line for line in Tail(Source("", path)).read() if line.text.strip()]
    return f"{lines[-1].readable()} (in {path})" if lines else f"{path} is empty"


def parse(text: str) -> dict[str, object]:
    """Return the fields of a JSON line, none for another line."""
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def timestamp(fields: dict[str, object]) -> float:
    """Return the time of a line in Unix seconds, 0 if it has none."""
    try:
        return datetime.fromisoformat(str(fields["timestamp"])).timestamp()
    except (KeyError, ValueError):
        return 0.0


def _format(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if " " in text and not text.startswith(("[", "{")) else text
