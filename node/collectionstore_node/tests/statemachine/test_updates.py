"""Updates in the state machine: outcomes, revisions, images, conditions, costs, levels, and equal replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.documents.regexes import compile_regex
from collectionstore_node.errors import InvalidRequest, TooLarge
from collectionstore_node.statemachine import updates
from collectionstore_node.statemachine.admissible import UPDATED_BYTES_MAX, CommandLimits, check_command
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    CreateCollection,
    Delete,
    DocumentRef,
    Get,
    Idempotency,
    Image,
    Item,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Transaction,
    Update,
    UpdateForm,
    answers_values,
    decode_command,
    encode_batch,
    encode_command,
    level_needed,
)
from collectionstore_node.statemachine.costs import ENTRY_COST_MAX, FILTER_BYTES_MAX, UPDATE_BYTES_MAX
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.levels import BOUNDED, ENGINE, FIRST
from collectionstore_node.statemachine.reads import get_document
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.documents.json_values import DOCUMENTS
from collectionstore_node.tests.documents.test_updates_differential import ANYTHING, OPERATIONS, OPERATOR_NAMES
from collectionstore_node.tests.statemachine.memory_view import MemoryView

X, Y = DocumentRef("c", "x"), DocumentRef("c", "y")


class Machine:
    """A state with the collection `c`."""

    def __init__(self) -> None:
        self.view = MemoryView()
        self.run(CreateCollection("c"))

    def entry(self, *actions: Action | Command, level: int = ENGINE) -> tuple[list[Outcome], dict[int, Outcome], int]:
        """Apply one entry; return outcomes as they are replicated, those with values, and what it cost."""
        overlay, answers = Overlay(self.view), dict[int, Outcome]()
        commands = [action if isinstance(action, Command) else Command(action) for action in actions]
        outcomes = apply_batch(overlay, encode_batch(0, commands, level), b"", answers)
        self.view.commit(overlay.writes)
        return outcomes, answers, overlay.cost

    def run(self, action: Action | Command, level: int = ENGINE) -> Outcome:
        """Apply one action and return the outcome as its client hears it."""
        outcomes, answers, _ = self.entry(action, level=level)
        return answers.get(0, outcomes[0])

    def put(self, document: Any, ref: DocumentRef = X) -> int:
        return self.run(Put(ref, orjson.dumps(document))).revision

    def document(self, ref: DocumentRef = X) -> Any:
        found = get_document(self.view, ref.collection, ref.id)
        return None if found is None else orjson.loads(found.value)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def operators(given: Any, ref: DocumentRef = X, **fields: Any) -> Update:
    return Update(ref, UpdateForm.OPERATORS, orjson.dumps(given), **fields)


INC = {"$inc": {"n": 1}}


def test_an_update_takes_the_revision_of_its_command(machine: Machine) -> None:
    before = machine.put({"n": 1})
    outcome = machine.run(operators(INC))

    assert outcome == Outcome(
        Code.OK, before + 1, current_revision=before, items=(Item(before + 1, previous_revision=before),)
    )
    assert machine.document() == {"n": 2}
    found = get_document(machine.view, "c", "x")
    assert found is not None
    assert (found.revision, found.created_revision) == (before + 1, before)


def test_an_update_that_changes_nothing_leaves_the_revision(machine: Machine) -> None:
    before = machine.put({"n": 1})
    outcome = machine.run(operators({"$max": {"n": 0}}))

    assert (outcome.code, outcome.items) == (Code.OK, (Item(before, previous_revision=before),))
    found = get_document(machine.view, "c", "x")
    assert found is not None
    assert found.revision == before


@pytest.mark.parametrize(
    ("update", "after"),
    [
        (Update(X, UpdateForm.MERGE_PATCH, b'{"n":null,"m":1}'), {"m": 1}),
        (Update(X, UpdateForm.JSON_PATCH, b'[{"op":"add","path":"/m","value":1}]'), {"n": 1, "m": 1}),
        (Update(X, UpdateForm.REPLACE, b'{"z":1.50}'), {"z": 1.5}),
        (Update(X, UpdateForm.DELETE), None),
        (operators({"$set": {"a.$[x]": 0}}, array_filters=b'[{"x":1}]'), Code.UPDATE_PATH),
    ],
)
def test_every_form_is_applied(machine: Machine, update: Update, after: Any) -> None:
    machine.put({"n": 1})
    outcome = machine.run(update)

    if isinstance(after, Code):
        assert outcome.code is after
        after = {"n": 1}
    else:
        assert outcome.code is Code.OK
    assert machine.document() == after


def test_an_absent_document_is_not_found_unless_it_is_an_upsert(machine: Machine) -> None:
    assert machine.run(operators(INC)).code is Code.NOT_FOUND
    assert machine.run(Update(X, UpdateForm.DELETE, upsert=True)).code is Code.NOT_FOUND
    outcome = machine.run(operators(INC, upsert=True))
    assert (outcome.code, outcome.created, outcome.items[0].created) == (Code.OK, True, True)
    assert machine.document() == {"n": 1}
    assert machine.run(operators(INC, DocumentRef("none", "x"))).code is Code.COLLECTION_NOT_FOUND


def test_an_upsert_begins_with_what_its_filter_says(machine: Machine) -> None:
    update = operators(
        {"$setOnInsert": {"m": 2}}, when=b'{"_id":"x","kind":"a","k.l":{"$eq":5},"n":{"$gt":1}}', upsert=True
    )
    assert machine.run(update).created
    assert machine.document() == {"kind": "a", "k": {"l": 5}, "m": 2}


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"n": 1}, True),
        ({"n": {"$gt": 1}}, False),
        ({"_id": "x"}, True),
        ({"_id": "y"}, False),
        ({"_revision": 2}, True),
        ({"_revision": {"$gt": 2}}, False),
        ({"tags": {"$regex": "^b"}}, True),
        ({"tags": {"$regex": "^c"}}, False),
        ({"missing": None}, True),
        ({}, True),
    ],
)
@pytest.mark.parametrize("form", UpdateForm)
def test_a_write_is_made_when_its_filter_matches(machine: Machine, when: Any, holds: bool, form: UpdateForm) -> None:  # noqa: FBT001 -- given
    document = {"n": 1, "tags": ["a", "b"]}
    revision = machine.put(document)
    bodies = {
        UpdateForm.OPERATORS: b'{"$set":{"m":1}}',
        UpdateForm.MERGE_PATCH: b'{"m":1}',
        UpdateForm.JSON_PATCH: b'[{"op":"add","path":"/m","value":1}]',
        UpdateForm.REPLACE: b'{"m":1}',
        UpdateForm.DELETE: b"",
    }
    outcome = machine.run(Update(X, form, bodies[form], when=orjson.dumps(when)))

    if holds:
        assert outcome.code is Code.OK
        assert machine.document() != document
    else:
        assert outcome == Outcome(Code.CONDITION_FAILED, revision + 1, current_revision=revision)
        assert machine.document() == document


def test_preconditions_come_before_the_filter(machine: Machine) -> None:
    revision = machine.put({"n": 1})

    for precondition in (Precondition(exists=False), Precondition(revisions=(revision + 7,))):
        outcome = machine.run(operators(INC, precondition=precondition, when=b'{"n":5}'))
        assert outcome.code is Code.PRECONDITION_FAILED
    assert machine.run(operators(INC, precondition=Precondition(revisions=(revision,)))).code is Code.OK
    assert machine.run(operators(INC, unchanged_since=revision)).code is Code.PRECONDITION_FAILED
    assert machine.run(operators(INC, unchanged_since=1 << 62)).code is Code.OK
    assert machine.document() == {"n": 3}


def test_an_image_is_answered_and_not_replicated(machine: Machine) -> None:
    machine.run(Put(X, b'{"n": 1.50}'))
    outcomes, answers, _ = machine.entry(operators(INC, image=Image.BEFORE), operators(INC, image=Image.AFTER))

    assert [one.items[0].value for one in outcomes] == [None, None]
    assert [answers[at].items[0].value for at in range(2)] == [b'{"n": 1.50}', b'{"n":3.5}']
    assert machine.run(operators(INC, Y, upsert=True, image=Image.BEFORE)).items[0].value is None
    assert machine.run(operators(INC, Y, image=Image.AFTER)).items[0].value == b'{"n":2}'
    assert machine.run(Update(Y, UpdateForm.DELETE, image=Image.BEFORE)).items[0].value == b'{"n":2}'
    assert answers_values(Command(operators(INC, image=Image.AFTER)))
    assert not answers_values(Command(operators(INC)))


def test_a_repeated_update_is_applied_once(machine: Machine) -> None:
    machine.put({"n": 1})
    command = Command(operators(INC, image=Image.AFTER), Idempotency("k", b"f" * 32))
    first, again = machine.run(command), machine.run(command)

    assert machine.document() == {"n": 2}
    assert again.replayed
    # The text is not kept.
    assert (first.items[0].value, again.items[0].value) == (b'{"n":2}', None)
    assert again.items[0].revision == first.items[0].revision


@pytest.mark.parametrize(
    ("update", "code", "position"),
    [
        (operators({"$set": {"a": 1}, "$inc": {"s": 1}}), Code.UPDATE_TYPE, 1),
        (operators({"$inc": {"big": 1}}), Code.UPDATE_RANGE, 0),
        (operators({"$set": {"a.$[]": 1, "a.0": 2}}), Code.UPDATE_CONFLICT, 1),
        (operators({"$set": {"b.$[]": 1}}), Code.UPDATE_PATH, 0),
        (operators({"$set": {"a": "x" * 100}}, bytes_max=90), Code.UPDATE_SIZE, None),
        (operators({"$set": {"a.9000000": 1}}), Code.UPDATE_SIZE, 0),
        (Update(X, UpdateForm.JSON_PATCH, b'[{"op":"test","path":"/s","value":1}]'), Code.UPDATE_TEST, 0),
        (Update(X, UpdateForm.OPERATORS, b"{"), Code.INVALID_UPDATE, None),
        (Update(X, UpdateForm.OPERATORS, b"\xff"), Code.INVALID_UPDATE, None),
        (Update(X, UpdateForm.OPERATORS, b'{"$foo":1}'), Code.INVALID_UPDATE, None),
        (Update(X, UpdateForm.OPERATORS, b"[" * 600 + b"]" * 600), Code.INVALID_UPDATE, None),
        (Update(X, UpdateForm.MERGE_PATCH, b'{"a":' * 120 + b"1" + b"}" * 120), Code.INVALID_UPDATE, None),
        (Update(X, UpdateForm.DELETE, b"x"), Code.INVALID_UPDATE, None),
        (Update(X, UpdateForm.REPLACE, b"{}", array_filters=b"[]"), Code.INVALID_UPDATE, None),
        (operators(INC, when=b'{"$foo":1}'), Code.INVALID_UPDATE, None),
        (operators(INC, when=b'{"a":{"$regex":"("}}'), Code.INVALID_UPDATE, None),
        (operators(INC, when=b" " * (FILTER_BYTES_MAX + 1)), Code.INVALID_UPDATE, None),
        (operators(INC, array_filters=b'[{"x":1}]'), Code.INVALID_UPDATE, None),
        (operators({"$set": {"a": "x" * UPDATE_BYTES_MAX}}), Code.INVALID_UPDATE, None),
        (operators({"$set": {"a": [0] * 20_001}}), Code.INVALID_UPDATE, None),
    ],
)
def test_an_update_that_cannot_be_is_an_outcome(
    machine: Machine, update: Update, code: Code, position: int | None
) -> None:
    """Never an exception, which would stop every replica; and nothing of it stays."""
    document = {"a": [1], "s": "x", "big": (1 << 63) - 1}
    machine.put(document)
    outcome = machine.run(update)

    assert (outcome.code, outcome.failed_operation, outcome.items) == (code, position, ())
    assert machine.document() == document


def test_the_time_is_that_of_the_command(machine: Machine) -> None:
    machine.run(operators({"$currentDate": {"at": True, "ms": {"$type": "timestamp"}}}, time_ms=1_000, upsert=True))
    assert machine.document() == {"at": "1970-01-01T00:00:01.000Z", "ms": 1_000}


# Transactions


def test_a_transaction_updates(machine: Machine) -> None:
    revision = machine.put({"n": 1})
    then = (
        operators(INC),
        Get(X),
        operators(INC, Y, upsert=True),
        operators({"$max": {"z": 1}}, DocumentRef("c", "z"), upsert=True),
    )
    outcome = machine.run(Transaction(then=then))

    assert outcome.code is Code.OK
    assert [item.value for item in outcome.items] == [None, b'{"n":2}', None, None]
    assert outcome.items[0].previous_revision == revision
    assert outcome.items[2].created
    assert (machine.document(), machine.document(Y)) == ({"n": 2}, {"n": 1})


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (operators(INC, Y), Code.NOT_FOUND),
        (operators({"$push": {"n": 1}}, DocumentRef("c", "z")), Code.UPDATE_TYPE),
        (operators(INC, DocumentRef("c", "z"), when=b'{"n":9}'), Code.CONDITION_FAILED),
        (operators(INC, DocumentRef("c", "z"), precondition=Precondition(exists=False)), Code.PRECONDITION_FAILED),
        (operators({"$foo": {}}, DocumentRef("c", "z")), Code.INVALID_UPDATE),
    ],
)
def test_an_update_that_fails_fails_its_transaction(machine: Machine, second: Update, code: Code) -> None:
    machine.put({"n": 1})
    machine.put({"n": 1}, DocumentRef("c", "z"))
    outcome = machine.run(Transaction(then=(operators(INC), second)))

    assert (outcome.code, outcome.failed_operation, outcome.items) == (code, 1, ())
    assert machine.document() == {"n": 1}


def test_a_transaction_writes_a_document_once_and_answers_no_images(machine: Machine) -> None:
    machine.put({"n": 1})
    for then in ((operators(INC), operators(INC)), (operators(INC), Delete(X)), (operators(INC, image=Image.AFTER),)):
        assert machine.run(Transaction(then=then)).code is Code.INVALID_TRANSACTION


# Levels and what members forward


@pytest.mark.parametrize("level", [FIRST, BOUNDED])
def test_an_update_before_its_level_changes_nothing(level: int) -> None:
    view = MemoryView()
    overlay = Overlay(view)
    entry = [
        Command(CreateCollection("c")),
        Command(operators(INC, upsert=True)),
        Command(Transaction(then=(operators(INC),))),
    ]
    outcomes = apply_batch(overlay, encode_batch(0, entry, level), b"")

    assert [one.code for one in outcomes] == [Code.OK, Code.LEVEL_TOO_LOW, Code.LEVEL_TOO_LOW]


def test_the_level_that_an_action_needs() -> None:
    assert level_needed(Put(X, b"{}")) == level_needed(Transaction(then=(Put(X, b"{}"),))) == FIRST
    assert level_needed(operators(INC)) == level_needed(Transaction(otherwise=(operators(INC),))) == ENGINE


def test_an_update_is_encoded_and_decoded() -> None:
    update = Update(
        X,
        UpdateForm.OPERATORS,
        b"{}",
        b"[]",
        b"{}",
        Precondition(exists=True),
        upsert=True,
        image=Image.AFTER,
        unchanged_since=5,
        time_ms=6,
        bytes_max=7,
    )
    assert decode_command(encode_command(Command(update))) == Command(update)
    raw = msgspec.msgpack.decode(encode_command(Command(update)))
    with pytest.raises(msgspec.DecodeError):
        decode_command(msgspec.msgpack.encode([[16, [2, "bucket", "key"], *raw[0][2:]], None]))


@pytest.mark.parametrize(
    "update",
    [
        operators({"$foo": 1}),
        operators(INC, when=b"["),
        operators(INC, time_ms=-1),
        operators(INC, time_ms=1 << 60),
        operators(INC, bytes_max=UPDATED_BYTES_MAX + 1),
        operators(INC, bytes_max=-1),
        operators(INC, unchanged_since=-1),
        operators(INC, precondition=Precondition(revisions=(0,))),
        operators(INC, DocumentRef("C", "x")),
        operators(INC, DocumentRef("c", "..")),
        Update(X, UpdateForm.REPLACE, b"[]"),
        Update(X, UpdateForm.REPLACE, b'{"_x":1}'),
        Update(X, UpdateForm.DELETE, b"1"),
        Update(X, UpdateForm.MERGE_PATCH, b'{"_x":1}'),
    ],
)
def test_a_forwarded_update_is_checked(update: Update) -> None:
    check_command(Command(operators(INC, when=b'{"n":1}')), CommandLimits())
    for action in (update, Transaction(then=(update,))):
        with pytest.raises(InvalidRequest):
            check_command(Command(action), CommandLimits())


def test_a_forwarded_update_is_bounded() -> None:
    limits = CommandLimits(document_bytes_max=1 << 10)
    for update in (
        Update(X, UpdateForm.REPLACE, b'{"a":"%b"}' % (b"x" * 2_000)),
        operators({"$set": {"a": "x" * UPDATE_BYTES_MAX}}),
    ):
        with pytest.raises(TooLarge):
            check_command(Command(update), limits)


def test_the_patterns_of_a_transaction_are_bounded_together() -> None:
    """They are compiled by the leader for each member that forwards them."""
    for name in ("$regex", "$\\u0072egex"):
        refs = [DocumentRef("c", f"d{at}") for at in range(4)]
        filters = b'{"$or":[%b]}' % b",".join([b'{"a":{"%b":"x"}}' % name.encode()] * 10)
        steps = tuple(operators(INC, ref, when=filters) for ref in refs)
        check_command(Command(Transaction(then=steps[:3])), CommandLimits())
        with pytest.raises(InvalidRequest, match="32 patterns together"):
            check_command(Command(Transaction(then=steps[:2], otherwise=steps[2:])), CommandLimits())


# Costs


def test_what_an_update_costs_is_counted_into_its_entry(machine: Machine) -> None:
    machine.put({"a": list(range(20_000)), "n": 0})
    _, _, cheap = machine.entry(operators(INC))
    _, _, dear = machine.entry(operators({"$addToSet": {"a": -1}}))

    assert 0 < cheap < 200_000
    assert dear > 20 * cheap


def test_an_update_that_fails_costs_what_it_did(machine: Machine) -> None:
    machine.put({"a": list(range(20_000)), "n": "x"})
    outcomes, _, cost = machine.entry(operators({"$addToSet": {"a": -1}, "$inc": {"n": 1}}))

    assert outcomes[0].code is Code.UPDATE_TYPE
    assert cost > 2_000_000


def test_an_entry_of_dear_updates_defers_the_rest(machine: Machine) -> None:
    machine.put({"a": list(range(20_000))})
    outcomes, _, cost = machine.entry(*[operators({"$addToSet": {"a": -at}}) for at in range(1, 40)])

    codes = [one.code for one in outcomes]
    done = codes.index(Code.DEFERRED)
    assert 0 < done < 39
    assert set(codes[done:]) == {Code.DEFERRED}
    assert cost < ENTRY_COST_MAX + (12 << 20)


def test_updates_of_a_transaction_are_bounded_together(machine: Machine) -> None:
    refs = [DocumentRef("c", f"d{at}") for at in range(32)]
    for ref in refs:
        machine.put({"a": list(range(20_000))}, ref)
    outcome = machine.run(Transaction(then=tuple(operators({"$addToSet": {"a": -1}}, ref) for ref in refs)))

    assert outcome.code is Code.TRANSACTION_TOO_LARGE
    assert outcome.failed_operation is not None
    assert machine.document(refs[0]) == {"a": list(range(20_000))}


@pytest.mark.parametrize(
    ("pattern", "options", "size"),
    [("a", "", 5), ("^a.*b$", "i", 13), ("[ab]*a[ab]{100}", "", 106), ("(x|y){3}z", "ms", 8)],
)
def test_the_size_of_patterns_is_what_it_was(pattern: str, options: str, size: int) -> None:
    """It decides outcomes (the cost of a search): another version of RE2 that counts otherwise needs a new level."""
    assert compile_regex(pattern, options).instructions == size


# Replicas

IDS = st.sampled_from(["x", "y"])
WHENS = st.sampled_from([b"", b"", b'{"a":1}', b'{"a":{"$gt":0}}', b'{"a":{"$regex":"^a"}}', b'{"$foo":1}', b"["])
BODIES = st.one_of(
    st.tuples(
        st.just(UpdateForm.OPERATORS),
        st.dictionaries(
            st.sampled_from(OPERATOR_NAMES),
            st.dictionaries(
                st.sampled_from(["a", "b", "a.0", "a.$[]", "a.$[x]", "a.b", "a.$", "0.1"]), ANYTHING, max_size=2
            ),
            max_size=3,
        ),
    ),
    st.tuples(st.just(UpdateForm.MERGE_PATCH), DOCUMENTS),
    st.tuples(st.just(UpdateForm.JSON_PATCH), st.lists(OPERATIONS, max_size=4)),
    st.tuples(st.just(UpdateForm.REPLACE), DOCUMENTS),
).map(lambda pair: (pair[0], orjson.dumps(pair[1])))
UPDATES = st.builds(
    lambda name, pair, filters, when, precondition, upsert, image, since: Update(
        DocumentRef("c", name),
        pair[0],
        pair[1],
        filters,
        when,
        precondition,
        upsert=upsert,
        image=image,
        unchanged_since=since,
        time_ms=1_700_000_000_000,
    ),
    IDS,
    BODIES | st.just((UpdateForm.DELETE, b"")),
    st.sampled_from([b"", b"", b'[{"x":1}]', b'[{"x.a":{"$gte":0}}]', b"{"]),
    WHENS,
    st.sampled_from([Precondition(), Precondition(), Precondition(exists=True), Precondition(revisions=(2, 3, 4))]),
    st.booleans(),
    st.sampled_from(Image),
    st.sampled_from([0, 0, 3, 100]),
)
PUTS = st.builds(lambda name, document: Put(DocumentRef("c", name), orjson.dumps(document)), IDS, DOCUMENTS)
ACTIONS = st.one_of(
    UPDATES,
    UPDATES,
    PUTS,
    st.builds(
        lambda steps: Transaction(then=tuple(steps)), st.lists(UPDATES | PUTS | st.builds(Get, st.just(X)), max_size=3)
    ),
    st.just(Put(KeyRef("b", "k"), b"v")),
)
COMMANDS = st.builds(Command, ACTIONS, st.none() | st.builds(Idempotency, st.sampled_from("kl"), st.just(b"f" * 32)))


def replay(
    entries: Sequence[Sequence[Command]], *, entries_per_overlay: int
) -> tuple[dict[bytes, bytes], list[Outcome]]:
    """Apply entries as a replica does that knows nothing of the updates yet."""
    updates._parse_cached.cache_clear()
    view, outcomes = MemoryView(), []
    for start in range(0, len(entries), entries_per_overlay):
        overlay = Overlay(view)
        for number, entry in enumerate(entries[start : start + entries_per_overlay], start):
            outcomes += apply_batch(overlay, encode_batch(0, entry, ENGINE), b"%d" % number)
        view.commit(overlay.writes)
    return view.values, outcomes


@settings(max_examples=250, deadline=None)
@given(st.lists(st.lists(COMMANDS, max_size=5), max_size=5), st.integers(1, 7))
def test_two_replicas_have_the_same_bytes(batches: list[list[Command]], entries_per_overlay: int) -> None:
    """However many entries are applied together, with the digest; and however commands were cut, without it."""
    entries = [[Command(CreateCollection("c")), Command(Put(X, b'{"a":[1,{"a":2}]}'))], *batches]
    state, outcomes = replay(entries, entries_per_overlay=1)

    assert replay(entries, entries_per_overlay=entries_per_overlay) == (state, outcomes)
    single = [[command] for entry in entries for command in entry]
    cut_state, cut_outcomes = replay(single, entries_per_overlay=3)
    assert cut_outcomes == outcomes
    header, cut_header = state.pop(HEADER_KEY), cut_state.pop(HEADER_KEY)
    assert cut_state == state
    assert msgspec.msgpack.decode(header)[:3] == msgspec.msgpack.decode(cut_header)[:3]
