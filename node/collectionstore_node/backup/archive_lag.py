"""How far an archive is behind its cluster: in entries, seconds, revisions and bytes. Pure: times come in.

Each answer of a member says how far the cluster was, and is not behind what was acknowledged before it was asked. So
once everything up to there is stored, whatever was acknowledged before that question is: the seconds since then are
what a disaster can lose now. They grow by themselves while nothing is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

ANSWERS_MAX: Final = 1_000
"""That are remembered until what they tell of is stored; beyond it every second one is forgotten."""


@dataclass(frozen=True, slots=True, order=True)
class Lag:
    """How far the archive is: its last entry, and the last one that the cluster was known to have committed."""

    archived: int
    applied: int
    revisions: int | None = field(default=None, compare=False)
    """Of the store, behind the cluster, at most; None until the revision of what is stored is known."""
    bytes: int = field(default=0, compare=False)
    """Of entries that are not stored; of those that were not read either, by the mean size of the others."""
    covered: float = field(default=0.0, compare=False)
    """What was acknowledged before this moment is archived, by the clock that came in."""

    def described(self, now: float) -> dict[str, int | float | None]:
        """Return it for JSON."""
        return {
            "archived_index": self.archived,
            "applied_index": self.applied,
            "lag_entries": max(0, self.applied - self.archived),
            "lag_seconds": round(max(0.0, now - self.covered), 3),
            "lag_revisions": self.revisions,
            "lag_bytes": self.bytes,
        }


class _Answer(NamedTuple):
    applied: int
    asked: float
    revision: int


class LagMeter:
    """What was read and what is stored of it. `last` is the last entry of the archive when it starts, at `now`.

    Until it has caught up once, the seconds count from its start: they are a lower bound then.
    """

    def __init__(self, last: int, now: float) -> None:
        self._stored = self._read = self._applied = last
        self._covered = now
        self._revision: int | None = None
        self._newest_revision = 0
        self._pending = self._bytes = self._entries = 0
        self._answers: list[_Answer] = []

    def read(self, *, last: int, size: int, applied: int, revision: int, asked: float) -> None:
        """Count an answer: the last entry that was read by now, bytes of it, and what the member told when `asked`."""
        self._entries += last - self._read
        self._bytes += size
        self._pending += size
        self._read = last
        self._applied, self._newest_revision = max(self._applied, applied), max(self._newest_revision, revision)
        if self._answers and self._answers[-1].applied >= applied:
            self._answers[-1] = self._answers[-1]._replace(asked=asked)
        else:
            self._answers.append(_Answer(applied, asked, revision))
        if len(self._answers) > ANSWERS_MAX:
            del self._answers[1:-1:2]
        if not self._pending:
            self.stored(last)

    def stored(self, last: int) -> None:
        """Count that everything up to `last` is stored."""
        self._stored, self._pending = last, 0
        while self._answers and self._answers[0].applied <= last:
            answer = self._answers.pop(0)
            self._covered, self._revision = answer.asked, max(self._revision or 0, answer.revision)

    def jumped(self, last: int, revision: int) -> None:
        """Go on behind a backup: what is before it is in it, and there is nothing to store of it."""
        self._read = last
        self._revision = max(self._revision or 0, revision)
        self.stored(last)

    def lag(self) -> Lag:
        """Return how far the archive is behind what the cluster was known to have."""
        unread = max(0, self._applied - self._read)
        mean = self._bytes / self._entries if self._entries else 0.0
        behind: int | None = 0
        if self._applied > self._stored:
            behind = None if self._revision is None else max(0, self._newest_revision - self._revision)
        return Lag(
            self._stored,
            self._applied,
            revisions=behind,
            bytes=self._pending + round(unread * mean),
            covered=self._covered,
        )
