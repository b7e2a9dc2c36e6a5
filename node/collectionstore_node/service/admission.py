"""`WriteAdmission`: how many writes may be in flight, from how long they take. Pure, with the clock handed in.

A queue that is only bounded by a number is as long as its service is slow: 1,024 small writes are done in an eighth of
a second, 1,024 values of 256 KiB in five. What clients feel is time, so the bound follows from time. By Little's law
(L = X W) `X * allowed_s` writes in flight, at X writes per second, wait for `allowed_s`; a write that would make them
more is refused at once, for nothing but a comparison, and costs the ones in front of it nothing.

Writes are watched in windows of busy time, each of whole batches: writes that share a sync have their outcomes
together, and half of a batch would look like half of the rate. When those of a window took longer than allowed on
average, the bound becomes what Little's law gives for the rate of the window; when they were well below, it grows
again by a quarter, up to `writes_max`. That follows CoDel (RFC 8289) in what it measures, the time in the queue and not
its length, and TCP Vegas in what it sets. What must not be taken for a queue:

- **A stall.** One sync of two seconds lets everything wait, and says nothing about the rate. So one window that took
  too long changes nothing, only a second one in a row does; a queue stands longer than that.
- **A slow disk.** With few writes in flight there is no queue, and what they take then is the disk's and the
  network's. That is added to what is allowed, up to `SERVICE_S_MAX`.
- **A slow member.** Where a batch takes as long for many writes as for few, because the loop or a processor is busy,
  fewer in flight are not faster, only fewer, and by Little's law fewer again: a spiral down to `WRITES_MIN`. When a
  rate is lost on that way, what writes take at its end is the time of service, too, and the bound grows from there;
  unless more in flight then get no more done. Whether a bound earns its latency is judged by the rate, as in the
  gradient limits of Netflix's concurrency-limits.
- **A burst.** The bound never falls because of idle time, and is `writes_max` when nothing was wrong recently.
- **A small cluster.** `WRITES_MIN` writes are always let in.

Each member bounds the writes that its own clients sent, forwarded ones included: Little's law holds for its share of
the leader as well, so the members need not agree on anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.errors import Overloaded

TARGET_S: Final = 0.25
"""Mean time of a write, beyond what it takes without a queue, from which on fewer are let in."""
WRITES_MIN: Final = 128
"""Writes in flight that are always let in."""
WINDOW_S: Final = 0.1
"""Least length of a window, in busy time: with at least one write in flight."""
WINDOW_WRITES: Final = 16
"""Least number of writes that a window is judged by; after `WINDOW_S_MAX` any number will do."""
WINDOW_S_MAX: Final = 1.0
GAP_S: Final = 0.02
"""Outcomes further apart are of different batches."""
FORGOTTEN_S: Final = 10.0
"""After so long without a write an overload is over."""
LIGHT_WRITES: Final = 32
"""With at most so many in flight nothing queues: what they take is the time of service."""
LOST_SHARE: Final = 0.75
"""A rate that is below this share of another one is lower, and not only measured lower."""
SERVICE_S_MAX: Final = 1.0
"""Most of the time of service that is added to what is allowed."""
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 30.0
OVERDUE: Final = "the request waited too long before the member could look at it"
RETRY_STEPS: Final = 32
"""Different times after which writes that are refused together may return."""

_GROWTH: Final = 1.25
_GOLDEN: Final = 0.6180339887498949


class WriteAdmission:
    """The writes in flight of one member, and their bound. Belongs to one event loop.

    Every write is entered once and left once. O(1) for each, without allocation but for a refusal.
    """

    __slots__ = (
        "_clock",
        "_counted",
        "_detail",
        "_detail_limit",
        "_flowing_since",
        "_idle_since",
        "_last_outcome",
        "_opened",
        "_peak",
        "_peak_before",
        "_queued_before",
        "_rate_cut",
        "_rate_least",
        "_refused",
        "_refused_in_window",
        "_retry_s",
        "_service_s",
        "_slow_before",
        "_spread",
        "_sum_s",
        "_wait_each_s",
        "_writes_max",
        "inflight",
        "limit",
    )

    def __init__(self, clock: Callable[[], float], *, writes_max: int) -> None:
        """`clock` is monotonic, in seconds; at most `writes_max` writes are in flight, whatever they take."""
        now = clock()
        self._clock = clock
        self._writes_max = writes_max
        self.inflight = 0
        """Writes that entered and have not left."""
        self.limit = writes_max
        """How many may be in flight now."""
        self._refused = {"queue": 0, "deadline": 0, "overdue": 0}
        self._retry_s = RETRY_S_MIN
        self._spread = 0
        """Refusals of everything, reads included."""
        self._detail, self._detail_limit = "", -1
        self._service_s = 0.0
        self._rate_cut = self._rate_least = 0.0
        """Writes per second when the bound was lowered, and at its least when that took a part of them away."""
        self._wait_each_s = 0.0
        self._last_outcome = self._idle_since = self._flowing_since = now
        self._slow_before = self._queued_before = False
        self._peak = self._peak_before = 0
        """Most writes in flight during the window, and during the one before."""
        self._open(now)

    @property
    def refused(self) -> dict[str, int]:
        """How many were refused, by reason.

        `queue`: the bound. `deadline`: they would wait past their own. `overdue`: they waited too long before they were
        looked at.
        """
        return self._refused

    @property
    def allowed_s(self) -> float:
        """The mean time of a write up to which the bound does not fall."""
        return TARGET_S + self._service_s

    @property
    def full(self) -> bool:
        """Whether a write would be refused now."""
        return self.inflight >= self.limit

    def check(self) -> None:
        """Raise `Overloaded` if a write would be refused; counts nothing in. For a write whose body is not read yet."""
        if self.full:
            raise self.refusal()

    def refusal(self) -> Overloaded:
        """Count a write that its bound has no place for, and return what refuses it."""
        return self._refuse("queue", self.full_detail())

    def full_detail(self) -> str:
        """Return why there is no place for a write."""
        # The same words for all refusals of a window: they are rendered once, see `api.http.overload_answers`.
        limit = self.limit
        if limit != self._detail_limit:
            self._detail = f"{limit} writes are in flight, and at this rate the member takes no more"
            self._detail_limit = limit
        return self._detail

    def overdue(self) -> Overloaded:
        """Count a write that waited too long before it was looked at, and return what refuses it."""
        return self._refuse("overdue", OVERDUE)

    def enter(self, timeout_s: float) -> float:
        """Count a write in and return when it entered, for `leave`. `timeout_s` is what its client will wait.

        Raises `Overloaded`, with nothing counted in.
        """
        inflight = self.inflight
        if inflight >= self.limit:
            raise self.refusal()
        # Known only under load, and 0 otherwise. It is better to be told now than after the whole timeout.
        wait_s = inflight * self._wait_each_s
        if wait_s > timeout_s:
            raise self._refuse("deadline", f"a write waits for {wait_s:.2f} s now, and its timeout is less")
        now = self._clock()
        if not inflight:
            # Idle time is no part of a window: a rate is that of a busy member.
            idle = now - self._idle_since
            if idle >= FORGOTTEN_S:
                self._forget()
            self._opened += idle
            self._last_outcome += idle
            self._flowing_since += idle
        inflight += 1
        self.inflight = inflight
        if inflight > self._peak:
            self._peak = inflight
        return now

    def _forget(self) -> None:
        """Let in as at the start: what was measured says nothing about a member that has been idle since."""
        self.limit = self._writes_max
        self._wait_each_s = self._rate_cut = self._rate_least = 0.0
        self._slow_before = self._queued_before = False
        self._retry_s = RETRY_S_MIN

    def leave(self, entered: float) -> None:
        """Count out a write that entered at `entered` and has an outcome, whichever."""
        now = self._clock()
        self.inflight -= 1
        if not self.inflight:
            self._idle_since = now
        last = self._last_outcome
        self._last_outcome = now
        if now - last > GAP_S:
            self._begin_batch(now, last)
        self._counted += 1
        self._sum_s += now - entered
        if now - self._flowing_since >= WINDOW_S and self._counted >= WINDOW_WRITES:
            self._judge(now)

    def abandon(self) -> None:
        """Count out a write without an outcome: it failed, its time ran out, or its client has gone."""
        self.inflight -= 1
        if not self.inflight:
            self._idle_since = self._clock()

    def _begin_batch(self, now: float, last: float) -> None:
        """Judge the batches before this one, whose last outcome was at `last`."""
        busy = last - self._opened
        if busy >= WINDOW_S and (self._counted >= WINDOW_WRITES or (self._counted and busy >= WINDOW_S_MAX)):
            self._judge(last)
        # AFTER it: no window ends within the first part of a batch.
        self._flowing_since = now

    def _open(self, now: float) -> None:
        self._opened = self._flowing_since = now
        self._counted = 0
        self._sum_s = 0.0
        self._peak = self.inflight
        self._refused_in_window = 0

    def _judge(self, until: float) -> None:
        """Set the bound for what comes by the window up to `until`, and open the next one there."""
        mean, rate = self._sum_s / self._counted, self._counted / (until - self._opened)
        # What left in this window entered in it or in the one before.
        peak, least = max(self._peak, self._peak_before), min(WRITES_MIN, self._writes_max)
        light = peak <= LIGHT_WRITES
        if light or (peak <= least == self.limit and rate < LOST_SHARE * self._rate_cut):
            self._service_s += (min(mean, SERVICE_S_MAX) - self._service_s) / 4
            self._rate_least = 0.0 if light else rate
        else:
            # Whatever part of it is a queue.
            self._service_s = min(self._service_s, mean)
        self._peak_before = self._peak
        allowed = self.allowed_s
        slow = mean > allowed and not light
        if slow and self._slow_before:
            if self.limit >= 1.5 * least and rate * LOST_SHARE < self._rate_least:
                # More in flight got no more done: it was a queue after all.
                self._service_s = self._rate_least = 0.0
                self._rate_cut, allowed = rate, self.allowed_s
            elif self.limit > least:
                self._rate_cut = max(self._rate_cut, rate)
            self.limit = max(least, min(self.limit, int(rate * allowed)))
        elif mean < 0.8 * allowed:
            self.limit = min(self._writes_max, int(self.limit * _GROWTH) + 1)
        self._slow_before = slow
        # Where nothing queues, the rate is that of the clients and not of the cluster; where a queue has just begun to
        # grow, still that of before.
        queued = mean > allowed / 2 and not light
        self._wait_each_s = 1 / rate if queued and self._queued_before else 0.0
        self._queued_before = queued
        # While r are refused for each that is served, serving the refused ones of one second takes r seconds.
        self._retry_s = min(RETRY_S_MIN + self._refused_in_window / self._counted, RETRY_S_MAX)
        self._open(until)

    def count(self, reason: str) -> float:
        """Count a write that is refused for that reason, and return after how many seconds it may return."""
        self._refused[reason] += 1
        self._refused_in_window += 1
        return self.retry_after_s()

    def retry_after_s(self) -> float:
        """Return after how many seconds a request that is refused now may return: another one for each."""
        # Spread over half to one and a half of it, lest the refused ones return together: multiples of the golden ratio
        # leave no gaps, and are the same in every run. In steps, so that few different answers are rendered.
        self._spread = count = self._spread + 1
        step = int(count * _GOLDEN % 1.0 * RETRY_STEPS)
        return self._retry_s * (0.5 + step / RETRY_STEPS)

    def _refuse(self, reason: str, detail: str) -> Overloaded:
        return Overloaded(detail, retry_after_s=self.count(reason))
