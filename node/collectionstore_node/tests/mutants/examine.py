"""What notices a mutant: seeds of the simulation, and the tests that its patch names, run on the mutated copy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_node.tests.mutants.mutant import Mutant, MutantBroken, environment, make_copy

PROCESS_TIMEOUT_S: Final = 3600.0
"""Far more than the seeds of a busy machine take; a seed that does not end is caught by its own limit (`hunt`)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of a mutant; None is the package as it is."""

    mutant: Mutant | None
    seeds: int
    """How many seeds ran until one failed, that one included; 0 when none did, or none ran."""
    words: str
    """What the failing seed said."""
    tests: tuple[str, ...]
    failing: tuple[str, ...]
    """Those of `tests` that failed, in one of their cases at least."""
    seconds: float

    @property
    def caught(self) -> bool:
        return self.seeds > 0 or bool(self.failing)


def examine(mutant: Mutant | None, seeds_max: int, tests: tuple[str, ...]) -> Finding:
    """Make the copy and let it run. Raises `MutantBroken`."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder).resolve()
        make_copy(copy, mutant)
        seeds, words = (0, "")
        if mutant is None or mutant.hunted:
            seeds, words = _hunt(copy, seeds_max)
        failing = _failing(copy, tests)
    return Finding(mutant, seeds, words, tests, failing, time.perf_counter() - started)


def _hunt(copy: Path, seeds_max: int) -> tuple[int, str]:
    done = _run(copy, "collectionstore_node.tests.mutants.hunt", str(seeds_max))
    if done.returncode != 0:
        raise MutantBroken(f"the hunt ended with {done.returncode}: {done.stderr[-2000:]}")
    findings = json.loads(done.stdout)
    if not Path(findings["package"]).is_relative_to(copy):
        raise MutantBroken(f"the hunt ran {findings['package']} instead of the copy")
    if findings["broken"]:
        raise MutantBroken(f"the patch breaks the code: {findings['words']}")
    return findings["seeds"], findings["words"]


def _failing(copy: Path, tests: tuple[str, ...]) -> tuple[str, ...]:
    base = "node/collectionstore_node/tests/"
    options = [
        "-q",
        "-rf",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        "addopts=--import-mode=importlib",
    ]
    options += ["-c", str(copy / "pyproject.toml"), "--rootdir", str(copy)]
    done = _run(copy, "pytest", *options, *(base + test for test in tests))
    failed = re.findall(rf"^FAILED {base}(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    failing = tuple(test for test in tests if any(one == test or one.startswith(f"{test}[") for one in failed))
    # 0: all passed, 1: some failed; the rest is about tests that could not run at all.
    if done.returncode != min(len(failing), 1):
        raise MutantBroken(f"the tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failing


def _run(copy: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=copy,
        env=environment(copy),
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
        check=False,
    )
