"""The programs say what to install where a package of their extra is missing, and list all of their commands."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner

from collectionstore import csctl, launch, plugin
from collectionstore.data import catalogue


@pytest.mark.parametrize("missing", sorted(launch.EXTRA))
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{missing}'", name=f"{missing}.inner")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(SystemExit) as ended:
        launch.csctl()
    assert missing in str(ended.value.code)
    assert "pip install 'collectionstore[cli]'" in str(ended.value.code)


def test_a_missing_module_of_ours_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "collectionstore.plugin", None)
    with pytest.raises(ModuleNotFoundError):
        launch.kubectl_plugin()


@pytest.mark.parametrize("name", catalogue.ALL)
def test_every_command_is_there_and_says_what_its_list_says(name: str) -> None:
    command = catalogue.ALL[name].load()
    assert command.name == name
    assert command.get_short_help_str(limit=100) == catalogue.ALL[name].help
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for one in commands:
        shown = CliRunner().invoke(one, ["--help"])
        assert shown.exit_code == 0
        assert one.help
        assert max(len(line) for line in shown.output.splitlines()) <= 110


@pytest.mark.parametrize("root", [csctl.main, plugin.main])
def test_roots_list_all_commands(root: click.Group) -> None:
    shown = CliRunner().invoke(root, ["--help"]).output
    for name, one in catalogue.ALL.items():
        assert f"  {name} " in shown
        assert one.help[:30] in shown
