"""Progress of a command that waits, without a terminal."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from collectionstore.cli.terminal import Progress


@dataclass(frozen=True)
class Event:
    """An event of a reconcile loop, in the shape that Progress shows."""

    time: float
    reason: str
    message: str
    kind: str = "Normal"
    subject: str = ""
    seconds: float | None = None


def test_progress_is_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Text on stderr without control sequences; a wait is shown once it has lasted a second."""
    with Progress() as progress:
        progress.event(Event(time=0.0, reason="Bootstrap", subject="[demo]-0", message="it is new", seconds=0.52))
        progress.event(Event(time=0.0, kind="Warning", reason="AddLearnersRefused", message="stale"))
        progress.waiting("something short")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "✓ Bootstrap [demo]-0" in shown.err
    assert "it is new (0.5 s)" in shown.err
    assert "! AddLearnersRefused" in shown.err
    assert "something short" not in shown.err
    assert "\x1b" not in shown.err
