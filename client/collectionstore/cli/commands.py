"""How a command's error becomes a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from collectionstore.cli.exit_codes import CommandError, ExitCode

TRACEBACK: Final = "COLLECTIONSTORE_TRACEBACK"
"""Environment variable: show the traceback of an unexpected error."""


class Failure(click.ClickException):
    """A CommandError as click prints it, with its exit code."""

    def __init__(self, error: CommandError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a class variable here
        return int(self.error.exit_code)


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Turn CommandError and OSError into a message and an exit code."""
    try:
        yield
    except CommandError as error:
        raise Failure(error) from error
    except OSError as error:
        # The reader of a pipe has gone, as `head` does: click ends quietly then.
        if error.errno == errno.EPIPE:
            raise
        text = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        raise Failure(CommandError(text)) from error


def run_root(root: click.Command, name: str) -> None:
    """Run a root command to its exit. No error of ours is shown as a traceback, which tells a user nothing."""
    try:
        root(prog_name=name)
    except Exception as error:  # a bug: whatever it is, it ends the program here
        if os.environ.get(TRACEBACK):
            raise
        click.echo(
            f"Error: unexpected {type(error).__name__}: {error}\n"
            f"This is a bug of {name}. Please report it, with the output of {TRACEBACK}=1 {name} ...",
            err=True,
        )
        sys.exit(ExitCode.FAILED)


class Group(click.Group):
    """A group whose commands may raise CommandError."""

    def invoke(self, ctx: click.Context) -> Any:
        with report_errors():
            return super().invoke(ctx)


class Command(click.Command):
    """A command without a group that may raise CommandError."""

    def invoke(self, ctx: click.Context) -> Any:
        with report_errors():
            return super().invoke(ctx)
