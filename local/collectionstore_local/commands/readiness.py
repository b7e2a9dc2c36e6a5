"""Waits until a local cluster is ready, and shows the steps of the reconcile loop meanwhile.

Only a status that was computed from an observation after the wait began counts: an older one may describe an earlier
generation of the resource.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.terminal import Progress
from collectionstore_local.commands.log_reader import last_line
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.supervisor_process import (
    SupervisorLost,
    is_supervised,
    start_supervisor,
    wake_supervisor,
)
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_local.state.event_journal import EventReader
from collectionstore_local.state.published_status import observed_at, read_status
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import PlannedStep, Status

POLL_S = 0.05
STARTS_MAX = 3
SUPERVISOR_GRACE_S = 30.0
"""For a supervisor that was started to hold the lock."""


class WaitTimedOut(LocalError):
    """The cluster was not ready in time; the reconcile loop continues. The text says what it waits for."""

    exit_code = ExitCode.TIMED_OUT


class ReadinessWatcher:
    """Follows one cluster from now on until it is ready."""

    def __init__(self, directory: ClusterDirectory, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._events = EventReader(directory.events, from_end=True)
        self._since = time.time()
        self._warning: Event | None = None
        self._starts = 0
        self._supervised = False
        self._supervised_at = time.monotonic()

    def wake_or_start(self) -> None:
        """Make the reconcile loop run now; start a supervisor if none runs."""
        # Both: a supervisor that has just started holds the lock, but does not read the pipe yet.
        if not wake_supervisor(self._directory) and not is_supervised(self._directory):
            start_supervisor(self._directory)
            self._starts += 1
            self._progress.done("started the reconcile loop in the background")

    def wait_until(self, condition: Callable[[Status], bool], *, timeout_s: float, goal: str) -> Status:
        """Show events until a fresh status satisfies `condition`. Raises WaitTimedOut or SupervisorLost."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.fresh_status()
            for event in self._events.read():
                self._progress.event(event)
                self._warning = event if event.kind == "Warning" else None
            if status is not None and condition(status):
                return status
            self._keep_supervised()
            if time.monotonic() > deadline:
                raise WaitTimedOut(_describe_timeout(goal, timeout_s, status, self._warning))
            self._progress.waiting(waiting_for(status))
            time.sleep(POLL_S)

    def _keep_supervised(self) -> None:
        """Start the supervisor again if it has ended: a `down` may have been in progress. Raises SupervisorLost."""
        now = time.monotonic()
        if is_supervised(self._directory):
            self._supervised, self._supervised_at = True, now
        elif self._supervised and self._starts < STARTS_MAX:
            self._supervised, self._supervised_at = False, now
            self.wake_or_start()
        elif now - self._supervised_at > SUPERVISOR_GRACE_S:
            raise SupervisorLost(f"the reconcile loop has ended: {last_line(self._directory.log)}")

    def fresh_status(self) -> Status | None:
        """Return the status if its observation began after the wait did."""
        if observed_at(self._directory) < self._since:
            return None
        return read_status(self._directory)


def refresh(directory: ClusterDirectory, *, timeout_s: float) -> bool:
    """Make the reconcile loop observe now and wait for it; return whether the status is fresh."""
    since = time.time()
    if not wake_supervisor(directory):
        return False
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if observed_at(directory) >= since:
            return True
        time.sleep(POLL_S)
    return False


def ready(status: Status, generation: int) -> bool:
    """Return whether this generation of the resource is ready, with an empty plan; or hibernated, if it is to be."""
    conditions = (status.condition("Ready"), status.condition("Hibernated"))
    settled = not status.plan and any(one is not None and one.status == "True" for one in conditions)
    return settled and status.observed_generation >= generation


def waiting_for(status: Status | None) -> str:
    """Return a line with the step that is in progress, or what blocks it."""
    if status is None:
        return "waiting for the reconcile loop"
    for step in status.plan:
        if step.blocked_by:
            return f"{_described(step)}; blocked: {step.blocked_by}"
        return _described(step)
    condition = status.condition("Ready")
    return condition.message if condition is not None and condition.status != "True" else ""


def _described(step: PlannedStep) -> str:
    return f"{step.step} {step.subject}".strip() + f": {step.reason}"


def _describe_timeout(goal: str, timeout_s: float, status: Status | None, warning: Event | None) -> str:
    lines = [f"timed out after {timeout_s:g} s waiting for {goal}. The reconcile loop continues in the background."]
    if status is None:
        return f"{lines[0]} It has not published a status yet."
    lines.append(f"  {waiting_for(status)}")
    if warning is not None:
        lines.append(f"  {warning.reason} {warning.subject}: {warning.message}")
    lines += [f"  {member.name}: {member.message}" for member in status.members if member.message]
    return "\n".join([*lines, "  For details: csctl local status, csctl local logs"])
