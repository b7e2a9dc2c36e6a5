"""Tests of the programs built from Go modules."""

from __future__ import annotations

from pathlib import Path

from collectionstore_testkit.tools.go_programs import HELM, Module


def test_cache_key_of_a_module_changes_with_its_flags() -> None:
    """A program linked with another version string is another program."""
    plain, flagged = Module("helm", ""), Module("helm", "", linker_flags="-X main.version=1")
    assert plain.key() == HELM.key() == Module("helm", "another text").key()
    assert plain.key() != flagged.key()


def test_cache_key_of_a_module_changes_with_its_own_sources(tmp_path: Path) -> None:
    """A changed program is built again, although its dependencies are the same."""
    folder = tmp_path / "own" / "command"
    folder.mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        (tmp_path / "own" / name).write_text("")
    (folder / "main.go").write_text("package main")
    module = Module("own", "", parent=tmp_path)
    before = module.key()
    (folder / "main.go").write_text("package main // changed")
    assert module.key() != before


def test_modules_are_pinned() -> None:
    assert (HELM.folder / "go.sum").stat().st_size
