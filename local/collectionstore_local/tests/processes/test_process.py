"""A process is identified so that a reused pid is never mistaken for it."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectionstore_local.processes.process import Process, adopt, arguments, environment, identify_process, start

SLEEPER = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = start(SLEEPER, {"COLOUR": "green"}, output=tmp_path / "log")
    yield process
    process.send(signal.SIGKILL)
    wait_for_end(process)
    process.is_running()
    process.close()


def wait_for_output(log: Path) -> None:
    """Wait until the program runs: the kernel shows its arguments and environment only then."""
    deadline = time.monotonic() + 10
    while log.read_text() != "up\n":
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.01)


def wait_for_end(process: Process) -> None:
    ended, _, _ = select.select([process.fileno()], [], [], 10)
    assert ended, "the process did not end"


def test_started_process_has_a_session_of_its_own(sleeper: Process) -> None:
    """It outlives the terminal and Ctrl-C of its parent."""
    assert os.getsid(sleeper.identity.pid) == sleeper.identity.pid


def test_exit_code_of_a_child_tells_the_signal(sleeper: Process) -> None:
    """A negative exit code is the signal that ended the process."""
    sleeper.send(signal.SIGKILL)
    wait_for_end(sleeper)
    assert not sleeper.is_running()
    assert sleeper.exit_code() == -signal.SIGKILL


def test_signal_to_an_ended_process_does_nothing(sleeper: Process) -> None:
    """It may end on its own between the decision and the signal."""
    sleeper.send(signal.SIGKILL)
    wait_for_end(sleeper)
    assert not sleeper.is_running()
    sleeper.send(signal.SIGTERM)


def test_adopted_process_is_the_same_and_its_end_is_seen(sleeper: Process) -> None:
    """Another supervisor finds the process by its identity; the exit code is unknown to it."""
    adopted = adopt(sleeper.identity)
    assert adopted is not None
    assert adopted.adopted
    assert adopted.is_running()
    sleeper.send(signal.SIGKILL)
    wait_for_end(adopted)
    assert not adopted.is_running()
    assert adopted.exit_code() is None
    adopted.close()


def test_process_with_reused_pid_is_not_adopted(sleeper: Process) -> None:
    """The same pid with another start time or boot is another process."""
    assert adopt(dataclasses.replace(sleeper.identity, start_ticks=sleeper.identity.start_ticks - 1)) is None
    assert adopt(dataclasses.replace(sleeper.identity, boot_id="another")) is None


def test_ended_process_has_no_name(sleeper: Process) -> None:
    """A zombie does not count as running."""
    sleeper.send(signal.SIGKILL)
    wait_for_end(sleeper)
    assert identify_process(sleeper.identity.pid) is None
    assert adopt(sleeper.identity) is None


def test_arguments_and_environment_are_read_from_the_process(sleeper: Process, tmp_path: Path) -> None:
    """Command and environment of a process are read from the kernel."""
    wait_for_output(tmp_path / "log")
    assert arguments(sleeper.identity.pid) == list(SLEEPER)
    assert environment(sleeper.identity.pid)["COLOUR"] == "green"


def test_output_is_appended_to_a_private_file(sleeper: Process, tmp_path: Path) -> None:
    """Only the owner can read the log of a process."""
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_missing_program_raises(tmp_path: Path) -> None:
    """The caller gets an error immediately."""
    with pytest.raises(FileNotFoundError):
        start(("/does/not/exist",), {}, output=tmp_path / "log")
