"""`Slowing`: failed attempts make the next ones wait, longer each time. Pure, with the clock handed in, and bounded.

The first few failures are free, as people mistype. Then each failure doubles the wait, up to `most_s`; a minute without
a failure takes one off. An attempt during the wait is refused without being tried, so it costs nothing, and makes the
wait no longer: a client that retries too early is not locked out for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

FORGET_S: Final = 60.0
"""After so long one failure is forgotten."""
KEYS_MAX: Final = 16_384


class _Failures:
    __slots__ = ("count", "last", "until")

    def __init__(self) -> None:
        self.count = 0.0
        self.last = 0.0
        self.until = 0.0


class Slowing:
    """The failures of each key. Belongs to one thread."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        free: int,
        base_s: float = 1.0,
        most_s: float = 60.0,
        keys_max: int = KEYS_MAX,
    ) -> None:
        """`clock` is monotonic, in seconds; `free` failures wait for nothing, the next one for `base_s`."""
        self._clock = clock
        self._free = free
        self._base_s = base_s
        self._most_s = most_s
        self._keys_max = keys_max
        self._keys: OrderedDict[Hashable, _Failures] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys have failures."""
        return len(self._keys)

    def wait_s(self, key: Hashable) -> float:
        """Return how long the next attempt has to wait; 0 for not at all."""
        found = self._keys.get(key)
        return 0.0 if found is None else max(0.0, found.until - self._clock())

    def failed(self, key: Hashable) -> None:
        """Count a failure."""
        now = self._clock()
        found = self._keys.get(key)
        if found is None:
            # The one that failed longest ago makes room: an attacker with many names loses what it knew of its first.
            if len(self._keys) >= self._keys_max:
                self._keys.popitem(last=False)
            found = self._keys[key] = _Failures()
        else:
            self._keys.move_to_end(key)
            found.count = max(0.0, found.count - (now - found.last) / FORGET_S)
        found.count += 1
        found.last = now
        over = found.count - self._free
        if over > 0:
            found.until = now + min(self._most_s, self._base_s * 2.0 ** min(over - 1, 64))

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of a key."""
        self._keys.pop(key, None)
