"""What may be damaged at the same time, so that the promises can be kept. Pure.

- At most a minority of the disks is damaged at any moment. A disk counts as damaged from the fault until its member
  was seen whole again: voting, up to date, and on a new disk where the old one may hide damage.
- A member has one fault of its own at a time; the links between members are no member's.
Availability is not budgeted: faults may take the quorum away, and the run reports for how long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NotNow(Exception):
    """The fault is not possible at this moment; the text says why. Another one is drawn."""


class Budget:
    """Keeps account for a cluster that starts with `nodes` members and never has fewer."""

    def __init__(self, nodes: int) -> None:
        self.disks_max = (nodes - 1) // 2
        self.damaged: set[str] = set()
        self.most_damaged = 0
        """Maximum number of disks damaged concurrently."""
        self._busy: set[str] = set()

    def is_free(self, name: str) -> bool:
        """Return whether a member has no fault."""
        return name not in self._busy

    @contextmanager
    def member(self, *names: str) -> Iterator[None]:
        """Have these members for a fault of their own. Raises `NotNow`."""
        taken = [name for name in names if name in self._busy]
        if taken:
            raise NotNow(f"{', '.join(taken)} has a fault already")
        self._busy.update(names)
        try:
            yield
        finally:
            self._busy.difference_update(names)

    def check_disk(self, name: str) -> None:
        """Raise `NotNow` when the disk of a member may not be damaged now."""
        if name in self.damaged:
            raise NotNow(f"the disk of {name} is damaged already")
        if len(self.damaged) >= self.disks_max:
            raise NotNow(f"{', '.join(sorted(self.damaged))} must be whole again first")

    def damage(self, name: str) -> None:
        """Count the disk of a member as damaged from now on. Raises `NotNow`."""
        self.check_disk(name)
        self.damaged.add(name)
        self.most_damaged = max(self.most_damaged, len(self.damaged))

    def repaired(self, name: str) -> None:
        """Count the disk of a member as whole again."""
        self.damaged.discard(name)
