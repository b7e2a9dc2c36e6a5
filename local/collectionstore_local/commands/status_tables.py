"""The status of a local cluster on a terminal: a headline, the members, the conditions and the plan."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from collectionstore_local.commands.member_rows import MemberRow
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Condition, PlannedStep, Status

NOTHING = "-"
GOOD_WHEN_FALSE = frozenset({"Progressing", "Degraded", "Paused", "Hibernated"})
"""Conditions that are False in a healthy cluster."""


def status_view(
    status: Status,
    rows: Sequence[MemberRow],
    *,
    head: Text,
    state: Text,
    faults: Text | None,
    backups: RenderableType | None,
    recent: RenderableType,
    wide: bool,
) -> RenderableType:
    """Return the whole status; `state` is the line with the age of the observation, `recent` the last events."""
    shown = [row for row in rows if row.address or row.role != "None"]
    kept = [row.name for row in rows if row not in shown]
    parts: list[RenderableType] = [head, state, *([faults] if faults is not None else []), Text()]
    parts += [members_table(shown, wide=wide), Text(), Text(configuration_line(status))]
    if kept:
        parts.append(Text(f"Volumes of removed members, kept: {', '.join(kept)}", style="dim"))
    parts.append(Text())
    parts += [conditions_table(status.conditions), Text(), plan_view(status), Text()]
    parts += [*([backups, Text()] if backups is not None else []), recent]
    return Group(*parts)


def headline(name: str, status: Status) -> Text:
    """Return the summary line: Ready, members, leader and fault tolerance."""
    ready = status.condition("Ready")
    is_ready = ready is not None and ready.status == "True"
    text = Text(name, style="bold")
    text.append("  ")
    asleep = status.condition("Hibernated")
    if asleep is not None and asleep.status == "True":
        text.append("Hibernated", style="yellow")
    else:
        text.append("Ready" if is_ready else "not Ready", style="green" if is_ready else "yellow")
    text.append(
        f"  {status.members_summary or '0/0'} members, {format_leader(status)}, {format_fault_tolerance(status)}"
    )
    return text


def faults_line(faults: Sequence[str]) -> Text | None:
    """Return the line with the faults in force, None if there are none."""
    if not faults:
        return None
    return Text(f"Faults in force: {'; '.join(faults)}. End them: csctl local heal", style="bold red")


def format_leader(status: Status) -> str:
    """Return the leader and its term."""
    return f"{status.leader} leads in term {status.term}" if status.leader else "no leader"


def format_fault_tolerance(status: Status) -> str:
    """Return how many more voters may fail without loss of the quorum, in the words of the conditions."""
    return f"tolerates {status.fault_tolerance or 'no'} failure{'s' if status.fault_tolerance > 1 else ''}"


def configuration_line(status: Status) -> str:
    """Return the Raft configuration; in a joint one both voter sets, each of which needs a majority."""
    configuration = status.configuration
    voters = ", ".join(configuration.voters) or "none"
    text = f"Configuration {configuration.index}: "
    if configuration.joint:
        text += f"joint, voters {', '.join(configuration.outgoing)} to {voters}"
    else:
        text += f"voters {voters}"
    if configuration.learners:
        text += f"; learners {', '.join(configuration.learners)}"
    return text


def members_table(rows: Sequence[MemberRow], *, wide: bool) -> Table:
    """Return one line per member."""
    columns = ["NAME", "READY", "ROLE", "ADDRESS", "TERM", "COMMIT", "APPLIED", "LAG", "VERSION", "DISK"]
    if any(row.staleness_ms is not None for row in rows):
        columns.insert(columns.index("VERSION"), "STALE")
    if wide:
        columns += ["NODE ID", "PEER ADDRESS", "PID", "RESTARTS", "RTT P50", "HANDSHAKE"]
    if any(row.message for row in rows):
        columns.append("MESSAGE")
    table = columns_table(
        columns, right={"TERM", "COMMIT", "APPLIED", "LAG", "STALE", "DISK", "PID", "RESTARTS", "RTT P50", "HANDSHAKE"}
    )
    for row in rows:
        cells = _member_cells(row)
        table.add_row(*(cells[column] for column in columns))
    return table


def conditions_table(conditions: Sequence[Condition]) -> Table:
    """Return one line per condition."""
    table = columns_table(["CONDITION", "STATUS", "REASON", "MESSAGE"], right=set())
    for one in conditions:
        table.add_row(one.type, f"[{_condition_style(one)}]{one.status}[/]", one.reason, escape(one.message))
    return table


def plan_view(status: Status) -> RenderableType:
    """Return the steps of the plan, with what blocks them."""
    if not status.plan:
        return Text("Plan: nothing to do")
    lines = [Text("Plan:")]
    lines += [_plan_line(step) for step in status.plan]
    if status.steps_omitted:
        lines.append(Text(f"  and {status.steps_omitted} more"))
    return Group(*lines)


def recent_view(events: Sequence[Event], now: float) -> RenderableType:
    """Return the last events of the reconcile loop, with their age."""
    if not events:
        return Text("Recent: no events")
    table = columns_table(["RECENT", "ACTION", "SUBJECT", "MESSAGE"], right=set())
    for event in events:
        style = "yellow" if event.kind == "Warning" else ""
        table.add_row(
            f"{format_age(max(0.0, now - event.time))} ago",
            Text(event.reason, style=style),
            escape(event.subject),
            escape(event.message),
        )
    return table


def format_age(seconds: float) -> str:
    """Return a duration, rounded."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def format_size(size_bytes: int | None) -> str:
    """Return a size in binary units."""
    if size_bytes is None:
        return NOTHING
    size, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def _plan_line(step: PlannedStep) -> Text:
    line = Text("  ")
    line.append(f"{step.step} {step.subject}".strip(), style="bold")
    line.append(f"  {step.reason}")
    if step.blocked_by:
        line.append(f"; blocked: {step.blocked_by}", style="yellow")
    return line


def _member_cells(row: MemberRow) -> dict[str, str]:
    style = {"Leader": "bold green", "Unknown": "yellow", "None": "dim"}.get(row.role, "")
    return {
        "NAME": row.name,
        "READY": "[green]yes[/]" if row.ready else "[red]no[/]",
        "ROLE": f"[{style}]{row.role}[/]" if style else row.role,
        "ADDRESS": row.address or NOTHING,
        "TERM": _number(row.term),
        "COMMIT": _number(row.commit_index),
        "APPLIED": _number(row.applied_index),
        "LAG": _number(row.lag),
        "STALE": NOTHING if row.staleness_ms is None else f"{row.staleness_ms} ms",
        "VERSION": row.version or NOTHING,
        "DISK": format_size(row.disk_bytes),
        "NODE ID": row.node_id or NOTHING,
        "PEER ADDRESS": row.peer_address or NOTHING,
        "PID": _number(row.pid),
        "RESTARTS": str(row.restarts),
        "RTT P50": _milliseconds(row.round_trip_p50_ms),
        "HANDSHAKE": _milliseconds(row.handshake_ms),
        "MESSAGE": f"[yellow]{escape(row.message)}[/]" if row.message else "",
    }


def _condition_style(condition: Condition) -> str:
    if condition.status == "Unknown":
        return "yellow"
    good = "False" if condition.type in GOOD_WHEN_FALSE else "True"
    return "green" if condition.status == good else "yellow"


def columns_table(columns: Sequence[str], *, right: set[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column != "MESSAGE")
    return table


def _number(value: int | None) -> str:
    return NOTHING if value is None else str(value)


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f} ms"
