"""Where Chromium comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collectionstore_testkit.errors import ToolUnavailable
from collectionstore_testkit.tools import chromium


def test_the_one_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "chromium-browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert chromium.program() == str(program)


def test_without_one_only_root_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ToolUnavailable, match="install the package chromium"):
        chromium.program()
    assert "--no-sandbox" not in chromium.flags()


def test_root_goes_without_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert "--no-sandbox" in chromium.flags()
