"""csctl is put together from the command groups that are installed."""

from __future__ import annotations

from importlib.metadata import EntryPoint, version

import click
import pytest
from click.testing import CliRunner

from collectionstore.csctl import GROUP, load_group, main


def test_help_teaches_by_examples() -> None:
    """The first thing a user reads shows commands to paste."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "csctl local up -f examples/local.yaml" in result.output
    assert "local " in result.output


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version_is_that_of_the_package(arguments: list[str]) -> None:
    """Both spellings work."""
    result = CliRunner().invoke(main, arguments)
    assert version("collectionstore") in result.output


def test_installed_group_is_found() -> None:
    """The operator adds `local`."""
    result = CliRunner().invoke(main, ["local", "--help"])
    assert result.exit_code == 0
    assert "Exit codes:" in result.output


def test_unknown_command_is_refused() -> None:
    """Usage errors have exit code 2."""
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_group_with_a_missing_dependency_says_what_to_install() -> None:
    """It fails when it is used, whatever its arguments are, and spoils nothing else."""
    command = load_group(EntryPoint("cloud", "absent_package.cli:cloud", GROUP))
    result = CliRunner().invoke(command, ["up", "--fast"])
    assert result.exit_code == 1
    assert "csctl cloud needs absent_package" in result.output


def test_entry_point_that_is_no_command_is_an_error() -> None:
    """A mistake of whoever made the package."""
    with pytest.raises(click.ClickException, match="is not a click command"):
        load_group(EntryPoint("broken", "collections:OrderedDict", GROUP))
