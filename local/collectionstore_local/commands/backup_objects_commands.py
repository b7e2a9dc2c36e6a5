"""`csctl local get` and `csctl local delete`: the backups and schedules that were applied."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import click
import yaml

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.terminal import console
from collectionstore_local.commands import backup_tables
from collectionstore_local.commands.options import cluster_options
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.supervisor_process import wake_supervisor
from collectionstore_local.state.backup_objects import BackupObjects, Body
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.run_state import RunState, read_run_state
from collectionstore_operator.resource.backups.names import BACKUP_KIND, SCHEDULE_KIND

KINDS: Final = {"backup": BACKUP_KIND, "schedule": SCHEDULE_KIND}


class KindOption(click.ParamType[str]):
    """A kind of object: one, several, or as it is written in a manifest."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        for word, kind in KINDS.items():
            if str(value).lower() in (word, f"{word}s", kind.lower(), f"{kind.lower()}s"):
                return kind
        self.fail(f"{value!r}; allowed: backups, schedules", param, ctx)


class ObjectMissing(LocalError):
    """There is no object of this name; the text names those that there are."""

    exit_code = ExitCode.NOT_FOUND


@click.command()
@click.argument("kind", type=KindOption(), metavar="backups|schedules")
@click.argument("name", required=False)
@cluster_options
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="Format."
)
def get(state: StateDirectory, directory: ClusterDirectory, kind: str, name: str | None, output: str) -> None:
    """Show backups or schedules, or one of them.

    \b
    Examples:
      csctl local get schedules
      csctl local get backup nightly-29470680 -o yaml
    """
    objects = BackupObjects(directory)
    found = backup_tables.by_age(objects.all(kind)) if name is None else [_find(objects, kind, name)]
    if output != "table":
        document: Any = found[0] if name is not None else {"apiVersion": "v1", "kind": "List", "items": found}
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n" if output == "json" else _yaml(document)
        click.echo(text, nl=False)
    elif not found:
        click.echo(f"{directory.name} has none. Add a {kind} to the manifest: csctl local apply -f FILE")
    else:
        show = backup_tables.backups_table if kind == BACKUP_KIND else backup_tables.schedules_table
        console().print(show(found, time.time()))


@click.command()
@click.argument("kind", type=KindOption(), metavar="backup|schedule")
@click.argument("name")
@cluster_options
def delete(state: StateDirectory, directory: ClusterDirectory, kind: str, name: str) -> None:
    """Delete a backup or a schedule.

    What a backup has stored stays, unless its spec.deletionPolicy is Delete. The backups of a schedule stay.

    \b
    Examples:
      csctl local delete schedule nightly
      csctl local delete backup nightly-29470680
    """
    objects = BackupObjects(directory)
    found = _find(objects, kind, name)
    objects.delete(kind, name, found["metadata"]["uid"])
    what = f"{kind.lower()}/{name}"
    if objects.find(kind, name) is None:
        click.echo(f"{what} deleted")
    elif read_run_state(directory) is RunState.STOPPED:
        click.echo(f"{what} is deleted with its data when {directory.name} is started")
    else:
        click.echo(f"{what} is deleted once its data is: csctl local get backups")
    wake_supervisor(directory)


def _find(objects: BackupObjects, kind: str, name: str) -> Body:
    names = [one["metadata"]["name"] for one in objects.all(kind)]
    found = objects.find(kind, name) if name in names else None  # never a path that was typed
    if found is None:
        raise ObjectMissing(f"there is no {kind} {name!r}; there are: {', '.join(names) or 'none'}")
    return found


def _yaml(document: Any) -> str:
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


COMMANDS: Final = (get, delete)
