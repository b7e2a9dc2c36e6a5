"""The intake under simulated load: how long what is served has waited, and who is refused.

A loop in simulated time: a turn lasts as long as the requests that it serves and refuses cost, and what arrives
meanwhile is offered before the next one. A connection has one request in flight; requests for which none is free are
not sent, as those of clients that wait.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.overdue import Overdue
from collectionstore_node.api.connections.intake import BURST_S, TARGET_S, Intake

SERVE_S = 0.0002
REFUSE_S = SERVE_S / 6
TURN_S = 0.0003
"""Of every turn, whatever it takes in."""
WRITE_TURNS = 10
"""Turns of the loop until a write is answered: a commit needs as many, whatever else they do."""
CAPACITY = 1 / SERVE_S
SETTLED_S = 2 * BURST_S
"""From here on an overload that began at 0 is one."""


class Sender:
    """Clients of some addresses, which send so many requests per second together from so many connections."""

    def __init__(self, name: str, rate: float, *, addresses: int = 1, connections: int = 2_000) -> None:
        self.rate = rate
        self.clients = [Client(f"{name}.{number}", 1) for number in range(addresses)]
        self.free = [number for number in range(connections)]
        self.waited: list[float] = []
        """Of what was served when the overload had settled."""
        self.served = self.refused = self.sent = 0


class Request:
    """A connection with its request."""

    refusable = True

    def __init__(self, simulation: Simulation, sender: Sender, number: int) -> None:
        self.simulation, self.sender, self.number = simulation, sender, number
        self.client: Client | None = sender.clients[number % len(sender.clients)]
        self.sent_at = simulation.now

    def take_in(self, data: bytes) -> None:
        simulation, sender = self.simulation, self.sender
        if self in simulation.overdue or simulation.full:
            simulation.overdue.count()
            simulation.busy_s += REFUSE_S
            sender.refused += 1
        else:
            simulation.busy_s += SERVE_S
            simulation.ends.append(simulation.turns + WRITE_TURNS)
            if simulation.now >= SETTLED_S:
                sender.served += 1
                sender.waited.append(simulation.now + simulation.busy_s - self.sent_at)
        sender.free.append(self.number)


class Simulation:
    """A loop in simulated time, with an intake."""

    def __init__(self, *senders: Sender, seed: int, places: float = math.inf) -> None:
        """At most `places` requests are being served; more are refused at once."""
        self.now = 0.0
        self.busy_s = 0.0
        """What this turn has cost so far."""
        self.overdue = Overdue()
        self.callbacks: list[Callable[[], None]] = []
        self.intake = Intake(self, self.overdue)  # type: ignore[arg-type]  # the two methods of a loop that it uses
        self._senders = senders
        self._chance = Random(seed)
        self._next = [self._chance.expovariate(one.rate) for one in senders]
        self.held_max = 0
        self.turns = 0
        self.ends: deque[int] = deque()
        """The turn in which each request that is being served will be done."""
        self._places = places

    @property
    def full(self) -> bool:
        while self.ends and self.ends[0] <= self.turns:
            self.ends.popleft()
        return len(self.ends) >= self._places

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def run(self, seconds: float) -> None:
        while self.now < seconds:
            self.busy_s = TURN_S
            self._poll()
            due, self.callbacks = self.callbacks, []
            for callback in due:
                callback()
            self.held_max = max(self.held_max, self.intake.held)
            self.now += self.busy_s
            self.turns += 1

    def _poll(self) -> None:
        """Offer what has arrived since the last turn, in order."""
        while True:
            at, place = min((at, place) for place, at in enumerate(self._next))
            if at > self.now:
                return
            sender = self._senders[place]
            self._next[place] = at + self._chance.expovariate(sender.rate)
            if not sender.free:
                continue
            sender.sent += 1
            request = Request(self, sender, sender.free.pop(0))
            if self.intake.offer(request, b"x"):
                request.take_in(b"x")


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 0.85), st.sampled_from([1, 40, 2_000]))
def test_nothing_is_refused_below_saturation(seed: int, load: float, addresses: int) -> None:
    sender = Sender("a", load * CAPACITY, addresses=addresses)

    Simulation(sender, seed=seed).run(4.0)

    assert sender.refused == 0
    assert sender.served > 0
    assert p99(sender.waited) < TARGET_S / 2


@pytest.mark.parametrize("addresses", [1, 40, 2_000])
@pytest.mark.parametrize("load", [1.3, 2.0])
def test_above_it_what_is_served_was_served_soon_and_most_of_the_capacity_serves(load: float, addresses: int) -> None:
    """Many addresses are bounded together as one is: with a bound for each, none of them would ever be late."""
    sender = Sender("a", load * CAPACITY, addresses=addresses, connections=8_000)
    simulation = Simulation(sender, seed=5)

    simulation.run(6.0)

    # A turn that serves and refuses as much as it may takes 34 ms here; addresses take turns, whichever is newer.
    assert p99(sender.waited) <= TARGET_S + 3 * 0.034
    # (1 - load r) / (1 - r) of it, with r = 1 / 6 for a refusal.
    possible = (1 - load / 6) / (1 - 1 / 6)
    assert sender.served >= 0.9 * possible * CAPACITY * (6.0 - SETTLED_S)
    assert sender.refused > 0
    assert simulation.held_max <= 1.5 * BURST_S * load * CAPACITY


def test_at_ten_times_the_capacity_what_is_served_was_still_served_soon() -> None:
    """To refuse all of it would take more than there is: the rest waits, and no longer for being served behind it."""
    sender = Sender("a", 10 * CAPACITY, connections=4_000)
    simulation = Simulation(sender, seed=5)

    simulation.run(5.0)

    assert p99(sender.waited) <= TARGET_S + 0.05
    assert sender.served >= 0.5 * CAPACITY * (5.0 - SETTLED_S)
    assert simulation.held_max <= 4_000


@pytest.mark.parametrize("load", [2.0, 4.0, 10.0])
def test_refusing_leaves_most_of_the_loop_to_serving_whatever_is_sent(load: float) -> None:
    """With a bound of those that are being served, too, most are refused at once. If a turn refused all that it may, a
    commit, which needs ten of them, would wait for a thousand refusals, and its places with it."""
    sender = Sender("a", load * CAPACITY, connections=6_000)
    simulation = Simulation(sender, seed=11, places=400)

    simulation.run(5.0)

    assert sender.served >= 0.65 * CAPACITY * (5.0 - SETTLED_S)
    assert p99(sender.waited) <= TARGET_S + 0.05


@pytest.mark.parametrize("flooding", [1, 20])
def test_who_sends_little_is_served_beside_who_sends_too_much(flooding: int) -> None:
    flood = Sender("flood", 3 * CAPACITY, addresses=flooding, connections=4_000)
    small = Sender("small", 0.02 * CAPACITY)

    Simulation(flood, small, seed=7).run(5.0)

    assert small.refused == 0
    assert small.served >= 0.95 * small.rate * (5.0 - SETTLED_S)
    assert p99(small.waited) <= 0.1
    assert flood.refused > 0


def test_equal_floods_are_served_alike() -> None:
    first, second = Sender("a", 1.5 * CAPACITY), Sender("b", 1.5 * CAPACITY)

    Simulation(first, second, seed=9).run(5.0)

    assert first.served == pytest.approx(second.served, rel=0.1)
