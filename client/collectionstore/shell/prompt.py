"""csctl shell: a prompt for csctl's commands, and scripts of them on stdin."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory
from prompt_toolkit.shortcuts import CompleteStyle

from collectionstore.cli import streams
from collectionstore.cli.asking import on_terminal
from collectionstore.cli.commands import run_guarded
from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.words import Incomplete, split
from collectionstore.data.options import DataCommand, connection_options
from collectionstore.data.porting_state import state_home
from collectionstore.data.session import Session, Shared
from collectionstore.shell.completing import CommandCompleter

HISTORY: Final = "shell-history"
ENDS: Final = ("exit", "quit")
OWN: Final = ("help", *ENDS)
SECRET: Final = re.compile(r"://[^\s/@]*:[^\s/@]+@|[?&](?:token|password)=", re.IGNORECASE)
"""What a connection string with a credential looks like: such a line is not remembered."""
HELP: Final = """Commands are those of csctl, without csctl: find books year>=1950. JSON needs no quotes and may go over
several lines. help shows all commands, help find one of them; Tab completes, Ctrl-R searches the history, Ctrl-C
interrupts a command, Ctrl-D or exit leaves."""


@click.command("shell", cls=DataCommand, short_help="A prompt for these commands, with history and completion.")
@click.option("--keep-going", is_flag=True, help="Of a script on stdin: go on behind a command that fails.")
@connection_options
@click.pass_context
def shell(context: click.Context, session: Session, *, keep_going: bool) -> None:
    """A prompt for the commands of csctl, on one connection; or a script of them on stdin, line by line.

    \b
    Examples:
      csctl shell
      csctl shell --context prod < commands.txt
    """
    place = session.target
    root = context.find_root().command
    if not on_terminal():
        context.exit(_script(root, session, keep_going=keep_going))
    click.echo(f"csctl on {place.place}. help for help, exit to leave.", err=True)
    context.exit(_prompt(root, session, place.name or "csctl"))


def run_line(root: click.Command, session: Session, words: list[str]) -> int:
    """Run one command as csctl does, and return its exit code; nothing it does ends the shell."""
    if words[0] in ("csctl", "kubectl-collectionstore"):
        words = words[1:] or ["--help"]
    if words[0] == "help":
        click.echo(HELP + "\n")
        words = [*words[1:], "--help"]
    if words[0] == "shell":
        click.echo("Error: this is the shell already", err=True)
        return ExitCode.USAGE
    return run_guarded(lambda: root.main(words, prog_name="csctl", obj=Shared(session)), "csctl")


def _script(root: click.Command, session: Session, *, keep_going: bool) -> int:
    """Run the commands on stdin, and return the exit code of the first one that fails."""
    failed = 0
    for words in _commands(sys.stdin or ()):
        if words[0] in ENDS:
            break
        code = run_line(root, session, words)
        failed = failed or code
        if code and not keep_going:
            break
    return failed


def _commands(lines: Iterable[str]) -> Iterable[list[str]]:
    """Yield commands of a script; one goes on in the next line where JSON or a quote is not closed."""
    held = ""
    for line in lines:
        held += line
        try:
            words = split(held)
        except Incomplete:
            continue
        held = ""
        if words:
            yield words
    if held.strip():
        raise click.UsageError("the script ends within quotes, an object or an array")


def _prompt(root: click.Command, session: Session, name: str) -> int:
    prompt = make_prompt(root, lambda: Shared(session))
    code = 0
    while True:
        try:
            line = prompt.prompt([("class:context", name), ("", "> " if not code else f" ({code})> ")])
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        words = split(line)
        if not words:
            continue
        if words[0] in ENDS:
            return 0
        code = run_line(root, session, words)


def make_prompt(root: click.Command, shared: Callable[[], object]) -> PromptSession[str]:
    """Return the prompt: Enter ends a line that is complete, and goes on in the next one otherwise."""
    made: PromptSession[str] = PromptSession(
        history=History(history_file()),
        completer=CommandCompleter(root, OWN, shared),
        complete_in_thread=True,
        complete_while_typing=False,
        complete_style=CompleteStyle.COLUMN,
        enable_history_search=True,
        multiline=Condition(lambda: not _complete(made.default_buffer.text)),
        prompt_continuation=lambda width, line, wrapped: "." * max(0, width - 1) + " ",
        include_default_pygments_style=False,
    )
    if not streams.colored(sys.stdout):
        from prompt_toolkit.output import ColorDepth

        made.color_depth = ColorDepth.DEPTH_1_BIT
    return made


class History(FileHistory):
    """Lines of earlier shells, without those that hold a credential or begin with a space."""

    def store_string(self, string: str) -> None:
        """Remember a line in the file."""
        if not string.startswith(" ") and not SECRET.search(string):
            super().store_string(string)


def history_file() -> Path:
    """Return the file of the history, which is readable by its owner only."""
    path = state_home() / HISTORY
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return path


def _complete(text: str) -> bool:
    try:
        split(text)
    except Incomplete:
        return False
    return True
