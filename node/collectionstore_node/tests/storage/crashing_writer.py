"""A process that writes until it is killed: `python -m collectionstore_node.tests.storage.crashing_writer DIR SEED`.

It does everything a node does to its storage, in random order, and prints a line for all that it would tell others:
`<last index> <chain> <term> <vote> <commit>` after every sync. `check` knows what must be there afterwards.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from collectionstore_node.raft.messages import Configuration, HardState, Index, NodeId, SnapshotMetadata, Term
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage import Applied, Database
from collectionstore_node.tests.storage.entries import entries, open_database

_SLOTS = 40


def check(database: Database) -> None:
    """Raise unless the state is exactly what applying the log up to `applied` gives: entry i writes slot i % 40."""
    applied = database.state.applied.index
    expected = {_slot(index): b"%d" % index for index in range(max(1, applied - _SLOTS + 1), applied + 1)}
    found = {key: value.split(b" ")[0] for key, value in database.state.scan(b"slot", b"slou")}
    if found != expected:
        raise AssertionError(f"at {applied} the state is {found}")


def _slot(index: int) -> bytes:
    return b"slot%02d" % (index % _SLOTS)


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def write(database: Database, random_: random.Random) -> None:
    """Write forever."""
    log, state = database.log, database.state
    while True:
        hard_state = log.hard_state()
        last = log.last_index()
        term = hard_state.term
        if random_.random() < 0.1 or term == 0:
            term = Term(term + 1)
            hard_state = HardState(term, NodeId(random_.randrange(1, 4)), hard_state.commit)
            # A new leader may replace whatever is not committed.
            last = Index(random_.randint(hard_state.commit, last))
        count = random_.randint(1, 8)
        made = entries(last + 1, last + count, log.chain(last), term=term, size=random_.choice((10, 300, 5000)))
        log.append(made, hard_state)
        if random_.random() < 0.8:
            log.sync()
            commit = Index(random_.randint(hard_state.commit, log.last_index()))
            _say(log.last_index(), log.chain(log.last_index()).hex(), term, hard_state.vote, commit)
            log.append((), HardState(term, hard_state.vote, commit))
            for index in range(state.applied.index + 1, commit + 1):
                writes = Writes()
                writes.values[_slot(index)] = b"%d " % index + bytes(random_.choice((0, 2000)))
                applied = Applied(Index(index), log.term(Index(index)), log.chain(Index(index)), Configuration())
                state.commit(writes, applied)
        if random_.random() < 0.05:
            to = Index(random_.randint(log.snapshot().index, state.applied.index))
            log.compact(SnapshotMetadata(to, log.term(to), log.chain(to), Configuration()))


if __name__ == "__main__":
    opened = open_database(Path(sys.argv[1]))
    check(opened)
    _say("ready")
    write(opened, random.Random(int(sys.argv[2])))
