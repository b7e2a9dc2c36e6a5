"""Which interpreter the launcher starts for a member."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collectionstore_upgrade.programs import Programs, Version


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Two interpreters that print their name instead of running a node; folders with a blank, as users have them."""
    for name in ("older", "today"):
        path = tmp_path / f"the {name}"
        path.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        path.chmod(0o755)
    folder = tmp_path / "the choices"
    folder.mkdir()
    created = Programs.create(folder, tmp_path / "the older")
    return Programs(created.folder, created.older, tmp_path / "the today")


def started(programs: Programs, member: str) -> str:
    environment = {**os.environ, "COLLECTIONSTORE_NAME": member}
    done = subprocess.run([programs.launcher], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_members_run_the_older_version_at_first(programs: Programs) -> None:
    assert started(programs, "demo-0") == "older -m collectionstore_node"


def test_choice_holds_for_one_member(programs: Programs) -> None:
    programs.choose("demo-1", Version.TODAY)
    assert started(programs, "demo-1") == "today -m collectionstore_node"
    assert started(programs, "demo-0") == "older -m collectionstore_node"


def test_choice_for_all_replaces_single_ones(programs: Programs) -> None:
    programs.choose("demo-1", Version.TODAY)
    programs.choose_all(Version.OLDER)
    assert started(programs, "demo-1") == "older -m collectionstore_node"


def test_version_of_a_process_is_told_by_its_interpreter(programs: Programs) -> None:
    """Both environments may link to one interpreter, so the path that it was started by decides."""
    ours = Programs(programs.folder, programs.older, Path(sys.executable))
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # Popen may return during execve, when /proc has no command line yet.
        assert process.stdout is not None
        process.stdout.readline()
        assert ours.running(process.pid) is Version.TODAY
        assert programs.running(process.pid) is None
        process.communicate(b"\n")
    assert ours.running(process.pid) is None
