"""A node that begins with a restore: never without it, and then by the node's own program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from collectionstore_local.backups import restored_start
from collectionstore_local.backups.restored_start import VARIABLE, Order
from collectionstore_local.processes.node_process import SEPARATOR, _runs
from collectionstore_local.state import secret_files
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory

NODE = (sys.executable, "-c", "import os, sys; print('node', os.getpid(), sorted(os.environ), sys.argv)")
PROGRAM = """
import os, sys
print("Error: " + os.environ.get("SAY", "none"), file=sys.stderr)
open(os.environ["NOTE"], "a").write(" ".join(sys.argv[1:]) + os.environ.get("TOKEN", "") + "\\n")
sys.exit(int(os.environ.get("CODE", "0")))
"""
RUN = "import sys; from collectionstore_local.backups import restored_start as r; r.PROGRAM = {program}; r.main()"


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("copy")


def begin(directory: ClusterDirectory, **variables: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    failure = directory.path / "failed.json"
    order = Order(cluster=str(directory.path), failure=str(failure), arguments=("latest",), credentials="store")
    program = (sys.executable, "-c", PROGRAM)
    command = (sys.executable, "-c", RUN.format(program=program), SEPARATOR, *NODE)
    given = {VARIABLE: msgspec.json.encode(order).decode(), "NOTE": str(directory.path / "note"), **variables}
    return subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, check=False), failure


def test_process_restores_and_becomes_the_node_without_its_secrets(directory: ClusterDirectory) -> None:
    secret_files.write(directory, "store", {"TOKEN": b"hush"})
    ended, failure = begin(directory)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("node ")
    assert "'TOKEN'" not in ended.stdout
    assert VARIABLE not in ended.stdout
    assert (directory.path / "note").read_text() == "restore latesthush\n"
    assert not failure.exists()


def test_restore_that_fails_starts_no_node_and_says_why(directory: ClusterDirectory) -> None:
    secret_files.write(directory, "store", {"TOKEN": b"hush"})
    ended, failure = begin(directory, CODE="5", SAY="no backup of this name")
    assert (ended.returncode, ended.stdout) == (5, "")
    assert json.loads(failure.read_bytes()) == {"exit_code": 5, "message": "Error: no backup of this name"}
    ended, failure = begin(directory)
    assert ended.stdout.startswith("node ")
    assert not failure.exists()


def test_missing_secret_starts_nothing(directory: ClusterDirectory) -> None:
    ended, failure = begin(directory)
    assert ended.returncode == 1
    assert not (directory.path / "note").exists()
    told = json.loads(failure.read_bytes())
    assert told["exit_code"] is None
    assert "the Secret store is not there" in told["message"]


def test_node_that_has_taken_the_place_is_found_by_its_command() -> None:
    """A supervisor that was killed before it recorded the process finds it, before and after it became the node."""
    code = "print(flush=True); input()"
    node = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert node.stdout is not None
        node.stdout.readline()  # its command line is empty until the kernel has set up its stack
        assert _runs(node.pid, (*restored_start.COMMAND, sys.executable, "-c", code))
        assert not _runs(node.pid, (*restored_start.COMMAND, sys.executable, "-c", "other"))
    finally:
        node.communicate(b"\n")
