"""Backups and schedules of a local cluster on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from collectionstore_local.commands.status_tables import NOTHING, columns_table, format_age, format_size
from collectionstore_local.state.backup_objects import BackupObjects, Body
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.resource.backups.names import BACKUP_KIND, SCHEDULE_KIND

RECENT: Final = 3
"""Backups in the status of a cluster; `csctl local get backups` shows all."""


def summary(objects: BackupObjects, now: float) -> RenderableType | None:
    """Return schedules and the newest backups for the status of a cluster; None if there are none."""
    schedules, backups = objects.all(SCHEDULE_KIND), by_age(objects.all(BACKUP_KIND))
    parts: list[RenderableType] = []
    if schedules:
        parts.append(schedules_table(schedules, now))
    if backups:
        parts += [*([Text()] if parts else []), backups_table(backups[-RECENT:], now)]
        if len(backups) > RECENT:
            parts.append(Text(f"and {len(backups) - RECENT} older: csctl local get backups", style="dim"))
    return Group(*parts) if parts else None


def by_age(bodies: Sequence[Body]) -> list[Body]:
    """Return objects, the oldest first."""
    return sorted(bodies, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))


def schedules_table(bodies: Sequence[Body], now: float) -> Table:
    """Return one line per schedule."""
    found = columns_table(["SCHEDULE", "READY", "LAST BACKUP", "NEXT", "RUNNING", "VERIFIED", "MESSAGE"], right=set())
    for body in bodies:
        status = body.get("status") or {}
        ready = condition(body, "Ready")
        found.add_row(
            escape(body["metadata"]["name"]),
            styled(ready.get("status", "Unknown"), good="True"),
            _ago(status.get("lastSuccessTime"), now),
            _until(status.get("nextScheduleTime"), now),
            escape(status.get("active") or NOTHING),
            _ago(status.get("lastVerified"), now),
            escape(ready.get("message", "not looked at yet")),
        )
    return found


def backups_table(bodies: Sequence[Body], now: float) -> Table:
    """Return one line per backup."""
    found = columns_table(["BACKUP", "STATE", "AGE", "REVISION", "SIZE", "ID", "MESSAGE"], right={"REVISION", "SIZE"})
    for body in bodies:
        status = body.get("status") or {}
        found.add_row(
            escape(body["metadata"]["name"]),
            styled(state_of(body), good="Complete", bad="Failed"),
            _ago(body["metadata"]["creationTimestamp"], now),
            str(status["revision"]) if status.get("backupID") else NOTHING,
            format_size(status.get("sizeBytes") or None),
            status.get("backupID") or NOTHING,
            escape(_message(body)),
        )
    return found


def state_of(body: Mapping[str, Any]) -> str:
    """Return how far a backup is, in one word."""
    if "deletionTimestamp" in body["metadata"]:
        return "Deleting"
    for kind in ("Complete", "Failed"):
        if condition(body, kind).get("status") == "True":
            return kind
    return str(condition(body, "Complete").get("reason") or "Pending")


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of an object, empty if it has none of this type."""
    found = (body.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == kind), {})


def styled(text: str, *, good: str, bad: str = "False") -> str:
    """Return a word in the color of its meaning."""
    color = {good: "green", bad: "red"}.get(text, "yellow")
    return f"[{color}]{text}[/]"


def _message(body: Mapping[str, Any]) -> str:
    status = body.get("status") or {}
    failed = condition(body, "Failed")
    reason = f"{failed.get('reason')}: " if failed.get("status") == "True" else ""
    return f"{reason}{status.get('message') or 'not looked at yet'}"


def _ago(timestamp: str | None, now: float) -> str:
    return f"{format_age(max(0.0, now - seconds(timestamp)))} ago" if timestamp else NOTHING


def _until(timestamp: str | None, now: float) -> str:
    return f"in {format_age(max(0.0, seconds(timestamp) - now))}" if timestamp else NOTHING
