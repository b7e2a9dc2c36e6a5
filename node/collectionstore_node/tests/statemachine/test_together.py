"""Everything together: no command stops a replica, and all that follows from the documents fits them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.service.usage_counts import counting_steps
from collectionstore_node.statemachine import history
from collectionstore_node.statemachine.access import (
    access_revision,
    read_access,
    read_policy,
    scan_roles,
    scan_tokens,
    scan_users,
    tokens_of,
)
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import scan_collections
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    CreateCollection,
    CreateIndex,
    GrantLease,
    Idempotency,
    Outcome,
    encode_batch,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.history import Limits
from collectionstore_node.statemachine.keys import CATALOG, HISTORY, documents_prefix, prefix_end
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.metering import text_bytes
from collectionstore_node.statemachine.usage import read_usage
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine import expiring, indexed
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_node.tests.statemachine.together import Commands

SMALL = Limits(keep_ms=40_000, bytes_max=60_000, segment_bytes=6_000, segment_ms=4_000)
"""So that the history is dropped as fast as it comes."""
CHECKED = 16
"""Entries between two checks of the whole state."""


class Replicas:
    """One applies each entry by itself, the other several of them in one overlay."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.apart, self.together = MemoryView(), MemoryView()
        self._overlay = Overlay(self.together)

    def apply(self, time_ms: int, commands: list[Command]) -> list[Outcome]:
        data, overlay = encode_batch(time_ms, commands, CHANGES), Overlay(self.apart)
        outcomes = apply_batch(overlay, data, b"", {})
        self.apart.commit(overlay.writes)
        assert apply_batch(self._overlay, data, b"") == outcomes
        if self.chance.random() < 0.2:
            self.store()
        return outcomes

    def store(self) -> None:
        self.together.commit(self._overlay.writes)
        self._overlay = Overlay(self.together)

    def check(self) -> None:
        view = self.apart
        expiring.check(view)
        indexed.check(view)
        record, tokens = read_access(view), list(scan_tokens(view))
        found = (len(list(scan_users(view))), len(list(scan_roles(view))), len(tokens))
        assert found == (record.users, record.roles, record.tokens)
        assert sorted(one for user in "uv" for one in tokens_of(view, user)) == [one for one, _ in tokens]
        # What is stored can be read: by every member, at every request.
        read_policy(view, record.configuration() or AccessConfiguration(mode=Mode.DISABLED)).rights(
            Caller("u", Method.TOKEN)
        )
        for name, collection in scan_collections(view, CATALOG, prefix_end(CATALOG)):
            usage, prefix = read_usage(view, collection.id), documents_prefix(collection.id)
            if usage is not None and not usage.counting:
                sizes = [text_bytes(record) for _, record in view.scan(prefix, prefix_end(prefix))]
                assert (usage.documents, usage.size_bytes) == (len(sizes), sum(sizes)), name
        kept = read_header(view).history
        assert kept is not None
        assert kept.size_bytes == sum(len(key) + len(data) for key, data in view.scan(HISTORY, prefix_end(HISTORY)))


def noted(made: Commands, actions: list[Action], outcomes: list[Outcome], view: MemoryView) -> None:
    """Let later commands be about what these have made."""
    for action, outcome in zip(actions, outcomes, strict=True):
        if outcome.code is Code.OK and not outcome.replayed:
            if isinstance(action, GrantLease):
                made.leases.append(outcome.revision)
            elif isinstance(action, CreateIndex):
                made.indexes.append(outcome.revision)
    made.revision = read_header(view).revision
    builds = [step for name in "cd" for step in indexed.next_steps(view, name)]
    made.steps = [*builds, *counting_steps(view)] or made.steps


@pytest.mark.parametrize("limits", [history.LIMITS, SMALL])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32))
def test_commands_of_every_kind_leave_a_whole_state(limits: Limits, seed: int) -> None:
    chance = Random(seed)
    made, replicas, time_ms = Commands(chance), Replicas(chance), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "LIMITS", limits)
        replicas.apply(0, [Command(CreateCollection(name)) for name in "cd"])
        for number in range(64):
            time_ms += chance.choice((0, 1, 500, 1_500, 3_000))
            actions = [made.next() for _ in range(chance.choice((1, 1, 2, 4, 9)))]
            keyed = [
                Command(
                    one,
                    Idempotency(f"k{chance.randrange(40)}", bytes(32)) if chance.random() < 0.1 else None,
                    chance.choice((0, access_revision(replicas.apart))) if chance.random() < 0.1 else None,
                )
                for one in actions
            ]
            noted(made, actions, replicas.apply(time_ms, keyed), replicas.apart)
            if number % CHECKED == CHECKED - 1:
                replicas.check()
    replicas.store()
    assert replicas.apart.values == replicas.together.values
    assert read_digest(replicas.apart) == read_digest(replicas.together)
