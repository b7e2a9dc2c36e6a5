"""The output of the `csctl local` commands, from the files of a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import yaml
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.terminal import Progress, console
from collectionstore_local.commands import access_notice, backup_tables, lifecycle, member_rows, status_tables
from collectionstore_local.commands.log_reader import Line
from collectionstore_local.commands.readiness import refresh
from collectionstore_local.errors import LocalError
from collectionstore_local.faults import injection
from collectionstore_local.state.applied_resource import ResourceChange
from collectionstore_local.state.backup_objects import BackupObjects
from collectionstore_local.state.companions import Applied
from collectionstore_local.state.directory import ClusterDirectory, read_json
from collectionstore_local.state.event_journal import recent_events
from collectionstore_local.state.published_status import read_observed, read_status
from collectionstore_local.state.run_state import RunState, read_run_state
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.resource.backups.names import BACKUP_KIND, SCHEDULE_KIND
from collectionstore_operator.status.published import AuthorityStatus, Status

REFRESH_S = 1.5
"""How long a command waits for a new observation before it shows an older one, with its age."""
WATCH_INTERVAL_S = 0.5
RECENT_EVENTS = 5
SOURCE_COLORS = ("cyan", "magenta", "blue", "green", "bright_cyan", "bright_magenta", "bright_blue")
LEVEL_COLORS = {"warning": "yellow", "error": "red", "critical": "red"}


class StatusMissing(LocalError):
    """The supervisor has not published a status yet."""

    exit_code = ExitCode.FAILED


def print_change(directory: ClusterDirectory, change: ResourceChange) -> None:
    """Print the outcome of a change, as kubectl does, and each changed field."""
    click.echo(f"collectionstorecluster/{directory.name} {change.outcome}")
    for line in change.changes:
        click.echo(f"  {line}")


def print_applied(applied: Sequence[Applied]) -> None:
    """Print what became of the documents beside the cluster."""
    for one in applied:
        click.echo(f"{one.what} {one.outcome}")


def print_kept_differences(change: ResourceChange, file: Path) -> None:
    """Print where the applied resource differs from the manifest of `up`, and how to apply the manifest."""
    for one in change.differs:
        click.echo(f"{one.path} stays {one.old}, {file} has {one.new}. To apply it: csctl local apply -f {file}")


def watch_until_ready(directory: ClusterDirectory, generation: int, timeout_s: float) -> None:
    """Show the steps of the reconcile loop until the cluster is ready, then the summary line."""
    with Progress() as progress:
        try:
            current = lifecycle.wait_ready(directory, generation, progress, timeout_s=timeout_s)
        except KeyboardInterrupt:
            progress.warn("interrupted; the reconcile loop continues in the background: csctl local status --watch")
            raise
        elapsed_s = progress.elapsed_s
    line = status_tables.headline(directory.name, current)
    line.append(f"  ({elapsed_s:.1f} s)", style="dim")
    console().print(line)


def watch_until_rotated(directory: ClusterDirectory, before: AuthorityStatus, timeout_s: float) -> None:
    """Show the steps of the reconcile loop until another key signs, then where clients find the certificate."""
    with Progress() as progress:
        lifecycle.wait_rotated(directory, before, progress, timeout_s=timeout_s)
    click.echo(f"Clients verify members by {directory.authority / 'ca.crt'}")


def print_endpoints(directory: ClusterDirectory) -> None:
    """Print the client endpoints of the members, and commands to try."""
    current = read_status(directory)
    members = [member for member in current.members if member.address] if current is not None else []
    if not members:
        return
    click.echo("\nEndpoints:")
    for member in members:
        click.echo(f"  {member.name}  {member.address}")
    click.echo("\n" + access_notice.text(directory))
    first, last = members[0].address, members[-1].address
    curl = f"curl --cacert {directory.authority / 'ca.crt'}" if first.startswith("https") else "curl"
    curl += access_notice.curl_option(directory)
    click.echo("\nTry:")
    click.echo(f"  {curl} -X PUT {first}/api/v1/kv/greetings/hello --data-binary 'Hello, world'")
    click.echo(f"  {curl} {last}/api/v1/kv/greetings/hello")
    click.echo("  csctl local status")
    click.echo("  csctl local scale --replicas 5")
    click.echo("  csctl local kill 0")
    click.echo("  csctl local partition 1 && csctl local heal")
    click.echo("  csctl local down")


def print_status(directory: ClusterDirectory, output: str) -> None:
    """Print the status as a table, wide table, JSON or YAML."""
    if output in ("table", "wide"):
        console().print(status_view(directory, wide=output == "wide"))
        return
    whole = status_document(directory)
    if output == "json":
        click.echo(json.dumps(whole, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), nl=False)


def watch_status(directory: ClusterDirectory, *, wide: bool) -> None:
    """Show the status repeatedly, until interrupted."""
    screen = console()
    with Live(console=screen, auto_refresh=False, screen=screen.is_terminal) as live:
        while True:
            refresh(directory, timeout_s=REFRESH_S)
            live.update(status_view(directory, wide=wide), refresh=True)
            time.sleep(WATCH_INTERVAL_S)


def status_view(directory: ClusterDirectory, *, wide: bool) -> RenderableType:
    """Return the status as a table with its headline."""
    if read_run_state(directory) is RunState.STOPPED and not lifecycle.running_nodes(directory):
        return _down_view(directory)
    current, observed = _published(directory)
    members = member_rows.member_rows(current, observed)
    age = status_tables.format_age(max(0.0, time.time() - observed.now))
    pid = lifecycle.supervisor_pid(directory)
    if pid is None:
        head = _unsupervised(directory)
        state = Text(f"Last observed {age} ago. Start the reconcile loop: csctl local up -f FILE", style="bold")
    else:
        head = status_tables.headline(directory.name, current)
        state = Text(f"observed {age} ago by the reconcile loop, process {pid}; state in {directory.path}", style="dim")
    faults = status_tables.faults_line(injection.active_faults(directory).lines())
    recent = status_tables.recent_view(recent_events(directory.events, RECENT_EVENTS), time.time())
    return status_tables.status_view(
        current,
        members,
        head=head,
        state=state,
        faults=faults,
        backups=backup_tables.summary(BackupObjects(directory), time.time()),
        recent=recent,
        wide=wide,
    )


def status_document(directory: ClusterDirectory) -> dict[str, object]:
    """Return resource and status as kubectl shows them, and under `local` the values of this machine."""
    current, observed = _published(directory)
    members = member_rows.member_rows(current, observed)
    return {
        **read_json(directory.resource),
        "status": json.loads(msgspec.json.encode(current)),
        "local": {
            "intent": read_run_state(directory).value,
            "supervisorPid": lifecycle.supervisor_pid(directory),
            "seen": _local_time(observed.now).isoformat(timespec="milliseconds"),
            "directory": str(directory.path),
            **{
                kind: BackupObjects(directory).all(name)
                for kind, name in (("schedules", SCHEDULE_KIND), ("backups", BACKUP_KIND))
            },
            "faults": injection.active_faults(directory).lines(),
            "members": json.loads(msgspec.json.encode(members)),
        },
    }


def print_line(line: Line, *, order: int, raw: bool) -> None:
    """Print one log line; `order` selects the color of its source."""
    if raw:
        click.echo(line.text)
        return
    timestamp = _local_time(line.time).strftime("%H:%M:%S.%f")[:12] if line.time else ""
    source = click.style(f"{line.source:<12}", fg=SOURCE_COLORS[order % len(SOURCE_COLORS)])
    text = click.style(line.readable(), fg=LEVEL_COLORS.get(line.level))
    click.echo(f"{timestamp:<12} {source} {text}")


def _published(directory: ClusterDirectory) -> tuple[Status, Observed]:
    current, observed = read_status(directory), read_observed(directory)
    if current is None or observed is None:
        raise StatusMissing(f"{directory.name} has no status yet; see csctl local logs supervisor")
    return current, observed


def _down_view(directory: ClusterDirectory) -> Text:
    text = Text(directory.name, style="bold")
    text.append("  Down", style="yellow")
    names = ", ".join(directory.node_names()) or "no node"
    text.append(f"  data of {names} kept in {directory.path}\n")
    text.append("Start it: csctl local up -f FILE", style="dim")
    return text


def _unsupervised(directory: ClusterDirectory) -> Text:
    text = Text(directory.name, style="bold")
    text.append("  Unsupervised", style="red")
    running, all_nodes = len(lifecycle.running_nodes(directory)), len(directory.node_names())
    text.append(f"  the reconcile loop is not running; {running} of {all_nodes} nodes run")
    return text


def _local_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()
