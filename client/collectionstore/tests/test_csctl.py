"""csctl has the commands of the client, and those that installed packages add."""

from __future__ import annotations

from importlib.metadata import EntryPoint, version

import click
import pytest
from click.testing import CliRunner

from collectionstore import csctl
from collectionstore.csctl import GROUP, KNOWN_COMMANDS, load_command, main


def test_help_teaches_by_examples() -> None:
    """The first help text a user reads has commands to paste."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "csctl local up -f examples/local.yaml" in result.output
    assert "local " in result.output


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version_is_that_of_the_package(arguments: list[str]) -> None:
    """Both spellings work."""
    result = CliRunner().invoke(main, arguments)
    assert version("collectionstore") in result.output


def test_report_needs_no_other_package() -> None:
    assert "report" in main.commands


def test_installed_command_is_found() -> None:
    """The package collectionstore-local adds `local`."""
    result = CliRunner().invoke(main, ["local", "--help"])
    assert result.exit_code == 0
    assert "Exit codes:" in result.output


def test_unknown_command_is_refused() -> None:
    """Usage errors have exit code 2."""
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("name", KNOWN_COMMANDS)
def test_known_command_that_is_not_installed_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the client alone, `csctl local` names the package, whatever its arguments are."""
    monkeypatch.setattr(csctl, "installed_commands", tuple)
    assert "(unavailable: collectionstore-local is not installed)" in CliRunner().invoke(main, ["--help"]).output
    result = CliRunner().invoke(main, [name, "up", "--fast"])
    assert result.exit_code == 1
    assert f"csctl {name} needs collectionstore-local" in result.output
    assert "pip install collectionstore-local" in result.output


def test_command_with_a_missing_dependency_says_what_to_install() -> None:
    """It fails when it is used, whatever its arguments are, and does not affect the others."""
    command = load_command(EntryPoint("local", "absent_package.cli:cloud", GROUP))
    result = CliRunner().invoke(command, ["up", "--fast"])
    assert result.exit_code == 1
    assert "csctl local needs absent_package" in result.output
    assert "pip install collectionstore-local" in result.output


def test_entry_point_that_is_no_command_is_an_error() -> None:
    """A mistake in the package that added it."""
    with pytest.raises(click.ClickException, match="is not a click command"):
        load_command(EntryPoint("broken", "collections:OrderedDict", GROUP))
