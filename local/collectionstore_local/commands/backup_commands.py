"""`csctl backup` and `csctl restore`: `collectionstore-backup` with the addresses and credentials of local clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from collectionstore.cli.commands import Command, Group
from collectionstore.cli.options import state_dir_option
from collectionstore_local.backups import program
from collectionstore_local.commands import console_output, restoring
from collectionstore_local.commands.lifecycle import require_running
from collectionstore_local.commands.options import cluster_options, timeout_option
from collectionstore_local.state import applied_resource
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory

HELP: Final = """Back up a local cluster, and look after its backups.

All options of `collectionstore-backup` are taken: csctl backup create --help

\b
Examples:
  csctl backup create --repository ./backups     back up a follower, verify the copy
  csctl backup archive --repository ./backups    follow the log, for restores to a point in time
  csctl backup list --repository ./backups       list the backups
  csctl backup inspect latest --repository ...   show what a backup is of
  csctl backup verify latest --repository ...    read all of it and verify every byte
  csctl backup delete ID --repository ...        delete one, but not the last intact one
  csctl backup prune --repository ... --keep-last 7 --keep-within 30d
  csctl restore --from ./backups --name copy     make a new cluster of the latest backup
"""
_FORWARDED: Final[dict[str, Any]] = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}
"""Whatever the program takes; it answers --help, too."""
_READING: Final = {
    "create": "Back up a follower of a running cluster, and verify the copy.",
    "archive": "Archive the log of a running cluster, for restores to a point in time.",
}
_SHORT: Final = {
    "list": "List the backups of a repository.",
    "inspect": "Show the manifest of a backup.",
    "verify": "Read all of a backup and verify every byte.",
    "delete": "Delete a backup.",
    "prune": "Delete the backups that no rule keeps.",
}


@click.group("backup", cls=Group, help=HELP, short_help="Back up a local cluster, and look after its backups.")
def backup() -> None:
    """Run the group; the commands do the work."""


def _of_cluster(name: str) -> click.Command:
    @click.command(
        name, short_help=_READING[name], context_settings={"ignore_unknown_options": True, "help_option_names": []}
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @cluster_options
    @click.pass_context
    def command(
        context: click.Context, state: StateDirectory, directory: ClusterDirectory, arguments: tuple[str, ...]
    ) -> None:
        require_running(directory)
        access = program.access(directory, applied_resource.read_desired(directory))
        context.exit(restoring.run_program(name, *access, *arguments))

    return command


def _forward(name: str) -> click.Command:
    @click.command(name, short_help=_SHORT[name], context_settings=_FORWARDED)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def command(context: click.Context, arguments: tuple[str, ...]) -> None:
        context.exit(restoring.run_program(name, *arguments))

    return command


for one in _READING:
    backup.add_command(_of_cluster(one))
for one in _SHORT:
    backup.add_command(_forward(one))


@click.command("restore", cls=Command, short_help="Make a new local cluster of a backup.")
@click.argument("which", metavar="[BACKUP]", default="latest")
@click.option(
    "--from",
    "repository",
    metavar="URL",
    required=True,
    envvar="COLLECTIONSTORE_BACKUP_REPOSITORY",
    show_envvar=True,
    help="The repository.",
)
@click.option("--source-cluster", metavar="ID", help="The cluster that it is of, if the repository has several.")
@click.option("--name", required=True, help="Name of the NEW cluster.")
@click.option("-f", "--filename", "file", type=click.Path(path_type=Path), help="Its manifest. [default: 3 members]")
@click.option("--base-port", type=click.IntRange(1024, 65_535), help="In place of spec.local.basePort.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="A setting of the object store.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The key of an encrypted backup.")
@click.option("--to", "goal", metavar="POINT", help="Through the archived log: `end`, `revision:N`, or a time.")
@click.option("--bump-revision", type=click.IntRange(min=0), default=0, help="Add this to the revision.")
@click.option("--deadline", default="6h", show_default=True, metavar="DURATION", help="For reading the backup.")
@state_dir_option
@timeout_option(180)
@click.pass_context
def restore(
    context: click.Context,
    which: str,
    repository: str,
    source_cluster: str | None,
    name: str,
    file: Path | None,
    base_port: int | None,
    options: tuple[str, ...],
    key_file: Path | None,
    goal: str | None,
    bump_revision: int,
    deadline: str,
    state_dir: Path,
    timeout_s: float,
) -> None:
    """Make a NEW cluster of BACKUP and start it: an ID, `latest`, or `revision:N` for the newest one not beyond it.

    It has an identity of its own, and every document and revision of the backup. The first member leads alone on the
    restored data; the others join it. Nothing that exists is touched.

    \b
    Examples:
      csctl restore --from ./backups --name copy --base-port 7500
      csctl restore --from ./backups --name copy --to 2026-01-02T03:04:05Z
      csctl restore 20260102T030405Z-0123abcd --from s3://backups/shop --name copy -f copy.yaml
    """
    state = StateDirectory.at(state_dir)
    loaded = restoring.prepare(state, name, file, base_port)
    arguments = [which, "--repository", repository, "--bump-revision", str(bump_revision), "--deadline", deadline]
    for text in options:
        arguments += ["--option", text]
    if source_cluster is not None:
        arguments += ["--source-cluster", source_cluster]
    if goal is not None:
        arguments += ["--to", goal]
    if key_file is not None:
        arguments += ["--key-file", str(key_file)]
    try:
        directory, change = restoring.restore(state, loaded, arguments)
    except restoring.ProgramFailed as error:
        context.exit(error.code)
    console_output.print_change(directory, change)
    console_output.watch_until_ready(directory, change.desired.generation, timeout_s)
    console_output.print_endpoints(directory)
