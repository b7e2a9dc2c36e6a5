"""Tests of the search for Prometheus's programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from collectionstore_testkit.errors import CommandFailed, ToolUnavailable
from collectionstore_testkit.tools import prometheus


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with one empty folder, which is returned."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_what_is_found_judges_metrics() -> None:
    command = [str(prometheus.promtool()), "check", "metrics"]
    good = subprocess.run(command, input=b"# HELP a_total Counts.\n# TYPE a_total counter\na_total 1\n", check=False)
    bad = subprocess.run(command, input=b"# TYPE a counter\na 1\n", capture_output=True, check=False)
    assert good.returncode == 0
    assert bad.returncode != 0
    assert b'counter metrics should have "_total" suffix' in bad.stderr


def test_the_server_tells_its_version() -> None:
    assert prometheus.version().startswith(("2.", "3."))


def test_a_program_on_the_path_comes_first(bare_path: Path) -> None:
    own = program(bare_path / "promtool", "exit 0")
    assert prometheus.promtool() == own


def test_without_apt_the_error_says_what_to_install(bare_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "CACHE", bare_path)
    with pytest.raises(ToolUnavailable, match="prometheus is not on the PATH"):
        prometheus.server()


def test_a_failing_download_leaves_nothing_behind(
    bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bare_path / "apt-get", "echo 'no such package' >&2; exit 100")
    program(bare_path / "dpkg", "exit 0")
    cache = tmp_path / "cache"
    monkeypatch.setattr(prometheus, "CACHE", cache)
    with pytest.raises(CommandFailed, match="no such package"):
        prometheus.server()
    assert list(cache.iterdir()) == []
