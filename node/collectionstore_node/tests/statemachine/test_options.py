"""Options of collections as commands: schemas, defaults, sequences, levels, and replicas that agree byte for byte."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest

from collectionstore_node.errors import InvalidPart, InvalidRequest
from collectionstore_node.statemachine.admissible import CommandLimits, check_command
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    SCHEMA_WARNING,
    Action,
    Code,
    Command,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    Expiring,
    Get,
    Idempotency,
    Image,
    Insert,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Transaction,
    Update,
    UpdateForm,
    encode_batch,
    inserted_id,
    level_needed,
    refused_document,
    warned,
)
from collectionstore_node.statemachine.costs import PARSE_COST, SCHEMA_DEPTH_MAX, SCHEMA_STEPS_MAX, SEQUENCE_TRIES_MAX
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.history import ChangeKind, scan_changes
from collectionstore_node.statemachine.keys import (
    HISTORY,
    META,
    OPTIONS,
    SEQUENCES,
    documents_prefix,
    prefix_end,
    sequence_key,
)
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.options import (
    DEFAULTS,
    SEQUENCE_MAX,
    CollectionOptions,
    Ids,
    Schema,
    SchemaMode,
    options_violation,
    parse_options,
    read_options,
    shown_options,
)
from collectionstore_node.statemachine.stored import decode_stored, expiry_of
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine import indexed
from collectionstore_node.tests.statemachine.indexed import build, defined, put
from collectionstore_node.tests.statemachine.memory_view import MemoryView

AGE: Any = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}


def options(**members: Any) -> CollectionOptions:
    """Return options as a request gives them."""
    return parse_options(members)


def with_schema(document: Any = AGE, mode: str = "strict", **members: Any) -> CollectionOptions:
    """Return options with a schema."""
    return options(schema={"document": document, "mode": mode, **members})


def run(view: MemoryView, *actions: Action | Command, level: int = CHANGES) -> list[Outcome]:
    """Apply commands as one entry, and return the outcomes as a client hears them."""
    overlay, answers = Overlay(view), dict[int, Outcome]()
    commands = [action if isinstance(action, Command) else Command(action) for action in actions]
    outcomes = apply_batch(overlay, encode_batch(0, commands, level), b"", answers)
    view.commit(overlay.writes)
    return [answers.get(position, outcome) for position, outcome in enumerate(outcomes)]


def code_of(view: MemoryView, action: Action | Command) -> Code:
    """Apply a command and return the code of its outcome."""
    (outcome,) = run(view, action)
    return outcome.code


def text_of(view: MemoryView, document_id: str, collection: str = "c") -> bytes | None:
    """Return a stored document, None if there is none."""
    found = find_collection(view, collection)
    assert found is not None
    record = view.get(documents_prefix(found.id) + document_id.encode())
    return None if record is None else decode_stored(record).value


def configured(view: MemoryView, collection: str = "c") -> CollectionOptions:
    """Return the stored options of a collection."""
    found = find_collection(view, collection)
    assert found is not None
    return read_options(view, found.id).options if found.configured else DEFAULTS


def changed_keys(before: dict[bytes, bytes], view: MemoryView) -> set[bytes]:
    """Return what has changed but for the header and the times of revisions."""
    changed = {key for key in before | view.values if before.get(key) != view.values.get(key)}
    return {key for key in changed if key[:1] not in (META, HISTORY)}


@pytest.fixture
def view() -> MemoryView:
    """A store with the collection c, whose documents need an age."""
    made = MemoryView()
    run(made, ConfigureCollection("c", with_schema(), create=True))
    return made


SET = b'{"$set":{"age":"old"}}'
PATCH = b'[{"op":"replace","path":"/age","value":-1}]'
REF = DocumentRef("c", "a")


@pytest.mark.parametrize(
    "write",
    [
        put("b", {}),
        put("a", {"age": -1}),
        Update(REF, UpdateForm.OPERATORS, SET),
        Update(REF, UpdateForm.MERGE_PATCH, b'{"age":null}'),
        Update(REF, UpdateForm.JSON_PATCH, PATCH),
        Update(REF, UpdateForm.REPLACE, b"{}", when=b'{"age":1}'),
        Update(DocumentRef("c", "new"), UpdateForm.OPERATORS, b'{"$set":{"name":"x"}}', upsert=True),
        Transaction(then=(put("x", {"age": 1}), put("b", {}))),
        Transaction(then=(put("x", {"age": 1}), Update(REF, UpdateForm.OPERATORS, SET))),
        Expiring(put("b", {}), ttl_ms=10_000),
        Expiring(Update(REF, UpdateForm.OPERATORS, SET), ttl_ms=10_000),
        Transaction(then=(put("x", {"age": 1}), Expiring(put("b", {}), ttl_ms=10_000))),
    ],
    ids=[
        "insert",
        "put",
        "operators",
        "merge patch",
        "json patch",
        "replace",
        "upsert",
        "transaction",
        "update in one",
        "expiring",
        "expiring update",
        "expiring in one",
    ],
)
def test_a_strict_schema_refuses_every_kind_of_write(view: MemoryView, write: Action) -> None:
    run(view, put("a", {"age": 1}))
    before = dict(view.values)

    (outcome,) = run(view, write)

    assert outcome.code is Code.SCHEMA_VIOLATION
    assert outcome.failed_operation == (1 if isinstance(write, Transaction) else None)
    assert changed_keys(before, view) == set()


def test_an_allowed_write_is_stored_as_it_is(view: MemoryView) -> None:
    assert [one.code for one in run(view, Put(REF, b'{"age":1.0e0,"x":[1.50]}'), put("b", {"age": 2}))] == [Code.OK] * 2
    assert text_of(view, "a") == b'{"age":1.0e0,"x":[1.50]}'
    assert code_of(view, Update(REF, UpdateForm.OPERATORS, b'{"$inc":{"age":1}}')) is Code.OK
    assert code_of(view, Delete(REF)) is Code.OK
    # Values without a collection have no schema.
    assert code_of(view, Put(KeyRef("b", "k"), b"\xff")) is Code.OK


def test_a_failed_precondition_comes_first(view: MemoryView) -> None:
    guarded = put("a", {}, precondition=Precondition(revisions=(77,)))

    assert code_of(view, guarded) is Code.PRECONDITION_FAILED
    assert code_of(view, Transaction(then=(guarded,))) is Code.PRECONDITION_FAILED


def test_a_warning_is_part_of_the_outcome_and_of_its_repetition(view: MemoryView) -> None:
    run(view, ConfigureCollection("c", with_schema(mode="warn")), put("a", {"age": 1}))
    keyed = Command(put("k", {}), Idempotency("k1", b"f"))
    first, update, transaction, image, repeated = run(
        view,
        keyed,
        Update(REF, UpdateForm.OPERATORS, SET),
        Transaction(then=(Get(REF), put("x", {}), put("y", {"age": 1}))),
        Update(REF, UpdateForm.OPERATORS, b'{"$set":{"n":1}}', image=Image.AFTER),
        keyed,
    )

    assert {one.code for one in (first, update, transaction, image, repeated)} == {Code.OK}
    assert all(map(warned, (first, update, transaction, image, repeated)))
    assert repeated.replayed
    assert [one.content_type for one in transaction.items] == ["", SCHEMA_WARNING, ""]
    assert image.items[0].value == b'{"age":"old","n":1}'
    assert text_of(view, "k") == b"{}"
    (good,) = run(view, put("a", {"age": 5}))
    assert not warned(good)


def test_the_member_that_answers_learns_what_an_update_would_have_made(view: MemoryView) -> None:
    run(view, put("a", {"age": 1}))
    update = Update(REF, UpdateForm.OPERATORS, SET)

    alone, in_one, large = run(
        view,
        update,
        Transaction(then=(update,)),
        Update(REF, UpdateForm.MERGE_PATCH, orjson.dumps({"age": "x" * 20_000})),
    )
    assert refused_document(alone) == refused_document(in_one) == b'{"age":"old"}'
    assert large.code is Code.SCHEMA_VIOLATION
    assert refused_document(large) is None
    # The replicated outcome holds no text.
    overlay = Overlay(view)
    (replicated,) = apply_batch(overlay, encode_batch(0, [Command(update)], CHANGES), b"")
    assert replicated.items == ()


def test_off_checks_nothing(view: MemoryView) -> None:
    run(view, ConfigureCollection("c", with_schema(mode="off")))
    (outcome,) = run(view, put("a", {}))
    assert (outcome.code, warned(outcome)) == (Code.OK, False)


def test_what_was_stored_before_is_not_looked_at_until_it_is_written(view: MemoryView) -> None:
    run(view, ConfigureCollection("c", DEFAULTS), put("a", {"old": 1}), ConfigureCollection("c", with_schema()))

    assert text_of(view, "a") == b'{"old":1}'
    assert code_of(view, Update(REF, UpdateForm.OPERATORS, b'{"$set":{"n":1}}')) is Code.SCHEMA_VIOLATION
    assert code_of(view, Update(REF, UpdateForm.OPERATORS, b'{"$set":{"age":1}}')) is Code.OK
    assert code_of(view, Delete(REF)) is Code.OK


@pytest.mark.parametrize(
    "text",
    [b"[]", b"5", b"{", b"\xff", b'"\\ud800"', b"{" * 5_000, b'{"age":1,"a":' + b"[" * 200 + b"]" * 200 + b"}", b"NaN"],
)
@pytest.mark.parametrize("mode", ["strict", "warn", "off"])
def test_what_is_no_document_is_an_outcome(view: MemoryView, text: bytes, mode: str) -> None:
    """No client sends it, and no member proposes it: an exception would stop every replica."""
    run(view, ConfigureCollection("c", with_schema({**AGE, "properties": {"x": {"default": 1}}}, mode, defaults=True)))

    (outcome,) = run(view, Put(REF, text))

    assert outcome.code is (Code.SCHEMA_VIOLATION if mode == "strict" else Code.OK)
    assert warned(outcome) is (mode == "warn")


# Defaults


def test_defaults_are_filled_in_by_every_kind_of_write(view: MemoryView) -> None:
    schema = {"properties": {"n": {"default": 1}, "o": {"properties": {"x": {"default": [2]}}}}, "required": ["n"]}
    run(view, ConfigureCollection("c", with_schema(schema, defaults=True)))

    run(view, put("a", {"k": 0}), put("b", {"n": 5, "o": {}}), Transaction(then=(put("t", {}),)))
    assert text_of(view, "a") == b'{"k":0,"n":1}'
    assert text_of(view, "b") == b'{"n":5,"o":{"x":[2]}}'
    assert text_of(view, "t") == b'{"n":1}'
    (outcome,) = run(view, Update(REF, UpdateForm.OPERATORS, b'{"$unset":{"n":""},"$set":{"o":{}}}', image=Image.AFTER))
    assert outcome.items[0].value == text_of(view, "a") == b'{"k":0,"o":{"x":[2]},"n":1}'


def test_defaults_work_without_a_check_and_not_without_being_asked_for(view: MemoryView) -> None:
    schema = {"properties": {"n": {"default": "x", "type": "integer"}}}
    run(view, ConfigureCollection("c", with_schema(schema, "off", defaults=True)), put("a", {}))
    assert text_of(view, "a") == b'{"n":"x"}'

    run(view, ConfigureCollection("c", with_schema(schema, "strict")), put("b", {}))
    assert text_of(view, "b") == b"{}"
    # A default that the schema does not allow is refused as any other value.
    run(view, ConfigureCollection("c", with_schema(schema, "strict", defaults=True)))
    assert code_of(view, put("c", {})) is Code.SCHEMA_VIOLATION


def test_defaults_that_add_too_much_are_refused(view: MemoryView) -> None:
    schema = {"properties": {"n": {"properties": {"n": {"$ref": "#/properties/n"}, "x": {"default": "x" * 30_000}}}}}
    run(view, ConfigureCollection("c", with_schema(schema, "off", defaults=True)))
    document: dict[str, Any] = {}
    for _ in range(20):
        document = {"n": document}

    assert code_of(view, put("a", document)) is Code.SCHEMA_DEFAULTS
    deep: Any = 1
    for _ in range(50):
        deep = {"a": deep}
    schema = {"properties": {"n": {"properties": {"n": {"$ref": "#/properties/n"}, "x": {"default": deep}}}}}
    document = {}
    for _ in range(SCHEMA_DEPTH_MAX - 10):
        document = {"n": document}
    run(view, ConfigureCollection("c", with_schema(schema, "off", defaults=True)))
    assert code_of(view, put("a", document)) is Code.SCHEMA_DEFAULTS


# Costs


def test_a_document_that_could_take_too_long_is_refused_or_only_warned_of(view: MemoryView) -> None:
    schema = {"properties": {"l": {"items": {"allOf": [{"minimum": 0}] * 300}}}}
    large = put("a", {"l": [1] * (SCHEMA_STEPS_MAX // 600 + 1)})
    run(view, ConfigureCollection("c", with_schema(schema)))
    assert code_of(view, large) is Code.SCHEMA_COST
    assert code_of(view, Transaction(then=(large,))) is Code.SCHEMA_COST

    run(view, ConfigureCollection("c", with_schema(schema, "warn")))
    (outcome,) = run(view, large)
    assert (outcome.code, warned(outcome)) == (Code.OK, True)


def test_checking_is_counted_by_what_it_can_take(view: MemoryView) -> None:
    def cost(document: Any) -> int:
        overlay = Overlay(view)
        apply_batch(overlay, encode_batch(0, [Command(put("a", document))], CHANGES), b"")
        return overlay.cost

    small, large = cost({"age": 1}), cost({"age": 1, "l": list(range(1_000))})
    assert large > small + 16 * 1_000
    # It does not depend on what is right or wrong with it.
    assert cost({"age": -1}) == small + PARSE_COST * len("-")


def test_a_transaction_ends_where_checks_of_its_documents_cost_too_much(view: MemoryView) -> None:
    schema = {"properties": {"l": {"items": {"allOf": [{"minimum": 0}] * 300}}}}
    run(view, ConfigureCollection("c", with_schema(schema)))
    some = [1] * (SCHEMA_STEPS_MAX // 1_000)

    (outcome,) = run(view, Transaction(then=tuple(put(f"a{number}", {"l": some}) for number in range(3))))

    assert outcome.code is Code.TRANSACTION_TOO_LARGE
    assert outcome.failed_operation == 1
    # A single one is always allowed.
    assert code_of(view, Transaction(then=(put("a", {"l": some}),))) is Code.OK


# Options


def test_a_collection_without_options_is_stored_as_before(view: MemoryView) -> None:
    plain, by_options = MemoryView(), MemoryView()
    run(plain, CreateCollection("c"), level=ENGINE)
    run(by_options, ConfigureCollection("c", DEFAULTS, create=True))
    assert plain.values[b"\x02c"] == by_options.values[b"\x02c"] == b"\x91\x01"
    assert not list(by_options.scan(OPTIONS, prefix_end(OPTIONS)))

    before = run(view, CreateIndex("c", defined()), put("a", {"age": 1}))
    assert before[0].code is Code.OK
    found = find_collection(view, "c")
    assert found is not None
    assert (found.indexed, found.configured) == (True, True)


def test_options_are_replaced_under_their_revision(view: MemoryView) -> None:
    first = run(view, ConfigureCollection("c", with_schema(mode="warn"), expected=1))[0]
    assert (first.code, first.revision) == (Code.OK, 2)

    again = run(view, ConfigureCollection("c", with_schema(), expected=1))[0]
    assert (again.code, again.current_revision) == (Code.PRECONDITION_FAILED, 2)
    assert run(view, ConfigureCollection("c", with_schema(), expected=2))[0].code is Code.OK
    assert code_of(view, ConfigureCollection("nowhere", DEFAULTS)) is Code.COLLECTION_NOT_FOUND


def test_the_version_is_the_revision_of_the_change_of_the_text(view: MemoryView) -> None:
    def version() -> int:
        schema = configured(view).schema
        assert schema is not None
        return schema.version

    assert version() == 1
    run(view, ConfigureCollection("c", with_schema(mode="warn")))
    assert version() == 1
    run(view, ConfigureCollection("c", with_schema({"type": "object"})))
    assert version() == 3
    # Set to what it is, nothing changes: not its revision either.
    before = dict(view.values)
    run(view, ConfigureCollection("c", with_schema({"type": "object"})))
    assert changed_keys(before, view) == set()


def test_creating_twice_is_the_same_or_differs(view: MemoryView) -> None:
    same, differs = run(
        view, ConfigureCollection("c", with_schema(), create=True), ConfigureCollection("c", DEFAULTS, create=True)
    )
    assert (same.code, same.current_revision) == (Code.COLLECTION_EXISTS, 1)
    assert (differs.code, differs.current_revision) == (Code.OPTIONS_DIFFER, 1)


def test_dropping_a_collection_drops_its_options_and_its_sequence(view: MemoryView) -> None:
    run(view, ConfigureCollection("s", options(ids="sequence"), create=True), Insert("s", b"{}"))
    run(view, DropCollection("s"), DropCollection("c"))

    for family in (OPTIONS, SEQUENCES):
        assert not list(view.scan(family, prefix_end(family)))
    outcomes = run(view, CreateCollection("c"), put("a", {}), CreateCollection("s"), Insert("s", b"{}"))
    assert [one.code for one in outcomes] == [Code.OK, Code.OK, Code.OK, Code.ID_REFUSED]


def test_in_one_entry_each_command_meets_what_those_before_it_did() -> None:
    view = MemoryView()
    outcomes = run(
        view,
        CreateCollection("c"),
        put("a", {}),
        ConfigureCollection("c", with_schema()),
        put("b", {}),
        ConfigureCollection("c", DEFAULTS),
        put("b", {}),
        DropCollection("c"),
        ConfigureCollection("c", with_schema(), create=True),
        put("c", {}),
    )
    expected = [Code.OK] * 3 + [Code.SCHEMA_VIOLATION] + [Code.OK] * 4 + [Code.SCHEMA_VIOLATION]
    assert [one.code for one in outcomes] == expected


def test_the_history_tells_of_options(view: MemoryView) -> None:
    run(view, ConfigureCollection("c", with_schema(mode="warn")), put("a", {}), ConfigureCollection("c", DEFAULTS))

    changes = list(scan_changes(view, 0))
    assert [(one.revision, one.position, one.kind) for one in changes] == [
        (1, 0, ChangeKind.CREATE_COLLECTION),
        (1, 1, ChangeKind.CONFIGURE_COLLECTION),
        (2, 0, ChangeKind.CONFIGURE_COLLECTION),
        (3, 0, ChangeKind.INSERT),
        (4, 0, ChangeKind.CONFIGURE_COLLECTION),
    ]
    assert changes[1].before is None
    assert changes[2].before == changes[1].after


BROKEN = [
    Schema(b"{"),
    Schema(b'{ "type": "object" }'),
    Schema(b'{"type":"thing"}'),
    Schema(b'{"$ref":"#"}'),
    Schema(b'{"$ref":"https://example.com"}'),
    Schema(b""),
    Schema(b"\xff"),
    Schema(b'{"a":' * 3_000),
]


@pytest.mark.parametrize("schema", BROKEN)
def test_options_that_no_front_end_makes_are_refused_everywhere(view: MemoryView, schema: Schema) -> None:
    broken = ConfigureCollection("c", CollectionOptions(schema))

    assert code_of(view, broken) is Code.INVALID_OPTIONS
    assert configured(view) != broken.options
    with pytest.raises(InvalidRequest):
        check_command(Command(broken), CommandLimits())


@pytest.mark.parametrize(
    "given", [CollectionOptions(sequence_start=5), CollectionOptions(ids=Ids.SEQUENCE, sequence_start=0)]
)
def test_numbers_that_no_front_end_makes_are_refused(given: CollectionOptions) -> None:
    assert options_violation(given) is not None


def test_options_are_shown_as_they_are_given() -> None:
    given = {
        "schema": {"document": AGE, "mode": "warn", "defaults": True, "version": 0},
        "ids": "sequence",
        "sequence_start": 7,
    }
    assert shown_options(parse_options(given)) == given
    assert shown_options(DEFAULTS) == {}
    assert options_violation(parse_options(given)) is None
    assert parse_options({"schema": None, "ids": None}) == DEFAULTS
    assert parse_options({"schema": {"document": True}}).schema == Schema(b"true", SchemaMode.STRICT)


@pytest.mark.parametrize(
    ("given", "code", "pointer"),
    [
        ([], "invalid_options", ""),
        ({"shcema": {}}, "invalid_options", "/shcema"),
        ({"schema": 5}, "invalid_options", "/schema"),
        ({"schema": {}}, "invalid_options", "/schema/document"),
        ({"schema": {"document": {}, "more": 1}}, "invalid_options", "/schema/more"),
        ({"schema": {"document": {}, "mode": "hard"}}, "invalid_options", "/schema/mode"),
        ({"schema": {"document": {}, "mode": 1}}, "invalid_options", "/schema/mode"),
        ({"schema": {"document": {}, "defaults": "yes"}}, "invalid_options", "/schema/defaults"),
        ({"schema": {"document": None}}, "invalid_schema", "/schema/document"),
        (
            {"schema": {"document": {"properties": {"a": {"typ": 1}}}}},
            "invalid_schema",
            "/schema/document/properties/a/typ",
        ),
        ({"ids": "uuid4"}, "invalid_options", "/ids"),
        ({"ids": ["uuid7"]}, "invalid_options", "/ids"),
        ({"sequence_start": 5}, "invalid_options", "/sequence_start"),
        ({"ids": "sequence", "sequence_start": 0}, "invalid_options", "/sequence_start"),
        ({"ids": "sequence", "sequence_start": True}, "invalid_options", "/sequence_start"),
        ({"ids": "sequence", "sequence_start": SEQUENCE_MAX + 1}, "invalid_options", "/sequence_start"),
    ],
)
def test_what_is_no_option_is_pointed_at(given: Any, code: str, pointer: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_options(given)
    assert (refused.value.code, refused.value.pointer) == (code, pointer)


# Sequences


@pytest.fixture
def numbered() -> MemoryView:
    """A store with the collection s, whose documents are numbered."""
    made = MemoryView()
    run(made, ConfigureCollection("s", options(ids="sequence"), create=True))
    return made


def ids_of(outcomes: list[Outcome]) -> list[str]:
    """Return the IDs that inserts were given."""
    assert {one.code for one in outcomes} == {Code.OK}
    return list(map(inserted_id, outcomes))


def test_numbers_go_up_and_are_not_used_again(numbered: MemoryView) -> None:
    assert ids_of(run(numbered, *[Insert("s", b"{}")] * 3)) == ["1", "2", "3"]
    run(numbered, Delete(DocumentRef("s", "3")))
    assert ids_of(run(numbered, Insert("s", b'{"n":1}'))) == ["4"]
    assert text_of(numbered, "4", "s") == b'{"n":1}'


def test_a_repeated_insert_gets_its_number_again(numbered: MemoryView) -> None:
    keyed = Command(Insert("s", b"{}"), Idempotency("k", b"f"))
    first, other, repeated = run(numbered, keyed, Insert("s", b"{}"), keyed)

    assert ids_of([first, other, repeated]) == ["1", "2", "1"]
    assert repeated.replayed
    assert repeated.revision == first.revision


def test_a_refused_insert_takes_no_number(numbered: MemoryView) -> None:
    run(numbered, ConfigureCollection("s", options(ids="sequence", schema={"document": AGE})))
    refused, stored = run(numbered, Insert("s", b"{}"), Insert("s", b'{"age":1}'))

    assert refused.code is Code.SCHEMA_VIOLATION
    assert inserted_id(stored) == "1"


def test_new_documents_of_a_sequence_have_no_other_ids(numbered: MemoryView) -> None:
    run(numbered, Insert("s", b"{}"))
    ref = DocumentRef("s", "x")
    upsert = Update(ref, UpdateForm.MERGE_PATCH, b"{}", upsert=True)
    for write in (put("x", {}, "s"), put("2", {}, "s"), upsert, Transaction(then=(put("x", {}, "s"),))):
        assert code_of(numbered, write) is Code.ID_REFUSED
    # One that exists is replaced and changed as any other.
    assert code_of(numbered, put("1", {"n": 1}, "s")) is Code.OK
    assert code_of(numbered, Update(DocumentRef("s", "1"), UpdateForm.OPERATORS, b'{"$set":{"n":2}}')) is Code.OK


def test_a_sequence_goes_on_behind_documents_that_were_there_before() -> None:
    view = MemoryView()
    run(view, CreateCollection("s"), *(put(str(number), {}, "s") for number in (1, 2, 4)))
    run(view, ConfigureCollection("s", options(ids="sequence")))
    assert ids_of(run(view, Insert("s", b"{}"), Insert("s", b"{}"))) == ["3", "5"]


def test_an_insert_tries_a_bounded_number_of_ids_and_a_later_one_goes_on() -> None:
    view = MemoryView()
    run(view, CreateCollection("s"), *(put(str(number), {}, "s") for number in range(1, SEQUENCE_TRIES_MAX + 2)))
    run(view, ConfigureCollection("s", options(ids="sequence")))

    assert code_of(view, Insert("s", b"{}")) is Code.SEQUENCE_TAKEN
    assert ids_of(run(view, Insert("s", b"{}"))) == [str(SEQUENCE_TRIES_MAX + 2)]


def test_a_sequence_begins_where_it_is_told_and_never_goes_back(numbered: MemoryView) -> None:
    run(numbered, ConfigureCollection("s", options(ids="sequence", sequence_start=100)))
    assert ids_of(run(numbered, Insert("s", b"{}"))) == ["100"]
    run(numbered, ConfigureCollection("s", DEFAULTS), put("x", {}, "s"))
    run(numbered, ConfigureCollection("s", options(ids="sequence")))
    assert ids_of(run(numbered, Insert("s", b"{}"))) == ["101"]


def test_a_numbered_document_expires_as_its_collection_says(numbered: MemoryView) -> None:
    run(numbered, ConfigureCollection("s", options(ids="sequence", ttl="10s")), Insert("s", b"{}"))
    found = find_collection(numbered, "s")
    assert found is not None
    record = numbered.get(documents_prefix(found.id) + b"1")
    assert record is not None
    assert expiry_of(record).deadline_ms >= 10_000


def test_a_sequence_ends(numbered: MemoryView) -> None:
    run(numbered, ConfigureCollection("s", options(ids="sequence", sequence_start=SEQUENCE_MAX)))
    last, after = run(numbered, Insert("s", b"{}"), Insert("s", b"{}"))
    assert (inserted_id(last), after.code) == (str(SEQUENCE_MAX), Code.SEQUENCE_EXHAUSTED)
    found = find_collection(numbered, "s")
    assert found is not None
    assert numbered.get(sequence_key(found.id)) == SEQUENCE_MAX.to_bytes(8, "big")


def test_an_insert_elsewhere_is_refused(view: MemoryView) -> None:
    assert code_of(view, Insert("c", b'{"age":1}')) is Code.ID_REFUSED
    assert code_of(view, Insert("nowhere", b"{}")) is Code.COLLECTION_NOT_FOUND
    for broken in (Insert("c", b"[]"), Insert("c", b'{"_id":1}'), Insert("C", b"{}"), Insert("c", b"{}" * (1 << 20))):
        with pytest.raises(InvalidRequest):
            check_command(Command(broken), CommandLimits())


# With indexes, levels and replicas


def test_indexes_and_schemas_refuse_each_on_their_own(numbered: MemoryView) -> None:
    run(numbered, CreateIndex("s", defined(fields={"n": 1}, unique=True)))
    build(numbered, "s")
    run(numbered, ConfigureCollection("s", options(ids="sequence", schema={"document": {"required": ["n"]}})))
    first, taken, missing, next_ = run(
        numbered, Insert("s", b'{"n":1}'), Insert("s", b'{"n":1}'), Insert("s", b"{}"), Insert("s", b'{"n":2}')
    )
    assert [first.code, taken.code, missing.code, next_.code] == [
        Code.OK,
        Code.UNIQUE_VIOLATION,
        Code.SCHEMA_VIOLATION,
        Code.OK,
    ]
    assert (inserted_id(first), inserted_id(next_)) == ("1", "2")
    indexed.check(numbered)


def test_defaults_are_in_indexes(view: MemoryView) -> None:
    schema = {"properties": {"a": {"default": 1}}}
    run(view, ConfigureCollection("c", with_schema(schema, defaults=True)))
    run(view, CreateIndex("c", defined(unique=True)))
    build(view)
    assert [one.code for one in run(view, put("x", {}), put("y", {}))] == [Code.OK, Code.UNIQUE_VIOLATION]


@pytest.mark.parametrize("level", [1, 2, ENGINE])
def test_earlier_levels_know_no_options(level: int) -> None:
    for action in (ConfigureCollection("c", DEFAULTS, create=True), Insert("c", b"{}")):
        assert level_needed(action) == CHANGES
        view = MemoryView()
        run(view, CreateCollection("c"), level=level)
        (outcome,) = run(view, action, level=level)
        assert outcome.code is Code.LEVEL_TOO_LOW


def _made(random: Random) -> Command:
    name = random.choice(("c", "s"))
    ref = DocumentRef(name, random.choice(("a", "b", "1", "2")))
    document: Any = random.choice(({}, {"age": 1}, {"age": "x"}, {"age": 1, "l": [1, 1.0]}, {"n": {}}))
    text = orjson.dumps(document)
    schema = random.choice((None, *(with_schema(AGE, mode).schema for mode in ("off", "warn", "strict"))))
    filled = with_schema({"properties": {"age": {"default": 3}, "l": {"uniqueItems": True}}}, defaults=True).schema
    ids = random.choice(tuple(Ids))
    action: Action = random.choice(
        (
            Put(ref, text),
            Insert(name, text),
            Update(ref, UpdateForm.MERGE_PATCH, text, upsert=True),
            Transaction(then=(Put(ref, text), Get(ref))),
            Delete(ref),
            ConfigureCollection(
                name, CollectionOptions(random.choice((schema, filled)), ids), create=random.random() < 0.2
            ),
            CreateCollection(name),
            DropCollection(name) if random.random() < 0.2 else Put(ref, text),
        )
    )
    keyed = Idempotency(f"k{random.randrange(8)}", b"f") if random.random() < 0.3 else None
    return Command(action, keyed)


@pytest.mark.parametrize("seed", range(8))
def test_replicas_agree_whatever_they_answer_and_however_entries_are_grouped(seed: int) -> None:
    random = Random(seed)
    entries = [[_made(random) for _ in range(random.randrange(1, 9))] for _ in range(60)]
    data = [encode_batch(number, commands, CHANGES) for number, commands in enumerate(entries)]
    one, other = MemoryView(), MemoryView()
    for text in data:
        overlay = Overlay(one)
        apply_batch(overlay, text, b"", {})
        one.commit(overlay.writes)
    position = 0
    while position < len(data):
        overlay = Overlay(other)
        for text in data[position : (position := position + random.randrange(1, 6))]:
            apply_batch(overlay, text, b"")
        other.commit(overlay.writes)

    assert one.values == other.values
    assert read_digest(one) == read_digest(other)
