"""The engine of the fuzzers: cases from a seed against a target, with checks between them, a progress bar, a summary.

Case `n` of seed `s` is always the same, so a finding is repeated with `--seed s --first n --requests 1`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import structlog

CHECK_EVERY = 50
"""Cases between two checks that a well-behaved client is served."""
FINDINGS_MAX = 20
"""A run ends early after so many: most have one cause."""


class Finding(Exception):
    """The target did what it must not do; the text says what."""


class Target(Protocol):
    """What is fuzzed."""

    async def run(self, random: Random) -> str:
        """Run one case and return the kind of its outcome. Raises `Finding`."""

    async def check(self) -> None:
        """Check that a well-behaved client is served, and that what is stored can be stored again."""


@dataclass
class Summary:
    """What came of a run."""

    seed: int
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.cases / self.seconds if self.seconds else 0.0
        lines = [f"{self.cases} cases of seed {self.seed} in {self.seconds:.0f} s ({rate:.0f} per second)"]
        lines += [f"  {count:>9}  {outcome}" for outcome, count in self.outcomes.most_common()]
        lines += [f"FINDING {finding}" for finding in self.findings]
        return "\n".join([*lines, f"{len(self.findings)} findings"])


class _Collector(logging.Handler):
    """Collects what libraries log as an error, and what the code under test logs through structlog."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


@contextmanager
def _collected() -> Iterator[_Collector]:
    collector = _Collector()

    def note(_logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if method in ("error", "critical", "exception") or event.get("exc_info"):
            collector.lines.append(str(event))
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[note])
    logging.getLogger().addHandler(collector)
    try:
        yield collector
    finally:
        logging.getLogger().removeHandler(collector)
        structlog.configure(processors=before)


async def fuzz(
    target: Target, *, requests: int, seed: int, first: int = 0, progress: Callable[[Summary], None] | None = None
) -> Summary:
    """Run `requests` cases; `progress` is called now and then."""
    summary, began = Summary(seed), time.monotonic()
    with _collected() as collector:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: collector.lines.append(str(context)))
        for number in range(first, first + requests):
            try:
                summary.outcomes[await target.run(Random(f"{seed}/{number}"))] += 1
                if number % CHECK_EVERY == CHECK_EVERY - 1:
                    await target.check()
            except Finding as finding:
                summary.findings.append(f"case {number}: {finding}")
            summary.findings += [f"case {number} logged: {line}" for line in collector.take()]
            summary.cases += 1
            summary.seconds = time.monotonic() - began
            if progress is not None and not summary.cases % 500:
                progress(summary)
            if len(summary.findings) >= FINDINGS_MAX:
                break
        await target.check()
    return summary


def bar(requests: int) -> Callable[[Summary], None]:
    """Return a function that draws the progress of a run of `requests` cases on standard error."""

    def draw(summary: Summary) -> None:
        done = summary.cases / requests
        left = summary.seconds / done - summary.seconds
        filled = "#" * int(30 * done)
        findings = len(summary.findings)
        sys.stderr.write(f"\r[{filled:<30}] {summary.cases}/{requests}, {left:.0f} s left, {findings} findings ")
        sys.stderr.flush()

    return draw
