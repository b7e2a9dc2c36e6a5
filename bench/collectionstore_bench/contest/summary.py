"""Medians and spreads of turns, and ratios between contenders. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from collectionstore_bench.contest.turns import Turn


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of `values`, None without any."""
        some = sorted(values)
        return cls(median(some), some[0], some[-1]) if some else None


@dataclass(frozen=True, slots=True)
class Results:
    """All turns, by case and contender, both in the order of their first turn."""

    turns: Sequence[Turn]

    @property
    def cases(self) -> list[str]:
        return list(dict.fromkeys(turn.case for turn in self.turns))

    def of(self, case: str, contender: str) -> list[Turn]:
        """Return the turns of a contender in a case, by round."""
        found = [turn for turn in self.turns if (turn.case, turn.contender) == (case, contender)]
        return sorted(found, key=lambda turn: turn.round)

    def spread(self, case: str, contender: str, value: Callable[[Turn], float | None]) -> Spread | None:
        """Return the spread of a value over the rounds, None if there is none."""
        values = [value(turn) for turn in self.of(case, contender)]
        return Spread.of(one for one in values if one is not None)

    def ratio(self, case: str, ours: str, other: str, value: Callable[[Turn], float]) -> Spread | None:
        """Return the spread of ours divided by the other's in the same round.

        Rounds in which either is 0 say nothing about the ratio and are left out: the table of errors shows them.
        """
        others = {turn.round: value(turn) for turn in self.of(case, other)}
        pairs = [(value(turn), others.get(turn.round, 0.0)) for turn in self.of(case, ours)]
        return Spread.of(one / another for one, another in pairs if one and another)

    def troubled(self) -> list[Turn]:
        """Return the turns with errors, without an answer, or during which the leader changed."""
        return [turn for turn in self.turns if turn.errors or not turn.requests or turn.leader_changed]
