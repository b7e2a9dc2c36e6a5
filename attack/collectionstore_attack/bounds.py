"""The bounds, and the verdict on one attack. Pure: measurements in, sentences out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from collectionstore_attack.victim import REFUSED_FOR_SPACE, Sample

SUCCESS_MIN: Final = 0.95
HOLD_MAX_S: Final = 0.05
"""Of a delay, what the member did itself. What it waited for a processor, which it shares with attackers and the other
members, is shown beside it."""
RECOVERY_MAX_S: Final = 5.0
SLOW_FACTOR: Final = 5.0
SLOW_MIN_S: Final = 0.25
"""A request counts as normal again below SLOW_FACTOR times the p99 without an attack, and always below SLOW_MIN_S."""


@dataclass(slots=True)
class Measured:
    """What one attack did to the cluster and to the victim. Times in seconds, memory in bytes."""

    attack: str
    answers: Counter[str]
    wrong_answers: list[str]
    calm: list[Sample]
    during: list[Sample]
    after: list[Sample]
    ended: float
    """When the attack ended, monotonic; `after` begins there."""
    leader_changes: int
    read_only: bool
    exits: int
    delay_s: float
    """How late the event loop of any member was at worst, and `hold_s`, without its wait for a processor."""
    hold_s: float
    hold_floor_s: float
    """The loop was held for more than this: `hold_s` is the upper end of a bucket, and this its lower one."""
    pause_s: float
    """For how long the machine stood still at worst: see `pauses`."""
    memory_before: int
    memory_peak: int
    memory_after: int
    memory_max: int
    lost: list[str] = field(default_factory=list)
    gone: str = ""
    """Which member does not answer any more after the attack; empty if all do."""

    @property
    def success(self) -> float:
        """Share of the victim's requests during the attack that succeeded; 507 is right when space is short."""
        good = sum(self._good(sample) for sample in self.during)
        return good / len(self.during) if self.during else 0.0

    @property
    def p99_s(self) -> float:
        return quantile([sample.seconds for sample in self.during], 0.99)

    @property
    def calm_p99_s(self) -> float:
        return quantile([sample.seconds for sample in self.calm], 0.99)

    @property
    def recovery_s(self) -> float:
        """Seconds from the end of the attack to the end of the last request that failed or was slow."""
        slow = max(SLOW_MIN_S, SLOW_FACTOR * self.calm_p99_s)
        bad = [sample.ended for sample in self.after if not sample.ok or sample.seconds > slow]
        return max(0.0, max(bad) - self.ended) if bad else 0.0

    def _good(self, sample: Sample) -> bool:
        return sample.ok or (self.read_only and sample.write and sample.status == REFUSED_FOR_SPACE)


def quantile(values: Sequence[float], fraction: float) -> float:
    """Return the value that `fraction` of `values` do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else 0.0


def broken(measured: Measured, *, timing: bool) -> list[str]:
    """Return a sentence for each bound that was broken.

    Without `timing` those are left out that depend on how busy the machine is: success, delay, recovery, leadership.
    """
    found = [measured.gone] if measured.gone else []
    found += [*measured.wrong_answers, *measured.lost]
    if measured.exits:
        found.append(f"{measured.exits} members exited")
    if measured.memory_max and measured.memory_peak > measured.memory_max:
        found.append(f"a member held {measured.memory_peak >> 20} MiB, its limit is {measured.memory_max >> 20} MiB")
    if not measured.during or not measured.after:
        found.append("the victim sent nothing: nothing was measured")
    return found + (_broken_by_time(measured) if timing else [])


def _broken_by_time(measured: Measured) -> list[str]:
    found = []
    if measured.leader_changes:
        found.append(f"the leader changed {measured.leader_changes} times")
    if measured.success < SUCCESS_MIN:
        found.append(f"{measured.success:.1%} of the victim's requests succeeded, not {SUCCESS_MIN:.0%}")
    if measured.hold_floor_s >= HOLD_MAX_S + measured.pause_s:
        found.append(
            f"the event loop was held for {measured.hold_floor_s:g} to {measured.hold_s:g} s, not {HOLD_MAX_S:g} s; "
            f"the machine stood still for {measured.pause_s:.3f} s"
        )
    if measured.recovery_s > RECOVERY_MAX_S:
        found.append(f"normal again after {measured.recovery_s:.1f} s, not {RECOVERY_MAX_S:g} s")
    return found
