"""What the commands on data share: which cluster, in a section of their help; confirmations; files; how they end."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from collectionstore.cli import streams
from collectionstore.cli.commands import report_errors
from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.options import Duration
from collectionstore.contexts.targets import CONTEXT_VARIABLE
from collectionstore.data.arguments import ArgumentInvalid
from collectionstore.data.completion import complete_context
from collectionstore.data.connection import CONNECTION, choice_of
from collectionstore.data.session import Session, shared_session

FILE_BYTES_MAX: Final = 16 << 20
"""Of an argument that is read from a file: far more than any request may have."""
TIMEOUT: Final = Duration("ms", "s", "m")


class DataCommand(click.Command):
    """A command on data: its errors are messages with exit codes, its output is handed over before it ends."""

    def invoke(self, ctx: click.Context) -> Any:
        with report_errors(), interruptible(ctx):
            try:
                found = super().invoke(ctx)
            except UnicodeEncodeError as error:
                # Bytes of an argument that are no UTF-8, or half of a surrogate pair in JSON.
                raise ArgumentInvalid("an argument holds what is no text: it cannot be sent as UTF-8") from error
            streams.flush()
            return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of the connection below the others: they are the same everywhere."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                (shared if parameter.name in CONNECTION else own).append(record)
        for title, records in (("Options", own), ("Which cluster", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class interruptible:
    """Ends a command that Ctrl-C interrupts, with the exit code that shells give a program that SIGINT ended."""

    def __init__(self, context: click.Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from error


def connection_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which cluster, and pass `session` in their stead."""

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> None:
        context = click.get_current_context()
        connection = {name: given.pop(name) for name in CONNECTION}
        shared = shared_session(context)
        choice = choice_of(context, connection)
        timeout_s = connection["timeout_s"]
        if shared is not None and not choice.given and timeout_s is None:
            function(*args, session=shared, **given)
            return
        session = Session(choice, timeout_s=timeout_s)
        # Closed when the command ends, however it ends.
        context.call_on_close(session.close)
        function(*args, session=session, **given)

    options = (
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=complete_context,
            help=f"A context of csctl context list. [env: {CONTEXT_VARIABLE}]",
        ),
        click.option("--url", metavar="URL", help="Connection string. [env: COLLECTIONSTORE_URL]"),
        click.option("--cluster", metavar="NAME", help="A cluster by its name, local or with -k."),
        click.option("-k", "--kubernetes", is_flag=True, help="The cluster is on Kubernetes."),
        click.option("-n", "--namespace", metavar="NAME", help="Its namespace; with -k."),
        click.option("--kubeconfig", metavar="FILE", help="The kubeconfig; with -k."),
        click.option("--local", is_flag=True, help="The cluster runs on this machine."),
        click.option(
            "--state-dir",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="COLLECTIONSTORE_STATE_DIR",
            default=Path(".collectionstore"),
            metavar="DIR",
            help="State directory of local clusters.",
        ),
        click.option(
            "--timeout", "timeout_s", type=TIMEOUT, metavar="TIME", help="For each request with its repetitions: 10s."
        ),
    )
    made: Callable[..., None] = command
    for option in reversed(options):
        made = option(made)
    return made


def expanded(arguments: tuple[str, ...] | list[str]) -> list[str]:
    """Return arguments with `@FILE` replaced by the content of the file, and `-` and `@-` by that of stdin."""
    return [_content(one) for one in arguments]


def _content(argument: str) -> str:
    if argument == "-":
        return read_text("-")
    return read_text(argument[1:]) if argument.startswith("@") and len(argument) > 1 else argument


def read_text(name: str) -> str:
    """Return the text of a file, `-` for stdin. Raises ArgumentInvalid, and OSError for a file that cannot be read."""
    try:
        if name == "-":
            if sys.stdin is None or sys.stdin.closed:
                raise ArgumentInvalid("- is stdin, which is closed")
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if hasattr(sys.stdin, "buffer") else b""
        else:
            with Path(name).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ArgumentInvalid(f"{name} has more than {FILE_BYTES_MAX >> 20} MiB; csctl import takes more")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentInvalid(f"{name} is not UTF-8: byte {error.start}") from error


yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
ttl_option = click.option("--ttl", metavar="TIME", help="Until when it is there: 90s, 30m, 1d; none for ever.")
