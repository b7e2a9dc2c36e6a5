"""Tests of the search for wrk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from collectionstore_testkit.tools import wrk


@pytest.fixture(params=["path", "package"])
def found(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What starts wrk, also on a machine where only the programs beside it are installed."""
    if request.param == "package":
        for folder in os.environ["PATH"].split(os.pathsep):
            for program in Path(folder).glob("*"):
                if program.name != wrk.PACKAGE and not (tmp_path / program.name).exists():
                    (tmp_path / program.name).symlink_to(program)
        monkeypatch.setenv("PATH", str(tmp_path))
    return wrk.command()


def test_what_is_found_runs(found: list[str]) -> None:
    done = subprocess.run([*found, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("wrk ")
