"""Tests of the programs built from Go modules."""

from __future__ import annotations

from collectionstore_testkit.tools.go_programs import HELM, Module


def test_cache_key_of_a_module_changes_with_its_flags() -> None:
    """A program linked with another version string is another program."""
    plain, flagged = Module("helm", ""), Module("helm", "", linker_flags="-X main.version=1")
    assert plain.key() == HELM.key() == Module("helm", "another text").key()
    assert plain.key() != flagged.key()


def test_modules_are_pinned() -> None:
    assert (HELM.folder / "go.sum").stat().st_size
