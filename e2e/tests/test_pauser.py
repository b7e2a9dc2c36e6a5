"""The process around an operator that stands still: it says where, waits to be told, and starts what has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectionstore_e2e.product import points
from collectionstore_e2e.scenarios import member_faults

OPERATOR = """#!{python}
import os, signal
for point in ("A.before", "A.after"):
    with open("{folder}/points", "a") as record:
        record.write(point + "\\n")
    os.kill(os.getpid(), signal.SIGSTOP)
with open("{folder}/ended", "a") as ended:
    ended.write("once\\n")
"""
DEADLINE_S = 30.0


@pytest.fixture
def pauser(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    program = tmp_path / "collectionstore-operator"
    program.write_text(OPERATOR.format(python=sys.executable, folder=tmp_path))
    program.chmod(0o755)
    code = member_faults.PAUSER.replace(points.FOLDER, str(tmp_path))
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    with started:
        yield started
        started.terminate()


def _next(pauser: subprocess.Popen[str]) -> str:
    assert pauser.stdout is not None
    return pauser.stdout.readline().strip()


def _until(holds: Path) -> None:
    until = time.monotonic() + DEADLINE_S
    while not holds.exists():
        assert time.monotonic() < until, f"no {holds}"
        time.sleep(0.01)


def test_it_says_where_the_operator_stands_and_starts_it_again(pauser: subprocess.Popen[str], tmp_path: Path) -> None:
    go, ended = tmp_path / "go", tmp_path / "ended"
    assert _next(pauser) == "stands at A.before"
    assert not ended.exists()
    go.touch()
    assert _next(pauser) == "stands at A.after"
    assert not go.exists(), "one word lets it go on twice"
    assert not ended.exists()
    go.touch()
    assert _next(pauser) == "stands at A.before"
    assert ended.read_text() == "once\n"
    pauser.send_signal(signal.SIGTERM)
    assert pauser.wait(DEADLINE_S) == 0


def test_when_all_is_over_it_stands_nowhere(pauser: subprocess.Popen[str], tmp_path: Path) -> None:
    assert _next(pauser) == "stands at A.before"
    (tmp_path / "over").touch()
    _until(tmp_path / "ended")
