"""The record of the clients' pod, and checks of the history in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from collectionstore_testkit.clients.program import Broken, Done, Ended, Line, Started, Totals, Unreached, Untrusted
from collectionstore_testkit.histories.checker import check
from collectionstore_testkit.histories.operations import Operation
from collectionstore_testkit.histories.pauses import write_pauses

OTHER_LINES_MAX: Final = 40
UNAVAILABLE_S: Final = 1.0
"""A longer pause of all writes counts as unavailability."""

_decoder: Final = msgspec.json.Decoder(Line)


@dataclass(slots=True)
class Recorded:
    """Takes lines in the order in which they were printed; after a lost connection the log may start again."""

    operations: dict[int, Operation] = field(default_factory=dict)
    totals: Totals = field(default_factory=lambda: Totals(0.0, 0, 0, 0, 0, 0))
    started: Started | None = None
    ended: Ended | None = None
    broken: str = ""
    unreached: str = ""
    untrusted: int = 0
    """How often the published trust could not be read."""
    other: list[str] = field(default_factory=list)
    """Lines of another format, such as a traceback."""

    def take(self, text: str) -> None:
        """Add one line."""
        try:
            line = _decoder.decode(text)
        except msgspec.DecodeError:
            if len(self.other) < OTHER_LINES_MAX:
                self.other.append(text)
            return
        match line:
            case Done(operation):
                self.operations[operation.id] = operation
            case Totals() if line.at >= self.totals.at:
                self.totals = line
            case Totals():
                pass  # already reported
            case Started():
                self.started = line
            case Unreached(reason):
                self.unreached = reason
            case Broken(reason):
                self.broken = reason
            case Ended():
                self.ended = line
            case Untrusted():
                self.untrusted += 1

    @property
    def history(self) -> list[Operation]:
        """Every operation, in the order in which they began."""
        return sorted(self.operations.values(), key=lambda one: one.invoked)

    def problem(self) -> str:
        """Return the failure of the clients or of a response; empty if there is none."""
        if self.broken:
            return f"a response violates the API: {self.broken}"
        return "the clients' program failed:\n" + "\n".join(self.other) if self.other else ""

    def faults(self) -> list[str]:
        """Return all violations in the history; empty if every guarantee was kept."""
        found = [self.problem()] if self.problem() else []
        if self.ended is None:
            return [*found, f"the clients did not end; {self.unreached or 'no reason was printed'}"]
        if self.ended.operations != len(self.operations):
            found.append(f"the clients printed {self.ended.operations} operations, {len(self.operations)} were read")
        verdict = check(self.history)
        if not verdict.ok:
            found.append(f"the history is {verdict.linearizable.value}:\n{verdict.explanation}")
        return found

    def pauses(self, since: float, until: float | None = None) -> list[float]:
        """Return the times, in seconds, between acknowledged writes, from `since` to `until` of the clients' clock.

        Without `until` the last pause ends with the last write.
        """
        return write_pauses(self.history, since, until)


def summary(pauses: Sequence[float]) -> str:
    """Return a summary of how long no write was acknowledged."""
    longest, unavailable = max(pauses, default=0.0), sum(pause for pause in pauses if pause > UNAVAILABLE_S)
    return f"longest time without a write {longest:.2f} s, unavailable (over {UNAVAILABLE_S:g} s) {unavailable:.1f} s"
