"""csctl: the root command, with the commands of the client and those that installed packages add.

A package adds commands by entry points in the group `collectionstore.csctl`. A command is imported when it is used, so
that `csctl --help` stays fast and a command whose dependencies are missing does not affect the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points, version
from typing import ClassVar, Final

import click

from collectionstore.audit.commands import audit
from collectionstore.cli.commands import run_root
from collectionstore.cli.lazy import LazyGroup
from collectionstore.data import catalogue
from collectionstore.operate.verbs import CHANGING, LOOKING
from collectionstore.report.command import report

GROUP: Final = "collectionstore.csctl"

LOCAL_PACKAGE: Final = "collectionstore-local"
KNOWN_COMMANDS: Final[Mapping[str, str]] = dict.fromkeys(("backup", "local", "log-level", "restore"), LOCAL_PACKAGE)
"""Commands of other packages of this project, and the package to install for each."""

HELP = """Use, run and inspect Collection Store clusters.

\b
Examples:
  csctl context set laptop --local        name a cluster; it is the current one
  csctl put books dune title=Dune year=1965
  csctl find books 'year>=1950' --sort -year
  csctl shell                             a prompt for these commands
  csctl local up -f examples/local.yaml   start a cluster on this machine
  csctl local status                      members, leader, conditions and plan
  csctl local --help                      all commands for local clusters
  csctl status demo -k -n shop            a cluster on Kubernetes
  csctl plan -f demo.yaml -k              what applying a manifest would do
  csctl backup --help                     back up a cluster; csctl restore makes a new one
  csctl report                            gather the data for a bug report, redacted
  csctl version                           the installed version

Shell completion: csctl completion --help. Exit codes: docs/reference/cli.md.
"""


class EntryPointGroup(LazyGroup):
    """A group that also has the commands of installed entry points, imported on first use."""

    lazy = catalogue.ALL
    sections: ClassVar = {
        **{title: tuple(section) for title, section in catalogue.SECTIONS.items()},
        "Users and rights": (*catalogue.ACCESS, "audit"),
        "Look at a cluster": (*(str(one.name) for one in LOOKING), "report"),
        "Change a cluster": tuple(str(one.name) for one in CHANGING),
        "Clusters of this machine, and backups": tuple(KNOWN_COMMANDS),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        added = (point.name for point in installed_commands())
        return sorted({*super().list_commands(ctx), *added, *KNOWN_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            return command
        for point in installed_commands():
            if point.name == cmd_name:
                return load_command(point)
        package = KNOWN_COMMANDS.get(cmd_name)
        return unavailable(cmd_name, missing=package, install=package) if package is not None else None


def installed_commands() -> tuple[EntryPoint, ...]:
    """Return the entry points that add a command."""
    return tuple(entry_points(group=GROUP))


def load_command(point: EntryPoint) -> click.Command:
    """Import a command; if a dependency is missing, return a command that says what to install."""
    try:
        command = point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "a module").partition(".")[0]
        # pip adds the missing dependencies of a package that is installed already.
        package = KNOWN_COMMANDS.get(point.name) or (point.dist.name if point.dist is not None else missing)
        return unavailable(point.name, missing=missing, install=package)
    if not isinstance(command, click.Command):
        raise click.ClickException(f"the entry point {point.value} is not a click command")
    return command


def unavailable(name: str, *, missing: str, install: str) -> click.Command:
    """Return a stand-in for a command that cannot be imported: it fails with the reason, whatever its arguments are."""
    reason = f"csctl {name} needs {missing}, which is not installed. Install it: pip install {install}"

    @click.command(
        name,
        short_help=f"(unavailable: {missing} is not installed)",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def refuse() -> None:
        raise click.ClickException(reason)

    return refuse


@click.group(cls=EntryPointGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="collectionstore", prog_name="csctl")
def main() -> None:
    """Run the root command; the subcommands do the work."""


@main.command("version")
def show_version() -> None:
    """Show the installed version."""
    click.echo(f"csctl {version('collectionstore')}")


def run() -> None:
    """Run csctl."""
    run_root(main, "csctl")


for verb in (*LOOKING, *CHANGING, report, audit):
    main.add_command(verb)
