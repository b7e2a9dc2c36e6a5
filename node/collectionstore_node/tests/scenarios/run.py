"""Play stories: `python -m collectionstore_node.tests.scenarios.run [--rewrite] [file ...]` (default: all).

Without `--rewrite` it prints where a story differs from what is written. With it the files get what their commands
print now: read the diff before you believe it.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Final

from collectionstore_node.tests.scenarios.commands import COMMANDS
from collectionstore_node.tests.scenarios.language import parse
from collectionstore_node.tests.scenarios.stage import Stage
from collectionstore_node.tests.scenarios.story import Step, rewritten

FOLDER: Final = Path(__file__).parent


def stories() -> list[Path]:
    """Return the scenario files, in order."""
    return sorted(FOLDER.glob("*.txt"))


def play(path: Path) -> str:
    """Return the story with what its commands print now. An exception names the line: a broken invariant, mostly."""
    stage = Stage()

    def run(step: Step) -> list[str]:
        try:
            command = parse(step.command)
            return COMMANDS[command.verb](stage, command) + stage.news()
        except Exception as error:
            error.add_note(f"{path.name}:{step.number}: {step.command}")
            raise

    return rewritten(path.read_text(), run)


def difference(path: Path) -> str:
    """Return, as a unified diff, where the story differs from what its commands print now; empty when nowhere."""
    old, new = path.read_text().splitlines(), play(path).splitlines()
    return "\n".join(difflib.unified_diff(old, new, "written", "played", lineterm=""))


def main(arguments: list[str]) -> int:
    """Return 1 if a story differs, 0 otherwise."""
    rewrite = "--rewrite" in arguments
    named = [Path(argument) for argument in arguments if argument != "--rewrite"]
    different = 0
    for path in named or stories():
        found = difference(path)
        if found and rewrite:
            path.write_text(play(path))
        elif found:
            different = 1
            sys.stdout.write(f"{path.name}\n{found}\n")
    return different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
