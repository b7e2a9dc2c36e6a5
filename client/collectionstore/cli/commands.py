"""How a command's error becomes a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

import click

from collectionstore.cli.exit_codes import CommandError


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
