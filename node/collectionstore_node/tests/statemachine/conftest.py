"""A store in memory, and a way to apply commands to it as a driver would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Action, Command, Outcome, encode_batch
from collectionstore_node.statemachine.levels import FIRST, HIGHEST
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

Run = Callable[..., list[Outcome]]


@pytest.fixture
def view() -> MemoryView:
    return MemoryView()


@pytest.fixture(params=range(FIRST, HIGHEST + 1))
def level(request: pytest.FixtureRequest) -> int:
    """Return the feature level of all entries; what a test says of `run` holds at each of them."""
    found: int = request.param
    return found


@pytest.fixture
def run(view: MemoryView, level: int) -> Run:
    """Apply actions or commands as one batch, store the writes, and return the outcomes as clients hear them."""

    def apply(*actions: Action | Command, time_ms: int = 0) -> list[Outcome]:
        overlay, answers = Overlay(view), dict[int, Outcome]()
        commands = [action if isinstance(action, Command) else Command(action) for action in actions]
        outcomes = apply_batch(overlay, encode_batch(time_ms, commands, level), b"", answers)
        view.commit(overlay.writes)
        return [answers.get(position, outcome) for position, outcome in enumerate(outcomes)]

    return apply
