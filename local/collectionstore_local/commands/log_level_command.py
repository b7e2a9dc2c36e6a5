"""`csctl log-level`: shows or changes what the processes of a local cluster log while they run."""

from __future__ import annotations

import asyncio
import json
from typing import Final, get_args

import click
import msgspec

from collectionstore.cli.commands import Command
from collectionstore.cli.options import LONG_DURATION, output_option
from collectionstore_local.commands import log_levels
from collectionstore_local.commands.lifecycle import member_name
from collectionstore_local.commands.log_levels import Level, MemberLevel
from collectionstore_local.commands.options import cluster_options
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory

CONFIGURED: Final = "configured"
SUPERVISOR: Final = "supervisor"


@click.command("log-level", cls=Command, short_help="Show or change the log level of a local cluster.")
@click.argument("level", required=False, type=click.Choice([*get_args(Level), CONFIGURED]))
@click.argument("members", nargs=-1, metavar="[MEMBER]...")
@click.option(
    "--for",
    "duration_s",
    type=LONG_DURATION,
    metavar="DURATION",
    help="Revert to the configured level after this time: 30s, 10m, 2h. Members only.",
)
@output_option
@cluster_options
def log_level(
    state: StateDirectory,
    directory: ClusterDirectory,
    level: str | None,
    members: tuple[str, ...],
    duration_s: float | None,
    output: str,
) -> None:
    """Change the log level of running members of a local cluster, until they stop; without LEVEL, show it.

    MEMBER is a name or an ordinal; the default is all members. "supervisor" is the reconcile loop, which accepts
    `debug` and `configured`. On Kubernetes, send a signal instead: docs/reference/logs.md.

    \b
    Examples:
      csctl log-level                    show the levels
      csctl log-level debug --for 10m    log everything for ten minutes
      csctl log-level configured         revert to the configured levels
    """
    seconds = None if duration_s is None else max(1, round(duration_s))
    names = tuple(one for one in members if one != SUPERVISOR)
    if len(names) < len(members):
        _change_supervisor(directory, level)
    if names or not members:
        selected = tuple(member_name(directory, one) for one in names) or directory.node_names()
        _print_levels(asyncio.run(_change_members(directory, selected, level, seconds)), output)


async def _change_members(
    directory: ClusterDirectory, names: tuple[str, ...], level: str | None, seconds: int | None
) -> dict[str, MemberLevel]:
    if level != CONFIGURED:
        return await log_levels.change(directory, names, _level(level), seconds=seconds)
    current = await log_levels.change(directory, names, None, seconds=None)
    reverted: dict[str, MemberLevel] = {}
    for name, one in current.items():
        reverted |= await log_levels.change(directory, (name,), _level(one.configured), seconds=None)
    return reverted


def _level(text: str | None) -> Level | None:
    return next((one for one in get_args(Level) if one == text), None)


def _change_supervisor(directory: ClusterDirectory, level: str | None) -> None:
    if level == "debug":
        log_levels.signal_supervisor(directory, "debug")
    elif level == CONFIGURED:
        log_levels.signal_supervisor(directory, CONFIGURED)
    else:
        raise click.UsageError(f"the supervisor accepts the levels debug and {CONFIGURED}")
    click.echo(f"{SUPERVISOR}  {level}")


def _print_levels(levels: dict[str, MemberLevel], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(msgspec.to_builtins(levels), indent=2))
        return
    for name, one in levels.items():
        revert = "" if one.reverts_in_s is None else f", reverts to {one.configured} in {one.reverts_in_s:.0f} s"
        click.echo(f"{name}  {one.level}{revert}")
