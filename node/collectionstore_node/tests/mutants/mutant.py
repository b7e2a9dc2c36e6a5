"""A mutant: a patch that brings a known bug back, and the copy of the package that it is applied to.

A patch file begins with a header, which `git apply` skips:
```
S01 (or N03, a row of what was found here, or P01, one of the peer port): what the code does wrong with the patch.
Seeds: yes, or why the simulation cannot see it.
Tests: a scenario or a test, relative to tests/, that must fail; further ones indented on lines of their own.
```
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
PACKAGE: Final = FOLDER.parents[1]
ROOT: Final = PACKAGE.parents[1]
_HEADER = re.compile(r"\A([A-Z]\d\d): (.+)\nSeeds: (.+)\nTests: (.+(?:\n {7}.+)*)\n\n", re.MULTILINE)


class MutantBroken(Exception):
    """A patch does not apply to today's code, has no proper header, or breaks more than it should."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch and what its header says."""

    path: Path
    row: str
    title: str
    seeds: str
    tests: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def hunted(self) -> bool:
        """Whether the simulation runs the code that the patch changes."""
        return self.seeds == "yes"


def read_mutants() -> list[Mutant]:
    """Return all mutants, in order of their rows. Raises `MutantBroken` for one without a proper header."""
    return [_read(path) for path in sorted(FOLDER.glob("[a-z][0-9][0-9]_*.patch"))]


def _read(path: Path) -> Mutant:
    text = path.read_text()
    header = _HEADER.match(text)
    if header is None:
        raise MutantBroken(f"{path.name}: no proper header")
    row, title, seeds, tests = header.groups()
    files = re.findall(r"^\+\+\+ b/node/collectionstore_node/(\S+)", text, re.MULTILINE)
    names = tuple(_test(name.strip()) for name in tests.splitlines())
    return Mutant(path, row, title, seeds, names, tuple(files))


def _test(name: str) -> str:
    """Return the pytest id of a test, relative to tests/; a scenario is named by its file."""
    if name.endswith(".txt"):
        return f"scenarios/test_scenarios.py::test_story[{name.removesuffix('.txt')}]"
    return name


def applies(mutant: Mutant, root: Path = ROOT) -> str:
    """Return why the patch does not apply to the tree at `root`, which stays as it is; empty when it does."""
    return _git_apply(mutant, root, "--check")


def make_copy(to: Path, mutant: Mutant | None) -> None:
    """Copy the package to `to`/node and apply the patch there. Raises `MutantBroken`."""
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, to / "node" / PACKAGE.name, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", to)
    if mutant is None:
        return
    if problem := _git_apply(mutant, to):
        raise MutantBroken(f"{mutant.path.name} does not apply any more: {problem}")
    for file in mutant.files:
        if (to / "node" / PACKAGE.name / file).read_bytes() == (PACKAGE / file).read_bytes():
            raise MutantBroken(f"{mutant.path.name} left {file} as it was")


def environment(copy: Path) -> dict[str, str]:
    """Return the environment in which a process imports the package from `copy`."""
    return {**os.environ, "PYTHONPATH": str(copy / "node"), "PYTHONHASHSEED": "0"}


def _git_apply(mutant: Mutant, root: Path, *options: str) -> str:
    # Outside any repository: git leaves out what lies beyond the one it finds itself in.
    git = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent), "GIT_DIR": os.devnull}
    command = ["git", "apply", *options, str(mutant.path)]
    done = subprocess.run(command, cwd=root, env=git, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"git apply returned {done.returncode}"
