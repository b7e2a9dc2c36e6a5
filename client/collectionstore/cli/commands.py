"""How a command's error becomes a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

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

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message; of a reader that has gone there is nothing to say."""
        if self.error.exit_code is not ExitCode.READER_GONE:
            super().show(file)


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
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or str(error)
        raise Failure(CommandError(text)) from error


def run_root(root: click.Command, name: str) -> None:
    """Run a root command to its exit. No error of ours is shown as a traceback, which tells a user nothing."""
    sys.exit(run_guarded(lambda: root(prog_name=name), name))


def run_guarded(run: Callable[[], Any], name: str) -> int:
    """Run a root command, which exits, and return its exit code."""
    try:
        run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitCode.OK if ended.code is None else ExitCode.FAILED
    except Exception as error:  # a bug: whatever it is, it ends the command here
        if os.environ.get(TRACEBACK):
            raise
        # Its type alone: the text of an error that was not foreseen may hold anything, a credential too.
        click.echo(
            f"Error: unexpected {type(error).__name__}\n"
            f"This is a bug of {name}. Please report it, with the output of {TRACEBACK}=1 {name} ...",
            err=True,
        )
        return ExitCode.FAILED
    return ExitCode.OK


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
