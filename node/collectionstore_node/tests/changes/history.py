"""Histories for tests: commands applied to a state in memory, and what a watch must tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from collectionstore_node.changes import Cursor, Event, Position, Recent, Selection, Tokens, commands
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Action, Command, Outcome, encode_batch
from collectionstore_node.statemachine.images import whole_changes
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

TOKENS = Tokens("shop")


def run(view: MemoryView, *actions: Action, time_ms: int = 1_700_000_000_000) -> list[Outcome]:
    """Apply one entry of these commands."""
    overlay = Overlay(view)
    outcomes = apply_batch(overlay, encode_batch(time_ms, [Command(one) for one in actions], CHANGES), b"")
    view.commit(overlay.writes)
    return outcomes


def recent_of(view: MemoryView, begin: int = 0, bytes_max: int = 1 << 20) -> Recent:
    """Return the commands behind a revision, in memory."""
    recent = Recent(bytes_max)
    recent.clear(begin)
    until = read_revision(view)
    recent.add(commands(whole_changes(view, begin, until), TOKENS), until)
    return recent


def told(view: MemoryView, cursor: Cursor, recent: Recent | None = None) -> list[Event]:
    """Return all that a watch tells of the state now."""
    revision = read_revision(view)
    events: list[Event] = []
    while cursor.due(revision):
        step = cursor.step(view, revision, Recent(0) if recent is None else recent)
        events += step.events
        assert step.position == cursor.position
        if step.ended:
            break
    return events


BEGINNING = Position(0)


def watch(view: MemoryView, selection: Selection, position: Position = BEGINNING) -> list[dict[str, Any]]:
    """Return the events of a watch from a position on, as JSON."""
    return decoded(told(view, Cursor(selection, position, TOKENS)))


def decoded(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return events as JSON; each names its token, and its kind."""
    found = []
    for one in events:
        members = orjson.loads(one.text)
        assert members["event"] == one.kind
        assert members.get("token", "") == one.token
        found.append(members)
    return found
