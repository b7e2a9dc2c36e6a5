"""A store in memory, and a way to apply commands to it as a driver would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Action, Command, Outcome, encode_batch
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

Run = Callable[..., list[Outcome]]


@pytest.fixture
def view() -> MemoryView:
    return MemoryView()


@pytest.fixture
def run(view: MemoryView) -> Run:
    """Apply actions or commands as one batch, store the writes, and return the outcomes."""

    def apply(*actions: Action | Command, time_ms: int = 0) -> list[Outcome]:
        overlay = Overlay(view)
        commands = [action if isinstance(action, Command) else Command(action) for action in actions]
        outcomes = apply_batch(overlay, encode_batch(time_ms, commands), b"")
        view.commit(overlay.writes)
        return outcomes

    return apply
