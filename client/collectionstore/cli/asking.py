"""Asks before something is destroyed, and for secrets; only where there is a person at a terminal to ask."""

from __future__ import annotations

import sys
from typing import Final

import click

SECRET_MAX: Final = 64 << 10
"""Characters of a password or token on stdin."""


def on_terminal() -> bool:
    """Return whether a person can be asked: stdin is open, and a terminal."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost or stops serving. Raises UsageError where there is no terminal to ask on."""
    if yes:
        return
    if not on_terminal():
        raise click.UsageError(f"{question} Confirm with --yes: there is no terminal to ask on.")
    click.confirm(question, abort=True, err=True)


def read_secret(name: str, *, from_stdin: bool, option: str, twice: bool = False) -> str:
    """Return a password or token, typed without being shown, or the first line of stdin. Raises UsageError.

    Never from the command line, where other users of the machine see it. `option` says how stdin is chosen.
    """
    if from_stdin:
        if sys.stdin is None or sys.stdin.closed:
            raise click.UsageError(f"{option}: stdin is closed")
        found = sys.stdin.readline(SECRET_MAX).rstrip("\r\n")
    elif on_terminal():
        found = str(click.prompt(name, hide_input=True, confirmation_prompt=twice, err=True))
    else:
        raise click.UsageError(f"there is no terminal to ask for the {name.lower()} on; give it by {option}")
    if not found:
        raise click.UsageError(f"the {name.lower()} is empty")
    return found
