"""The findings of a run, and their text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from collectionstore_observe.breaking import Fired
from collectionstore_observe.panels import Verdict
from collectionstore_observe.series import Use


@dataclass(slots=True)
class Findings:
    """The result; `faults` are what makes a run fail beside what the parts say."""

    dashboards: int = 0
    panels: Verdict = field(default_factory=Verdict)
    series: Use = field(default_factory=lambda: Use(0, (), (), ()))
    rules: int = 0
    firing: tuple[str, ...] = ()
    """Alerts that fired before anything was broken, with their shortened `for`: listed for review."""
    fired: list[Fired] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    answers: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Return everything that is wrong, a line each."""
        return [
            *(f"empty: {one}" for one in self.panels.empty),
            *(f"wrong: {one}" for one in self.panels.failed),
            *(f"series {one} is unused" for one in self.series.unused),
            *(f"{one} is used or not exported, and need not be on the list" for one in self.series.stale),
            *self.faults,
        ]

    def lines(self) -> list[str]:
        """Return the result as text."""
        counts = [
            ("panels checked", self.panels.checked, f"on {self.dashboards} dashboards"),
            ("panels empty", len(self.panels.empty), f"{len(self.panels.silent)} more may be, and their series are 0"),
            ("panels wrong", len(self.panels.failed), ""),
            ("series exported", self.series.exported, ""),
            ("series unused", len(self.series.unused), f"{len(self.series.excused)} more are excused with a reason"),
            ("rules evaluated", self.rules, ""),
            ("alerts before", len(self.firing), ", ".join(self.firing)),
            ("alerts fired", len(self.fired), ""),
            ("alerts cleared", len(self.fired), ""),
            ("requests answered", self.answers, ""),
        ]
        return [
            *(f"{name:<18}{count:>8}  {note}".rstrip() for name, count, note in counts),
            *_lines(self.fired),
            *(f"PROBLEM {one}" for one in self.problems()),
        ]


def _lines(fired: Iterable[Fired]) -> Sequence[str]:
    lines = []
    for one in fired:
        beside = f"; with it {', '.join(one.beside)}" if one.beside else ""
        lines.append(
            f"  {one.alert}: {one.what}; fired after {one.fired_s:.0f} s, "
            f"cleared {one.cleared_s:.0f} s after the end of it{beside}"
        )
    return lines
