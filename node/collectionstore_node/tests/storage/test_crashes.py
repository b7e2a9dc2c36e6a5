"""A process that is killed in the middle of its writes, again and again, on one data directory."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from collectionstore_node.raft.messages import Index
from collectionstore_node.tests.storage.crashing_writer import check
from collectionstore_node.tests.storage.entries import open_database

KILLS = 4


def run_and_kill(directory: Path, seed: int, lines: int) -> list[list[str]]:
    """Run the writer until it has said `lines` things, kill it, and return all that it said."""
    command = [sys.executable, "-m", "collectionstore_node.tests.storage.crashing_writer", str(directory), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().split() for _ in range(lines)]
        writer.kill()
        return said + [line.split() for line in writer.stdout.read().splitlines()]


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    """Log, term and vote are at least those last acknowledged, and the state is exactly that of the log."""
    choose = random.Random(20)
    for seed in range(KILLS):
        said = run_and_kill(tmp_path, seed, lines=choose.randrange(2, 120))
        assert said[0] == ["ready"]
        database = open_database(tmp_path)
        check(database)
        log = database.log
        for last, chain, term, vote, commit in [line for line in said[1:] if len(line) == 5][-1:]:
            assert log.hard_state().term >= int(term)
            assert log.last_index() >= int(commit)
            if log.hard_state().term == int(term):
                assert log.hard_state().vote == int(vote)
                assert log.chain(Index(int(last))).hex() == chain
        database.close()
