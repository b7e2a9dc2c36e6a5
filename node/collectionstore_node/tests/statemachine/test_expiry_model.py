"""What expires, against a naive model that looks at every record at every moment."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    ANY,
    Action,
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    Expire,
    Expiring,
    Get,
    GrantLease,
    KeepLease,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Ref,
    RevokeLease,
    Touch,
    Transaction,
    Update,
    UpdateForm,
    encode_batch,
    plain,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.reads import get_document, get_key
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine import indexed
from collectionstore_node.tests.statemachine.expiring import check
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_node.tests.statemachine.pages import list_documents

DOCUMENTS = [DocumentRef("c", name) for name in "pqr"]
REFS: list[Ref] = [*DOCUMENTS, KeyRef("b", "k"), KeyRef("b", "l")]
LEASES = (0, 3, 4, 5, 6)
"""Revisions of the first commands; some of them grant leases."""


@dataclass
class Held:
    """A record of the model."""

    value: bytes
    revision: int
    deadline: int = 0
    lease: int = 0


@dataclass
class Model:
    """Every record with its deadline, in one dict; uniqueness by looking at all of them."""

    revision: int = 0
    time: int = 0
    collection: bool = True
    records: dict[Ref, Held] = field(default_factory=dict)
    leases: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By ID: ttl and deadline."""

    def there(self, ref: Ref) -> Held | None:
        """Return a record that has not expired."""
        held = self.records.get(ref)
        if held is None:
            return None
        if held.lease:
            return held if self.lease(held.lease) else None
        return held if not held.deadline or held.deadline > self.time else None

    def lease(self, number: int) -> bool:
        return number in self.leases and self.leases[number][1] > self.time

    def apply(self, action: Action) -> Code:
        self.revision += 1
        match action:
            case CreateCollection():
                if self.collection:
                    return Code.COLLECTION_EXISTS
                self.collection = True
            case DropCollection():
                if not self.collection:
                    return Code.COLLECTION_NOT_FOUND
                self.collection = False
                self.records = {ref: one for ref, one in self.records.items() if isinstance(ref, KeyRef)}
            case GrantLease(ttl_ms):
                self.leases[self.revision] = ttl_ms, self.time + ttl_ms + 1
            case KeepLease(number) | RevokeLease(number):
                if not self.lease(number):
                    return Code.LEASE_NOT_FOUND
                ttl = self.leases[number][0]
                self.leases[number] = ttl, self.time + ttl + 1 if isinstance(action, KeepLease) else self.time
            case Touch(ref, ttl_ms, lease, precondition):
                return self.touch(ref, ttl_ms, lease, precondition)
            case Transaction(compares, then, otherwise):
                return self.transact(compares, then, otherwise)
            case Put() | Delete() | Update() | Expiring():
                return self.write(action)
            case _:
                assert isinstance(action, Expire)
        return Code.OK

    def missing(self, ref: Ref) -> bool:
        return isinstance(ref, DocumentRef) and not self.collection

    def touch(self, ref: Ref, ttl_ms: int, lease: int, precondition: Precondition) -> Code:
        if self.missing(ref):
            return Code.COLLECTION_NOT_FOUND
        held = self.there(ref)
        if not allowed(precondition, held):
            return Code.PRECONDITION_FAILED
        if held is None:
            return Code.NOT_FOUND
        if lease and not self.lease(lease):
            return Code.LEASE_NOT_FOUND
        self.records[ref] = Held(held.value, held.revision, self.deadline(ttl_ms), lease)
        return Code.OK

    def deadline(self, ttl_ms: int) -> int:
        return self.time + ttl_ms + 1 if ttl_ms else 0

    def write(self, action: Put | Delete | Update | Expiring) -> Code:
        operation = plain(action)
        ref = operation.ref
        if self.missing(ref):
            return Code.COLLECTION_NOT_FOUND
        held = self.there(ref)
        if isinstance(operation, Update):
            return self.update(operation, action, held)
        assert isinstance(operation, Put | Delete)
        if not allowed(operation.precondition, held):
            return Code.PRECONDITION_FAILED
        if isinstance(operation, Delete):
            self.records.pop(ref, None)
            return Code.OK if held is not None else Code.NOT_FOUND
        return self.store(ref, operation.value, action, None, self.revision)

    def update(self, update: Update, action: Put | Delete | Update | Expiring, held: Held | None) -> Code:
        if held is None:
            return Code.NOT_FOUND
        new = orjson.loads(update.body)["$set"]
        old = orjson.loads(held.value)
        if old | new == old:
            if not isinstance(action, Expiring):
                return Code.OK
            return self.store(update.ref, held.value, action, None, held.revision)
        return self.store(update.ref, orjson.dumps(old | new), action, held, self.revision)

    def store(
        self, ref: Ref, value: bytes, action: Put | Delete | Update | Expiring, keeps: Held | None, revision: int
    ) -> Code:
        held = Held(value, revision)
        if isinstance(action, Expiring):
            if action.lease and not self.lease(action.lease):
                return Code.LEASE_NOT_FOUND
            held.deadline, held.lease = self.deadline(action.ttl_ms), action.lease
        elif keeps is not None:
            held.deadline, held.lease = keeps.deadline, keeps.lease
        if isinstance(ref, DocumentRef) and self.taken(ref, value):
            return Code.UNIQUE_VIOLATION
        self.records[ref] = held
        return Code.OK

    def taken(self, ref: DocumentRef, value: bytes) -> bool:
        mine = orjson.loads(value).get("u")
        others = [one for one in DOCUMENTS if one != ref]
        found = [self.there(one) for one in others]
        return any(orjson.loads(one.value).get("u") == mine for one in found if one is not None)

    def transact(self, compares: tuple[Compare, ...], then: tuple[object, ...], otherwise: tuple[object, ...]) -> Code:
        if any(self.missing(one.ref) for one in compares):
            return Code.COLLECTION_NOT_FOUND
        held = all((self.there(one.ref) is not None) == bool(one.operand) for one in compares)
        before = dict(self.records)
        for step in then if held else otherwise:
            assert isinstance(step, Put | Delete | Get | Expiring)
            if self.missing(step.ref):
                code = Code.COLLECTION_NOT_FOUND
            elif isinstance(step, Get):
                continue
            else:
                code = self.write(step)
            if code not in (Code.OK, Code.NOT_FOUND):
                self.records = before
                return code
        return Code.OK


def allowed(precondition: Precondition, held: Held | None) -> bool:
    return precondition.exists is None or precondition.exists == (held is not None)


ttls = st.sampled_from((0, 1_000, 2_500, 7_000))
preconditions = st.sampled_from((ANY, Precondition(exists=True), Precondition(exists=False)))
values = st.builds(lambda number: b'{"u":%d}' % number, st.integers(0, 3))
puts = st.builds(Put, st.sampled_from(REFS), values, preconditions)
updates = st.builds(
    lambda ref, number: Update(ref, UpdateForm.OPERATORS, b'{"$set":{"u":%d}}' % number),
    st.sampled_from(DOCUMENTS),
    st.integers(0, 3),
)


@st.composite
def expirings(draw: st.DrawFn, writes: st.SearchStrategy[Put | Update]) -> Expiring:
    lease = draw(st.sampled_from(LEASES))
    return Expiring(draw(writes), 0 if lease else draw(ttls), lease)


@st.composite
def touches(draw: st.DrawFn) -> Touch:
    lease = draw(st.sampled_from(LEASES))
    return Touch(draw(st.sampled_from(REFS)), 0 if lease else draw(ttls), lease, draw(preconditions))


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    """With one write of a document at most: uniqueness is decided behind all of them, which the model does not."""
    keys = [ref for ref in REFS if isinstance(ref, KeyRef)]
    branches = []
    for _ in range(2):
        refs = draw(st.lists(st.sampled_from(keys), unique=True)) + draw(
            st.lists(st.sampled_from(DOCUMENTS), max_size=1)
        )
        branches.append(tuple(draw(steps(ref)) for ref in refs))
    exists = st.builds(
        lambda ref, operand: Compare(ref, CompareField.EXISTS, CompareOperator.EQUAL, int(operand)),
        st.sampled_from(REFS),
        st.booleans(),
    )
    return Transaction(tuple(draw(st.lists(exists, max_size=2))), *branches)


@st.composite
def steps(draw: st.DrawFn, ref: Ref) -> Put | Delete | Get | Expiring:
    put = Put(ref, draw(values), draw(preconditions))
    lease = draw(st.sampled_from(LEASES))
    expiring = Expiring(put, 0 if lease else draw(ttls), lease)
    choice: st.SearchStrategy[Put | Delete | Get | Expiring] = st.sampled_from(
        (put, Delete(ref, draw(preconditions)), Get(ref), expiring)
    )
    return draw(choice)


actions: st.SearchStrategy[Action] = st.one_of(
    puts,
    updates,
    expirings(puts | updates),
    st.builds(Delete, st.sampled_from(REFS), preconditions),
    touches(),
    st.builds(GrantLease, st.sampled_from((1_000, 4_000))),
    st.builds(KeepLease, st.sampled_from(LEASES)),
    st.builds(RevokeLease, st.sampled_from(LEASES)),
    transactions(),
    st.just(Expire()),
    st.sampled_from((CreateCollection("c"), DropCollection("c"))),
)
entries = st.lists(
    st.tuples(st.sampled_from((0, 1, 500, 1_000, 3_000, 9_000)), st.lists(actions, max_size=4)), min_size=1, max_size=25
)


@settings(max_examples=150, deadline=None)
@given(entries, st.booleans())
def test_it_is_what_the_model_says(history: list[tuple[int, list[Action]]], unique: bool) -> None:  # noqa: FBT001
    """Every outcome, every read after every entry, and the queues; and a replica that applied all of it at once."""
    model, view, together = Model(), MemoryView(), MemoryView()
    begin: list[Action] = [CreateCollection("c")]
    definition = indexed.defined("u", {"u": 1}, unique=True, filter={"u": {"$lte": 3 if unique else -1}})
    begin.append(CreateIndex("c", definition))
    overlay = Overlay(together)
    data = [encode_batch(0, [Command(one) for one in begin], CHANGES)]
    data += [encode_batch(0, [Command(one)], CHANGES) for one in _built(view, data[0])]
    model.revision = len(begin) + len(data) - 1
    now = 0
    for passed, commands in history:
        now += passed
        data.append(encode_batch(now, [Command(one) for one in commands], CHANGES))
        model.time = now
        outcomes = _apply(view, data[-1])
        codes = [_unless_dropped(model, one, unique=unique) for one in commands]
        assert [one.code for one in outcomes] == codes
        for ref in REFS:
            assert _read(view, model, ref) == _shown(model.there(ref))
        if model.collection:
            listed = [one.id for one in list_documents(view, "c", limit=9).items]
            assert listed == [ref.id for ref in DOCUMENTS if model.there(ref) is not None]
        check(view)
        indexed.check(view)
    for one in data:
        apply_batch(overlay, one, b"")
    together.commit(overlay.writes)
    assert together.values == view.values
    assert read_digest(together) == read_digest(view)


def _unless_dropped(model: Model, action: Action, *, unique: bool) -> Code:
    """Apply to the model; a collection that is made again has no index."""
    if isinstance(action, DropCollection) or not unique:
        model.__dict__["taken"] = lambda ref, value: False
    return model.apply(action)


def _built(view: MemoryView, first: bytes) -> list[Action]:
    _apply(view, first)
    steps_of: list[Action] = list(indexed.next_steps(view))
    for one in steps_of:
        _apply(view, encode_batch(0, [Command(one)], CHANGES))
    assert not indexed.next_steps(view)
    return steps_of


def _apply(view: MemoryView, data: bytes) -> list[Outcome]:
    overlay = Overlay(view)
    outcomes = apply_batch(overlay, data, b"")
    view.commit(overlay.writes)
    return outcomes


def _read(view: MemoryView, model: Model, ref: Ref) -> tuple[bytes, int] | None:
    if isinstance(ref, KeyRef):
        found = get_key(view, ref.bucket, ref.key)
    else:
        found = get_document(view, ref.collection, ref.id) if model.collection else None
    return None if found is None else (found.value, found.revision)


def _shown(held: Held | None) -> tuple[bytes, int] | None:
    return None if held is None else (held.value, held.revision)
