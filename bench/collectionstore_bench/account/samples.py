"""Samples of a profiler, and the processor time of threads: from both the cost of each stage. Pure.

A sampler sees what a thread is in, not what it costs. So each thread counts for the processor time that the kernel
accounts to it, divided among the stages by those samples in which the thread did not wait.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collectionstore_bench.account.stages import NODE, TELEMETRY, Frame, Stage, room_of, stage_of, waits
from collectionstore_bench.processes import ThreadTime

_THREAD: Final = re.compile(r"thread \((\d+)\)")
_FRAME: Final = re.compile(r"(?P<function>.*) \((?P<place>.*)\)")
_OURS: Final = re.compile(rf"(?P<module>(?:{NODE}|{TELEMETRY})/.*)\.py$")


@dataclass(frozen=True, slots=True)
class Sample:
    """`count` times the thread `thread` was in `stack`, outermost frame first."""

    thread: int
    stack: Sequence[Frame]
    count: int


def parse_samples(text: str) -> list[Sample]:
    """Read the `raw` format of py-spy with `--threads` and `--full-filenames`. Raises ValueError."""
    samples = []
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        head, *frames = stack.split(";")
        thread = _THREAD.match(head)
        if thread is None or not frames:
            raise ValueError(f"not a sample of py-spy: {line[:200]!r}")
        samples.append(Sample(int(thread[1]), [parse_frame(frame) for frame in frames], int(count)))
    return samples


def parse_frame(text: str) -> Frame:
    """Return a frame of py-spy: `function (file:line)` or `function (library)`."""
    match = _FRAME.fullmatch(text)
    if match is None:
        return Frame(text, "")
    place = re.sub(r":\d+$", "", match["place"])
    ours = _OURS.search(place)
    return Frame(match["function"], ours["module"].replace("/", ".").removesuffix(".__init__") if ours else place)


@dataclass(frozen=True, slots=True)
class Account:
    """Microseconds of processor time per request, by stage; `unmapped` divides `other` by room."""

    stages: Mapping[Stage, float]
    unmapped: Mapping[str, float]
    samples: int
    """How many samples in which a thread did not wait stand behind the shares."""

    @property
    def total_us(self) -> float:
        return sum(self.stages.values())


def make_account(samples: Sequence[Sample], threads: Mapping[int, ThreadTime], requests: int) -> Account:
    """Divide the processor time of `threads`, spent on `requests`, among the stages."""
    busy: dict[int, list[Sample]] = defaultdict(list)
    waiting: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        (waiting if waits(sample.stack) else busy)[sample.thread].append(sample)
    stages: dict[Stage, float] = defaultdict(float)
    unmapped: dict[str, float] = defaultdict(float)
    for thread, time in threads.items():
        us = time.seconds / requests * 1e6
        # A thread that only waited when it was sampled: its waits say whose thread it is.
        seen = busy[thread] or waiting[thread]
        count = sum(sample.count for sample in seen)
        if not count:
            stages[_stage_of_native_thread(time.name)] += us
        for sample in seen:
            stage, share = stage_of(sample.stack), us * sample.count / count
            stages[stage] += share
            if stage is Stage.OTHER:
                unmapped[room_of(sample.stack)] += share
    counted = sum(sample.count for some in busy.values() for sample in some)
    return Account(dict(stages), dict(unmapped), counted)


def _stage_of_native_thread(name: str) -> Stage:
    return Stage.BACKGROUND if name.startswith("rocksdb") else Stage.OTHER
