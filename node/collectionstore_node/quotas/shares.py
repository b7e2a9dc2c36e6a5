"""`Shares`: fair shares of what a member does at a time, while it is under pressure. Pure, with the time handed in.

Without it, who sends most gets most: places are given to whoever asks first. While more than `PRESSED` of the places
are taken, each user has an equal share of all of them, and a request beyond it is refused; below that nothing is
refused. Who counts is who has a request in flight, or has asked within `ASKED_S`: a user that was refused, too, so that
the places that others give back are kept for it. One user alone has all places but a reserve, so that a second one
finds room at once, and does not have to wait until the first has given some back (max-min fairness, with the number of
users in place of their demands).

It needs to know users apart: without access control all clients are one, and nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PRESSED: Final = 0.5
"""Below this part of all places in use nothing is refused."""
RESERVE: Final = 1 / 8
"""Of all places: what one user alone cannot take."""
ASKED_S: Final = 2.0
"""How long a user counts behind its last request: longer than refused clients wait before they come again."""


class _Use:
    __slots__ = ("asked", "inflight")

    def __init__(self) -> None:
        self.inflight = 0
        self.asked = 0.0


class Shares:
    """The places that the users of a member have taken. Belongs to one event loop; O(1) but for `_forget`."""

    __slots__ = ("_forgot", "_total", "_users", "inflight", "refused")

    def __init__(self, total: Callable[[], int]) -> None:
        """`total` returns how many places there are now."""
        self._total = total
        self._users: dict[str, _Use] = {}
        self._forgot = float("-inf")
        self.inflight = 0
        self.refused = 0

    def enter(self, user: str, now: float) -> bool:
        """Take a place and return True, or return False: the user has its share. Call `leave` otherwise.

        `now` is the time of a monotonic clock, in seconds.
        """
        if now - self._forgot >= ASKED_S:
            self._forget(now)
        use = self._users.get(user)
        if use is None:
            use = self._users[user] = _Use()
        use.asked = now
        total = self._total()
        if self.inflight >= PRESSED * total and use.inflight >= self._share(total):
            self.refused += 1
            return False
        use.inflight += 1
        self.inflight += 1
        return True

    def leave(self, user: str) -> None:
        """Give a place back."""
        self._users[user].inflight -= 1
        self.inflight -= 1

    def _share(self, total: int) -> int:
        users = len(self._users)
        return max(1, int(total * (1 - RESERVE)) if users == 1 else total // users)

    def _forget(self, now: float) -> None:
        self._forgot = now
        self._users = {user: use for user, use in self._users.items() if use.inflight or now - use.asked < ASKED_S}
