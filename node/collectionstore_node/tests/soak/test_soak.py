"""The soak counts every seed once, shows what failed and how to replay it, and says so in its exit status."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from collectionstore_node.tests.soak.layers import LAYERS, Layer
from collectionstore_node.tests.soak.report import Report
from collectionstore_node.tests.soak.run import main
from collectionstore_node.tests.soak.summary import Progress
from collectionstore_node.tests.soak.tally import Failure, Tally
from collectionstore_node.tests.soak.worker import run_seeds

TRIPPING = {1: Layer("collectionstore_node.tests.soak.tripping_layer", "fails every seventh seed")}


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_seeds_are_shared_by_processes_and_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "8", "--seeds", "6", "--jobs", "2", "-o", "json"], TRIPPING) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["seeds"], found["done"], found["jobs"]) == (8, 6, 6, 2)
    assert found["faults"] == {"crash": 6, "message lost": sum(range(8, 14))}
    assert found["operations"] == 60
    assert found["simulated_hours"] == round(6 * 1.5 / 3600, 3)
    assert found["failures"] == []


def test_failing_seeds_are_named_with_the_command_that_replays_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "15", "--jobs", "1", "-o", "json"], TRIPPING) == 1
    found = json.loads(capsys.readouterr().out)
    assert [failure["seed"] for failure in found["failures"]] == [0, 7, 14]
    assert found["failures"][1]["error"] == "AssertionError: broken in seed 7"
    assert found["failures"][1]["replay"].endswith("tests.soak.run --layer 1 --first 7 --seeds 1")
    assert found["done"] == 15


def test_single_failing_seed_shows_where_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "7", "--seeds", "1", "--jobs", "1"], TRIPPING) == 1
    shown = capsys.readouterr().out
    assert "1 seed failed:" in shown
    assert "tripping_layer.py" in shown


def test_summary_for_people_says_what_was_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "1", "--seeds", "3", "--jobs", "1"], TRIPPING) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("layer 1: 3 of 3 seeds from 1 on in ")
    assert "             6  message lost" in shown
    assert shown.endswith("no seed failed\n")


@pytest.mark.parametrize("wrong", [["--seeds", "0"], ["--layer", "9"], ["--jobs", "none"], ["-o", "xml"]])
def test_wrong_usage_is_status_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong, TRIPPING)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "exit status:" in shown


def test_first_layer_runs_the_simulation_of_the_cores() -> None:
    tally = run_seeds(LAYERS[1], 3, 5)
    assert (tally.seeds, tally.failures) == (2, [])
    assert tally.operations > 0
    assert tally.simulated_s > 0
    assert tally.faults.total() > 0


def test_sum_over_processes_does_not_depend_on_their_order() -> None:
    def part(*seeds: int) -> Tally:
        tally = Tally()
        for seed in seeds:
            tally.add(Report(seed, 1.0, Counter({"crash": 1}), 1, f"trace of {seed}"))
        tally.failed(Failure(100 - seeds[0], "broken", ""))
        return tally

    sums = []
    for parts in ([part(1, 2), part(3)], [part(3), part(1, 2)]):
        tally = Tally()
        for one in parts:
            tally.join(one)
        sums.append((tally.seeds, tally.faults, tally.trace(), [failure.seed for failure in tally.failures]))
    assert sums[0] == sums[1]
    assert sums[0][0] == 5
    assert sums[0][3] == [97, 99]
    assert part(1, 2).trace() != part(1, 3).trace()


def test_bar_moves_on_a_terminal_and_stays_out_of_a_file() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(200, stream)
        progress.show(100, 2, 4.0)
        progress.clear()
    assert "] 100/200, 25.0/s, 4 s left, 2 failed" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert file.getvalue() == ""


def test_processes_end_with_a_soak_that_is_killed() -> None:
    """Their results are never read, and each would keep a core busy for hours."""
    command = (sys.executable, "-m", "collectionstore_node.tests.soak.run", "--seeds", "1000000", "--jobs", "2")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while len(started := children.read_text().split()) < 3:  # two at work, and the tracker of resources
            assert parent.poll() is None
        ends = [os.pidfd_open(int(child)) for child in started]
        parent.send_signal(signal.SIGKILL)
        try:
            for end in ends:
                assert select.select([end], [], [], 30)[0]
        finally:
            for end in ends:
                os.close(end)
