"""csctl: the command line of Collection Store, put together from the command groups that are installed.

A package adds a group by an entry point in `collectionstore.csctl`; the group is imported when it is used, so that
`csctl --help` stays fast and a group whose dependencies are missing spoils only itself.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points, version

import click

GROUP = "collectionstore.csctl"

HELP = """Run and look after Collection Store clusters.

\b
Examples:
  csctl local up -f examples/local.yaml   start a cluster on this machine
  csctl local status                      who leads, who lags, what is going on
  csctl local --help                      everything about local clusters
  csctl report                            everything for a bug report, redacted
  csctl version                           what is installed

Shell completion, for bash: eval "$(_CSCTL_COMPLETE=bash_source csctl)"
(zsh_source and fish_source for the other shells).
"""


class EntryPointGroup(click.Group):
    """A click group whose subcommands also come from installed entry points, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(point.name for point in installed_groups())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            return command
        for point in installed_groups():
            if point.name == cmd_name:
                return load_group(point)
        return None


def installed_groups() -> tuple[EntryPoint, ...]:
    """Return the entry points that add a command group."""
    return tuple(entry_points(group=GROUP))


def load_group(point: EntryPoint) -> click.Command:
    """Import a command group; when something it needs is missing, return a command that says what to install."""
    try:
        command = point.load()
    except ModuleNotFoundError as error:
        return unavailable(point.name, error)
    if not isinstance(command, click.Command):
        raise click.ClickException(f"the entry point {point.value} is not a click command")
    return command


def unavailable(name: str, error: ModuleNotFoundError) -> click.Command:
    """Return a stand-in for a group that cannot be imported: it fails with the reason, whatever its arguments are."""
    package = (error.name or "a module").partition(".")[0]
    advice = "Install it: pip install 'collectionstore[operator,node]'"
    reason = f"csctl {name} needs {package}, which is not installed. {advice}"

    @click.command(
        name,
        short_help=f"(unavailable: {package} is not installed)",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def refuse() -> None:
        raise click.ClickException(reason)

    return refuse


@click.group(cls=EntryPointGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="collectionstore", prog_name="csctl")
def main() -> None:
    """Run the root of all commands; the groups do the work."""


@main.command("version")
def show_version() -> None:
    """Show the version of what is installed."""
    click.echo(f"csctl {version('collectionstore')}")
