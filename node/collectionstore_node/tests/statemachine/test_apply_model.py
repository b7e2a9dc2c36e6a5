"""The state machine against a naive model, and against itself with batches cut differently."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    Delete,
    DocumentRef,
    DropCollection,
    Get,
    Idempotency,
    Item,
    KeyRef,
    Operation,
    Outcome,
    Precondition,
    Put,
    Ref,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.keys import DOCUMENTS, HEADER_KEY, prefix_end
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.stored import Stored
from collectionstore_node.statemachine.transactions import invalid_reason
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_node.tests.statemachine.pages import list_collections, list_documents, list_keys


class NoCollection(Exception):
    """The model met a collection that does not exist."""


@dataclass
class Model:
    """Collections and buckets as dicts of dicts; a transaction works on a copy of everything."""

    revision: int = 0
    collections: dict[str, dict[str, Stored]] = field(default_factory=dict)
    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    answered: dict[str, tuple[bytes, Outcome]] = field(default_factory=dict)

    def apply(self, command: Command) -> Outcome:
        self.revision += 1
        key = command.idempotency
        if key is not None and key.key in self.answered:
            fingerprint, outcome = self.answered[key.key]
            if fingerprint == key.fingerprint:
                return msgspec.structs.replace(outcome, replayed=True)
            return Outcome(Code.IDEMPOTENCY_KEY_REUSED, self.revision)
        try:
            outcome = self.perform(command.action)
        except NoCollection:
            outcome = Outcome(Code.COLLECTION_NOT_FOUND, self.revision)
        if key is not None:
            self.answered[key.key] = key.fingerprint, outcome
        return outcome

    def perform(self, action: Action) -> Outcome:
        match action:
            case CreateCollection(name=name):
                if name in self.collections:
                    return Outcome(Code.COLLECTION_EXISTS, self.revision)
                self.collections[name] = {}
                return Outcome(Code.OK, self.revision, created=True)
            case DropCollection(name=name):
                if self.collections.pop(name, None) is None:
                    raise NoCollection
                return Outcome(Code.OK, self.revision)
            case Transaction():
                return self.transact(action)
            case Put() | Delete():
                return self.write(action)
        raise TypeError(f"the model has no {type(action).__name__}: see test_indexes")

    def home(self, ref: Ref) -> tuple[dict[str, Stored], str]:
        if isinstance(ref, KeyRef):
            return self.buckets.setdefault(ref.bucket, {}), ref.key
        if ref.collection not in self.collections:
            raise NoCollection
        return self.collections[ref.collection], ref.id

    def find(self, ref: Ref) -> Stored | None:
        place, name = self.home(ref)
        return place.get(name)

    def write(self, operation: Put | Delete) -> Outcome:
        place, name = self.home(operation.ref)
        old = place.get(name)
        now = 0 if old is None else old.revision
        requirement = operation.precondition
        if requirement.exists not in (None, old is not None) or (
            requirement.revisions is not None and (old is None or now not in requirement.revisions)
        ):
            return Outcome(Code.PRECONDITION_FAILED, self.revision, current_revision=now)
        if isinstance(operation, Delete):
            if place.pop(name, None) is None:
                return Outcome(Code.NOT_FOUND, self.revision)
            return Outcome(Code.OK, self.revision, current_revision=now)
        first = self.revision if old is None else old.created_revision
        place[name] = Stored(self.revision, first, operation.value, operation.content_type)
        return Outcome(Code.OK, self.revision, created=old is None, current_revision=now)

    def transact(self, transaction: Transaction) -> Outcome:
        if invalid_reason(transaction):
            return Outcome(Code.INVALID_TRANSACTION, self.revision)
        held = all([self.holds(compare) for compare in transaction.compare])
        trial = copy.deepcopy(self)
        items = []
        for position, operation in enumerate(transaction.then if held else transaction.otherwise):
            try:
                before = trial.find(operation.ref)
                outcome = trial.write(operation) if isinstance(operation, Put | Delete) else None
            except NoCollection:
                return Outcome(Code.COLLECTION_NOT_FOUND, self.revision, succeeded=held, failed_operation=position)
            if outcome is not None and outcome.code is Code.PRECONDITION_FAILED:
                return msgspec.structs.replace(outcome, succeeded=held, failed_operation=position)
            items.append(item_of(operation, before, self.revision))
        self.collections, self.buckets = trial.collections, trial.buckets
        return Outcome(Code.OK, self.revision, succeeded=held, items=tuple(items))

    def holds(self, compare: Compare) -> bool:
        found = self.find(compare.ref)
        left: int | bytes | None
        match compare.field:
            case CompareField.REVISION:
                left = 0 if found is None else found.revision
            case CompareField.EXISTS:
                left = 0 if found is None else 1
            case CompareField.VALUE:
                left = None if found is None else found.value
        if left is None:
            return False
        # Lists, because they order numbers and bytes alike.
        one, other = ([side] if isinstance(side, int) else list(side) for side in (left, compare.operand))
        return {
            CompareOperator.EQUAL: one == other,
            CompareOperator.NOT_EQUAL: one != other,
            CompareOperator.GREATER: one > other,
            CompareOperator.LESS: one < other,
        }[compare.operator]


def item_of(operation: Operation, before: Stored | None, revision: int) -> Item:
    previous = 0 if before is None else before.revision
    if isinstance(operation, Put):
        return Item(revision, created=before is None, previous_revision=previous)
    if isinstance(operation, Delete):
        return Item(0, previous_revision=previous)
    if before is None:
        return Item(0)
    return Item(previous, value=before.value, previous_revision=previous, content_type=before.content_type)


names = st.sampled_from(["a", "b"])
ids = st.sampled_from(["x", "y", "\0"])
values = st.sampled_from([b"", b"1", b"2"])
refs = st.builds(DocumentRef, names, ids) | st.builds(KeyRef, names, ids)
revisions = st.lists(st.integers(0, 12), max_size=3).map(tuple)
preconditions = st.just(Precondition()) | st.builds(Precondition, st.none() | st.booleans(), st.none() | revisions)
puts = st.builds(Put, refs, values, preconditions, st.sampled_from(["", "text/plain"]))
deletes = st.builds(Delete, refs, preconditions)
operations = st.lists(puts | deletes | st.builds(Get, refs), max_size=3).map(tuple)
compares = st.builds(
    Compare, refs, st.sampled_from(CompareField), st.sampled_from(CompareOperator), st.integers(0, 12)
) | st.builds(Compare, refs, st.just(CompareField.VALUE), st.sampled_from(CompareOperator), values)
transactions = st.builds(Transaction, st.lists(compares, max_size=2).map(tuple), operations, operations)
creates, drops = st.builds(CreateCollection, names), st.builds(DropCollection, names)
actions = st.one_of(creates, puts, puts, deletes, transactions, transactions, drops)
idempotency = st.none() | st.builds(Idempotency, st.sampled_from("klm"), st.sampled_from([b"1", b"2"]))
commands = st.builds(Command, actions, idempotency)
batches = st.lists(st.lists(commands, max_size=6), max_size=6)
HOUR_MS = 3_600_000
timed_batches = st.lists(
    st.tuples(st.integers(0, 60).map(lambda hours: hours * HOUR_MS), st.lists(commands, max_size=6)), max_size=6
)

SETTLED = [Command(CreateCollection("a")), Command(Put(DocumentRef("a", "x"), b"1"))]
"""What most examples should begin with, so that they meet more than unknown collections."""


def contents(view: MemoryView, model: Model) -> Iterator[tuple[object, object]]:
    """Yield pairs (what the view holds, what the model holds) that must be equal."""
    collections = [item.name for item in list_collections(view, limit=99).items]
    yield collections, sorted(model.collections)
    for name, documents in model.collections.items():
        yield list(list_documents(view, name, limit=99).items), sorted(documents.items())
    for bucket, pairs in model.buckets.items():
        yield list(list_keys(view, bucket, limit=99).items), sorted(pairs.items())
    stored_documents = sum(len(documents) for documents in model.collections.values())
    yield len(list(view.scan(DOCUMENTS, prefix_end(DOCUMENTS)))), stored_documents
    yield read_revision(view), model.revision


@settings(max_examples=250, deadline=None)
@given(st.booleans(), batches)
def test_apply_equals_model(settled: bool, given_batches: list[list[Command]]) -> None:  # noqa: FBT001 -- given
    """Every outcome and everything that can be read is what dicts would give; drops leave nothing behind."""
    view, model = MemoryView(), Model()
    for batch in [SETTLED, *given_batches] if settled else given_batches:
        overlay = Overlay(view)
        assert apply_batch(overlay, encode_batch(0, batch), b"") == [model.apply(command) for command in batch]
        view.commit(overlay.writes)
        for stored, expected in contents(view, model):
            assert stored == expected


@dataclass(frozen=True)
class Cutting:
    """Where log entries are cut (a number per command, cut when 0), and how many entries share an overlay."""

    cuts: Sequence[int]
    entries_per_overlay: int

    def entries(self, batches: Sequence[tuple[int, Sequence[Command]]]) -> Iterator[bytes]:
        cuts = iter(self.cuts)
        for time_ms, batch in batches:
            entry: list[Command] = []
            for command in batch:
                entry.append(command)
                if next(cuts, 1) == 0:
                    yield encode_batch(time_ms, entry)
                    entry = []
            yield encode_batch(time_ms, entry)


def replay(entries: Sequence[bytes], entries_per_overlay: int) -> tuple[dict[bytes, bytes], list[Outcome]]:
    view, outcomes = MemoryView(), []
    for start in range(0, len(entries), entries_per_overlay):
        overlay = Overlay(view)
        for entry in entries[start : start + entries_per_overlay]:
            outcomes += apply_batch(overlay, entry, entry)
        view.commit(overlay.writes)
    return view.values, outcomes


def without_digest(state: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the state without the digest, which depends on how commands were grouped into entries."""
    header = msgspec.msgpack.decode(state[HEADER_KEY], type=list[object])
    return {**state, HEADER_KEY: msgspec.msgpack.encode(header[:-1])}


cuttings = st.builds(Cutting, st.lists(st.integers(0, 2), max_size=38), st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(timed_batches, cuttings)
def test_state_does_not_depend_on_how_commands_were_grouped(
    given_batches: list[tuple[int, list[Command]]], cutting: Cutting
) -> None:
    """Other cuts of the log and other overlays, the same bytes and outcomes; also while records expire."""
    timed = [(0, SETTLED), *given_batches]
    whole = Cutting((), 1)
    state, outcomes = replay(list(whole.entries(timed)), 1)
    cut_state, cut_outcomes = replay(list(cutting.entries(timed)), cutting.entries_per_overlay)
    assert (without_digest(cut_state), cut_outcomes) == (without_digest(state), outcomes)
    # The same entries: the same in every byte, however many are applied at once.
    assert replay(list(replace(cutting, cuts=()).entries(timed)), len(timed)) == (state, outcomes)
