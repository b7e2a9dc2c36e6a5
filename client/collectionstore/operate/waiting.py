"""Waits for a goal and shows meanwhile what happens: steps of the plan, and conditions that change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from collectionstore.cli.exit_codes import CommandError
from collectionstore.cli.terminal import Progress
from collectionstore.operate.access import ClusterAccess, ClusterMissing, WaitTimedOut
from collectionstore.operate.goals import Goal, condition, member, status_of, waits_for
from collectionstore.operate.output import printable
from collectionstore.operate.views import headline

POLL_S: Final = 0.5
"""Of a resource on Kubernetes: two reads a second of one object, for as long as a person waits."""
TIMEOUT_S: Final = 600.0
QUIET: Final = frozenset({"Ready", "Progressing"})
"""Conditions that change with every step; the steps say more."""


def wait_for(access: ClusterAccess, before: Mapping[str, Any], goal: Goal, *, what: str, timeout_s: float) -> str:
    """Wait until `goal` holds, and return the headline of the cluster. Raises WaitTimedOut.

    `before` is the resource before the change; what differs from it is shown.
    """
    last = before
    with Progress() as progress:
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                last, trouble = _look(access, last, progress)
                if not trouble and goal(last):
                    return f"{headline(last).plain}  ({progress.elapsed_s:.1f} s)"
                reason = trouble or waits_for(last)
                if time.monotonic() > deadline:
                    raise WaitTimedOut(
                        f"timed out after {timeout_s:g} s waiting for {what}. The operator goes on.\n"
                        f"  {reason or 'the plan is empty and the cluster Ready: was the change seen?'}"
                    )
                progress.waiting(reason or f"waiting for {what}")
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            progress.warn("interrupted; the operator goes on")
            raise


def _look(access: ClusterAccess, last: Mapping[str, Any], progress: Progress) -> tuple[Mapping[str, Any], str]:
    """Show what is new; return the resource, and why it could not be read: a server may be away for a while."""
    try:
        now = printable(access.read())
    except ClusterMissing:
        raise
    except CommandError as error:
        return last, str(error)
    for step in begun(last, now):
        progress.begin(step)
    for line, good in news(last, now):
        (progress.done if good else progress.warn)(line)
    return now, ""


def begun(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the steps that the operator performs now and did not before: its status has a step BEFORE it acts.

    Not the end of a step: one that has left the plan may have been taken back.
    """
    earlier = {_step(one) for one in status_of(before).get("plan") or () if not one.get("blockedBy")}
    for step in status_of(now).get("plan") or ():
        if not step.get("blockedBy") and _step(step) not in earlier:
            yield f"{_step(step)}: {step.get('reason', '')}"


def news(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield what has changed between two states of a resource, each with whether it is good."""
    leader = status_of(now).get("leader")
    if leader and leader != status_of(before).get("leader"):
        yield f"{leader} leads in term {status_of(now).get('term')}", True
    for one in status_of(now).get("members") or ():
        earlier = member(before, one["name"])
        if bool(earlier.get("ready")) != bool(one.get("ready")):
            text = "is ready" if one.get("ready") else "is not ready" + _because(one.get("message"))
            yield f"{one['name']} {text}", bool(one.get("ready"))
    for one in status_of(now).get("conditions") or ():
        kind = one.get("type", "")
        if kind not in QUIET and one.get("status") != condition(before, kind).get("status"):
            good = one.get("status") == ("False" if kind in ("Degraded", "Paused") else "True")
            yield f"{kind} is {one.get('status')}{_because(one.get('message'))}", good


def _step(step: Mapping[str, Any]) -> str:
    return f"{step.get('step', '')} {step.get('subject', '')}".strip()


def _because(message: object) -> str:
    return f": {message}" if message else ""
