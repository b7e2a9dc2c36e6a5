"""Where the events of consensus and driver go."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.messages import Entry, EntryKind, Index, NodeId, Term
from collectionstore_node.raft.ready import Role, SoftState
from collectionstore_node.replica.observation.observer import NULL_OBSERVER, DriverObserver
from collectionstore_node.replica.observation.recording_observer import RecordingObserver
from collectionstore_node.statemachine.commands import Code, Command, CreateCollection, Outcome
from collectionstore_node.tests.metrics.reading import sample_value

ENTRY = Entry(Index(7), Term(1), EntryKind.COMMANDS, b"data", bytes(32))
EVENTS = {name for name in vars(DriverObserver) if not name.startswith("_")}


class Traces(DriverObserver):
    """Notes the name of every event that reaches the traces."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattribute__(self, name: str) -> object:
        if name in EVENTS:
            self.events.append(name)
        return super().__getattribute__(name)


def test_recording_observer_handles_every_event() -> None:
    """One that it inherited would be lost in silence."""
    assert EVENTS - vars(RecordingObserver).keys() == set()


def test_default_starts_no_span_and_stores_no_context() -> None:
    command = Command(CreateCollection("people"))
    assert NULL_OBSERVER.start_propose(command, bytes(24)) is None
    assert NULL_OBSERVER.start_forward(command, bytes(24)) is None
    assert NULL_OBSERVER.entry_contexts([]) == ()


async def test_an_applied_entry_reaches_metrics_and_traces_in_order() -> None:
    metrics, traces = member_metrics(), Traces()
    now = asyncio.get_running_loop().time
    observer = RecordingObserver(ReplicaMetrics(metrics), SlowLog(Thresholds(), now), now, traces)
    observer.entries_appended([ENTRY], 0.0)
    observer.entries_synced(Index(1), 0.0, 0.1)
    observer.entries_committed([ENTRY])
    observer.state_stored([ENTRY], [[Outcome(Code.OK, 1)]], loop_s=0.0, seconds=0.001)
    observer.entry_applied(ENTRY.index, 0.0)
    observer.entries_applied([ENTRY])
    assert traces.events == ["entries_appended", "entries_synced", "entries_committed", "entries_applied"]
    assert sample_value(metrics, "collectionstore_commands_applied_total", result="ok") == 1


@pytest.mark.parametrize(("role", "leads"), [(Role.LEADER, 1.0), (Role.FOLLOWER, 0.0)])
async def test_role_is_exported(role: Role, leads: float) -> None:
    metrics = member_metrics()
    now = asyncio.get_running_loop().time
    observer = RecordingObserver(ReplicaMetrics(metrics), SlowLog(Thresholds(), now), now)
    observer.leadership_changed(SoftState(leader=NodeId(1), role=role))
    assert sample_value(metrics, "collectionstore_raft_is_leader") == leads
