"""How the programs end."""

from __future__ import annotations

import asyncio
import re

import pytest

from collectionstore_bench.program import exit_code, on_uvloop
from collectionstore_testkit.clusters.errors import ClusterFailed


def test_code_of_the_work_is_passed_on() -> None:
    """A missed bound is no failure of the program."""
    assert [exit_code(lambda: 0), exit_code(lambda: 3)] == [0, 3]


@pytest.mark.parametrize("error", [ClusterFailed("no leader"), TimeoutError("no leader"), RuntimeError("no leader")])
def test_error_of_the_world_is_said_in_a_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a traceback, and not among the results."""

    def work() -> int:
        raise error

    assert exit_code(work) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d error: no leader\n", said.err)


def test_error_of_the_program_is_raised() -> None:
    """Unless the program names it: then it is one of what it measures."""

    def work() -> int:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        exit_code(work)
    assert exit_code(work, ValueError) == 1


def test_interrupted_program_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    """Also when the signal has cancelled its task, as SIGTERM does."""

    async def cancelled() -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()
        return 0

    def interrupted() -> int:
        raise KeyboardInterrupt

    assert [exit_code(lambda: on_uvloop(cancelled())), exit_code(interrupted)] == [130, 130]
    assert capsys.readouterr().err.count("interrupted") == 2
