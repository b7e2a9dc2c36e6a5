"""Waiting for a local cluster: shows what the loop does until the cluster is as wanted, or says why it is not.

The status counts only when it was made from a look taken after the waiting began: an older one may describe another
wish.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from collectionstore_local.commands.log_view import last_line
from collectionstore_local.commands.terminal import Progress
from collectionstore_local.errors import ExitCode, LocalError
from collectionstore_local.processes.supervision import SupervisorLost, is_supervised, poke, start_supervisor
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_local.state.event_journal import EventReader
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.report import Status

POLL_S = 0.05
STARTS_MAX = 3
SUPERVISOR_GRACE_S = 30.0
"""How long a supervisor that was started may take until it is in charge."""


Decoded = TypeVar("Decoded")


class WaitTimedOut(LocalError):
    """The cluster did not get there in time; the loop goes on trying. The text says what it waits for."""

    exit_code = ExitCode.TIMED_OUT


class Follower:
    """Follows one cluster from now on."""

    def __init__(self, directory: ClusterDirectory, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._events = EventReader(directory.events, from_end=True)
        self._since = time.time()
        self._warning: Event | None = None
        self._starts = 0
        self._attended = False
        self._attended_at = time.monotonic()

    def nudge(self) -> None:
        """Make the loop look now; start a supervisor when none is in charge."""
        if not poke(self._directory) and not is_supervised(self._directory):
            start_supervisor(self._directory)
            self._starts += 1
            self._progress.say("started the reconcile loop in the background")

    def until(self, done: Callable[[Status], bool], *, timeout_s: float, goal: str) -> Status:
        """Show events until a fresh status satisfies `done`. Raises WaitTimedOut or SupervisorLost."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.fresh_status()
            for event in self._events.read():
                self._progress.event(event)
                self._warning = event if event.kind == "Warning" else None
            if status is not None and done(status):
                return status
            self._attend()
            if time.monotonic() > deadline:
                raise WaitTimedOut(_describe_timeout(goal, timeout_s, status, self._warning))
            self._progress.waiting(waiting_for(status))
            time.sleep(POLL_S)

    def _attend(self) -> None:
        """Start the loop again when it ended meanwhile: a `down` may have been under way. Raises SupervisorLost."""
        now = time.monotonic()
        if is_supervised(self._directory):
            self._attended, self._attended_at = True, now
        elif self._attended and self._starts < STARTS_MAX:
            self._attended, self._attended_at = False, now
            self.nudge()
        elif now - self._attended_at > SUPERVISOR_GRACE_S:
            raise SupervisorLost(f"the reconcile loop has ended: {last_line(self._directory.log)}")

    def fresh_status(self) -> Status | None:
        """Return the status if it was made from a look that began after the waiting did."""
        if looked_at(self._directory) < self._since:
            return None
        return read_status(self._directory)


def read_status(directory: ClusterDirectory) -> Status | None:
    """Return the status as published last, None when there is none."""
    return _decode(directory.status, Status)


def read_observed(directory: ClusterDirectory) -> Observed | None:
    """Return the last look as recorded, None when there is none."""
    return _decode(directory.observed, Observed)


def looked_at(directory: ClusterDirectory) -> float:
    """Return when the last look began whose status is published, in Unix seconds; 0 for never."""
    observed = read_observed(directory)
    return observed.now if observed is not None else 0.0


def refresh(directory: ClusterDirectory, *, timeout_s: float) -> bool:
    """Make the loop look now and wait for it a moment; return whether the status is fresh."""
    since = time.time()
    if not poke(directory):
        return False
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if looked_at(directory) >= since:
            return True
        time.sleep(POLL_S)
    return False


def ready(status: Status, generation: int) -> bool:
    """Return whether the cluster is ready as of this generation of its resource, with nothing left to do."""
    condition = status.condition("Ready")
    settled = not status.plan and condition is not None and condition.status == "True"
    return settled and status.observed_generation >= generation


def waiting_for(status: Status | None) -> str:
    """Return in a line what the loop is doing, or what it waits for."""
    if status is None:
        return "waiting for the reconcile loop"
    for step in status.plan:
        if step.blocked_by:
            return f"{step.step} {step.subject}".strip() + f" waits: {step.blocked_by}"
        return f"{step.step} {step.subject}".strip() + f": {step.reason}"
    condition = status.condition("Ready")
    return condition.message if condition is not None and condition.status != "True" else ""


def _describe_timeout(goal: str, timeout_s: float, status: Status | None, warning: Event | None) -> str:
    lines = [f"{goal} did not come true within {timeout_s:g} s. The loop goes on trying in the background."]
    if status is None:
        return f"{lines[0]} It has not reported yet."
    lines.append(f"  {waiting_for(status)}")
    if warning is not None:
        lines.append(f"  {warning.reason} {warning.subject}: {warning.message}")
    lines += [f"  {member.name}: {member.message}" for member in status.members if member.message]
    return "\n".join([*lines, "  Look closer: csctl local status, csctl local logs"])


def _decode(path: Path, kind: type[Decoded]) -> Decoded | None:
    """Return what a file of the supervisor says; one that another version wrote and nobody can read counts as none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
