"""A command of another package that runs inside a verb: its exit code is that of the verb."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner

from collectionstore.cli.exit_codes import CommandError
from collectionstore.operate import local_plugin


@click.group()
def inner() -> None:
    """Stand in for `csctl backup`."""


@inner.command("leave")
@click.argument("code", type=int)
@click.pass_context
def leave(context: click.Context, code: int) -> None:
    """Exit as a program did."""
    context.exit(code)


@inner.command("return")
def plain() -> None:
    """Return without an exit."""


@inner.command("fail")
def fail() -> None:
    """Fail as a command does."""
    raise CommandError("the repository is not reachable")


@click.command()
@click.argument("words", nargs=-1)
def outer(words: tuple[str, ...]) -> None:
    """Stand in for a verb."""
    local_plugin.run_local("backup", words)
    click.echo("after it")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("backup", f"{__name__}:inner", local_plugin.COMMANDS)
    monkeypatch.setattr(
        local_plugin, "entry_points", lambda group, name: [point] if (group, name) == (point.group, point.name) else []
    )


def test_exit_code_of_the_program_is_that_of_the_verb() -> None:
    result = CliRunner().invoke(outer, ["leave", "9"])
    assert result.exit_code == 9
    assert "after it" not in result.output


@pytest.mark.parametrize("words", [["leave", "0"], ["return"]])
def test_success_goes_on(words: list[str]) -> None:
    result = CliRunner().invoke(outer, words)
    assert (result.exit_code, result.output) == (0, "after it\n")


def test_error_of_the_command_is_that_of_the_verb() -> None:
    assert str(CliRunner().invoke(outer, ["fail"]).exception) == "the repository is not reachable"


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_plugin, "entry_points", lambda group, name: [])
    result = CliRunner().invoke(outer, ["leave", "0"])
    assert isinstance(result.exception, local_plugin.LocalMissing)
    assert "pip install collectionstore-local" in str(result.exception)
