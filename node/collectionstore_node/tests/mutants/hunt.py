"""Run seeds of the simulation until one fails: `python -m collectionstore_node.tests.mutants.hunt LIMIT`.

Runs in a process that imports the mutated package, and prints its findings as JSON.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import collectionstore_node
from collectionstore_node.tests.raft import chaos

SEED_CPU_S: Final = 20.0
"""A seed takes a tenth of a second; a mutant that makes one endless is caught by that."""
BROKEN: Final = (TypeError, NameError, AttributeError, ImportError, SyntaxError)
"""A patch that ends in one of these breaks the code instead of bringing a bug back."""


class DoesNotEnd(Exception):
    """A seed took far more processor time than any should."""


def hunt(limit: int) -> dict[str, object]:
    """Return after how many seeds, at most `limit`, one failed (0: none), and with which words."""
    signal.signal(signal.SIGVTALRM, _give_up)
    for seed in range(limit):
        signal.setitimer(signal.ITIMER_VIRTUAL, SEED_CPU_S)
        try:
            chaos.run(seed)
        except Exception as error:
            broken = isinstance(error, BROKEN)
            words = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            return {"seeds": seed + 1, "words": words, "broken": broken}
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return {"seeds": 0, "words": "", "broken": False}


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise DoesNotEnd("the seed does not come to its end")


if __name__ == "__main__":
    findings = hunt(int(sys.argv[1]))
    findings["package"] = str(Path(collectionstore_node.__file__).parent)
    sys.stdout.write(json.dumps(findings))
