"""Finds the package for clusters of this machine; the client may not import it, since it needs operator and node."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Final, cast

import click

from collectionstore.cli.exit_codes import CommandError
from collectionstore.operate.access import OpenLocal

GROUP: Final = "collectionstore.cluster"
NAME: Final = "local"
COMMANDS: Final = "collectionstore.csctl"
"""The group in which packages add commands to csctl."""


class LocalMissing(CommandError):
    """The package for local clusters is not installed, or cannot be imported; the text says what to install."""


def load_local() -> OpenLocal:
    """Return the function that opens a local cluster. Raises LocalMissing."""
    for point in entry_points(group=GROUP, name=NAME):
        try:
            return cast(OpenLocal, point.load())
        except ModuleNotFoundError as error:
            raise _missing((error.name or "a module").partition(".")[0]) from error
    raise _missing("the package collectionstore-local")


def _missing(what: str) -> LocalMissing:
    return LocalMissing(
        f"a cluster of this machine needs {what}, which is not installed. "
        "Install it with all that it needs: pip install collectionstore-local\n"
        "A cluster on Kubernetes: kubectl collectionstore, or csctl with -k"
    )


def run_local(command: str, arguments: Sequence[str]) -> None:
    """Run a command that collectionstore-local adds to csctl, such as `backup`, and exit as it does.

    Returns if it succeeded. Raises LocalMissing.
    """
    for point in entry_points(group=COMMANDS, name=command):
        try:
            found = cast(click.Command, point.load())
        except ModuleNotFoundError as error:
            raise _missing((error.name or "a module").partition(".")[0]) from error
        # Not standalone, click returns the code of an exit in place of exiting; of a plain return it is None.
        code = found.main(list(arguments), prog_name=f"csctl {command}", standalone_mode=False)
        if code:
            click.get_current_context().exit(code)
        return
    raise _missing("the package collectionstore-local")
