"""What callers may do, and what they see: the attacks on authorization, one test each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any, TypeVar

import orjson
import pytest

from collectionstore_node.access.current import CALLER, calling
from collectionstore_node.access.modes import Mode
from collectionstore_node.changes import STORE, Scope, Selection
from collectionstore_node.errors import Forbidden, InvalidRequest, NotNow
from collectionstore_node.indexes.definition import Definition, IndexField
from collectionstore_node.query.aggregation import parse_pipeline
from collectionstore_node.query.scanning import Record
from collectionstore_node.service.exports import ReadLog
from collectionstore_node.service.idempotency import command_for
from collectionstore_node.service.lives import Life
from collectionstore_node.service.operations import (
    AckConsumer,
    AggregateDocuments,
    Commit,
    CompareOperator,
    CountDocuments,
    DeleteConsumer,
    DistinctValues,
    DocumentQuery,
    DocumentRef,
    ExportDocuments,
    FindDocuments,
    Get,
    Guard,
    GuardedTransaction,
    Image,
    KeyRef,
    ListCollections,
    ListDocuments,
    Precondition,
    Put,
    PutConsumer,
    QueryGuard,
    ReadConsumers,
    ReadIndexes,
    ReadLease,
    ReadPoint,
    ReadQuery,
    ReadTarget,
    Start,
    Touch,
    Transaction,
    Update,
    UpdateForm,
    WatchChanges,
)
from collectionstore_node.service.operations import CompareField as Field
from collectionstore_node.service.queries import parse_find
from collectionstore_node.service.results import Code, ReadResult, refused_index
from collectionstore_node.service.tickets import parse_ticket
from collectionstore_node.service.turns import Work
from collectionstore_node.service.updates import Changes
from collectionstore_node.statemachine.access_commands import PutRole
from collectionstore_node.statemachine.commands import BuildIndex, Command, CreateIndex
from collectionstore_node.statemachine.reads import get_document
from collectionstore_node.tests.service.access_scene import ADMIN, NEW, Scene, by, caller, reads, writes

T = TypeVar("T")
PEOPLE = {
    "ada": {"name": "Ada", "team": "a", "salary": 100, "home": {"city": "Ulm", "street": "Gasse"}},
    "bob": {"name": "Bob", "team": "b", "salary": 200, "home": {"city": "Bonn", "street": "Weg"}},
    "cyd": {"name": "Cyd", "team": "a", "salary": 300, "home": {"city": "Kiel", "street": "Pfad"}},
}
SHOWN = {name: {key: one[key] for key in one if key != "salary"} for name, one in PEOPLE.items()}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """People with salaries; roles that see a part of them."""
    made = Scene()
    await made.collection("people", PEOPLE)
    await made.collection("secrets", {"s1": {"team": "a", "code": 7}, "s2": {"team": "b", "code": 8}})
    await made.role("reads", reads("people"))
    await made.role("writes", writes("people"))
    await made.role("team-a", writes("people", filter={"team": "a"}))
    await made.role("team-b", writes("people", filter={"team": "b"}))
    await made.role("unpaid", writes("people", fields={"hide": ["salary", "home.street"]}))
    await made.role("blind", {"verbs": ["write"], "collections": ["people"]})
    yield made
    made.store.queries.close()
    made.store.watches.close()


def ref(name: str, collection: str = "people") -> DocumentRef:
    return DocumentRef(collection, name)


# Who calls


async def test_without_a_caller_everything_is_refused_and_nothing_reaches_the_replica(scene: Scene) -> None:
    assert CALLER.get() is None
    before = len(scene.replica.proposed)

    with pytest.raises(Forbidden, match="write on the collection 'people' is not allowed"):
        await scene.put("people", "eve", {})
    with pytest.raises(Forbidden, match="read on the collection 'people' is not allowed"):
        await scene.read("people", "ada")

    assert len(scene.replica.proposed) == before
    assert scene.replica.barriers == 0


async def test_a_refusal_names_verb_and_resource_and_not_whether_it_exists(scene: Scene) -> None:
    with by("eve", "reads"):
        texts = []
        for name in ("secrets", "nowhere"):
            with pytest.raises(Forbidden) as refused:
                await scene.read(name, "s1")
            texts.append(refused.value.detail.replace(name, "X"))

    assert texts[0] == texts[1] == "read on the collection 'X' is not allowed"


async def test_what_may_be_read_may_not_be_written(scene: Scene) -> None:
    with by("eve", "reads"):
        assert await scene.read("people", "ada") == PEOPLE["ada"]
        for attempt in (scene.put("people", "eve", {}), scene.delete("people", "ada")):
            with pytest.raises(Forbidden, match="write on the collection 'people'"):
                await attempt
        with pytest.raises(Forbidden, match="create on the collection 'c'"):
            await scene.store.create_collection("c", key=None, timeout_s=1)
        with pytest.raises(Forbidden, match="drop on the collection 'people'"):
            await scene.store.drop_collection("people", key=None, timeout_s=1)


async def test_in_the_mode_permissive_everything_is_done_and_told(scene: Scene) -> None:
    permissive = Scene(Mode.PERMISSIVE)
    await permissive.collection("people", PEOPLE)

    with by("eve"):
        assert await permissive.read("people", "ada") == PEOPLE["ada"]
        assert (await permissive.put("people", "eve", {})).code is Code.OK

    assert permissive.store.refusals.counts == {("read", True): 1, ("write", True): 1}


async def test_without_access_control_no_one_is_asked() -> None:
    open_ = Scene(Mode.DISABLED)
    await open_.collection("people", PEOPLE)

    assert await open_.read("people", "ada") == PEOPLE["ada"]
    await open_.put("people", "eve", {}, key="k")

    assert [one.access for one in open_.replica.proposed] == [None] * len(open_.replica.proposed)
    last = open_.replica.proposed[-1].idempotency
    assert last is not None
    assert last.key == "k"


# Rows


async def test_a_document_of_others_looks_absent_in_every_read(scene: Scene) -> None:
    store = scene.store
    everything = parse_find()
    with by("ann", "team-a"):
        assert await scene.read("people", "bob") is None
        assert await scene.read("people", "ada") == PEOPLE["ada"]
        assert [name for name, _ in await scene.find("people")] == ["ada", "cyd"]
        assert await scene.find("people", {"_id": "bob"}) == []
        assert await scene.find("people", {"team": "b"}) == []
        assert [name for name, _ in await scene.find("people", sort={"salary": -1})] == ["cyd", "ada"]
        counted = await store.queries.count(CountDocuments("people", everything), consistency=NEW, timeout_s=1)
        assert (counted.count, counted.meter.documents) == (2, 2)
        request = DistinctValues("people", everything, ("name",))
        assert (await store.queries.distinct(request, consistency=NEW, timeout_s=1)).values == ("Ada", "Cyd")
        pipeline = parse_pipeline([{"$group": {"_id": None, "sum": {"$sum": "$salary"}}}])
        made = await store.queries.aggregate(AggregateDocuments("people", pipeline), consistency=NEW, timeout_s=1)
        assert orjson.loads(made.documents[0])["sum"] == 400
        assert made.meter.documents == 2
        page = await store.lists.documents(
            ListDocuments("people", "", None, 10), show=lambda item: item.id, consistency=NEW, timeout_s=1
        )
        assert page.items == ("ada", "cyd")
        past = ReadPoint(at_revision=scene.replica.revision)
        assert await scene.read("people", "bob", consistency=past) is None
        assert [name for name, _ in await scene.find("people", consistency=past)] == ["ada", "cyd"]
        listed = await store.lists.documents(
            ListDocuments("people", "", None, 10), show=lambda item: item.id, consistency=past, timeout_s=1
        )
        assert listed.items == ("ada", "cyd")
        # What a member has applied, without a confirmation, and what was confirmed for many.
        at_once = store.read_at_once(ref("bob"))
        assert isinstance(at_once, ReadResult)
        assert at_once.stored is None


async def test_a_document_of_others_looks_absent_to_writes_and_is_not_replaced(scene: Scene) -> None:
    with by("ann", "team-a"):
        assert (await scene.delete("people", "bob")).code is Code.NOT_FOUND
        assert (await scene.update("people", "bob", {"$set": {"name": "B"}})).code is Code.NOT_FOUND
        held = Put(ref("bob"), b'{"team":"a"}', Precondition(revisions=(3,)))
        refused = await scene.store.write(held, key=None, timeout_s=1)
        assert (refused.code, refused.current_revision) == (Code.PRECONDITION_FAILED, 0)
        taken = await scene.put("people", "bob", {"team": "a"})
        assert taken.code is Code.ACCESS_DOCUMENT
        touch = Life(5_000).touch(ref("bob"), Precondition())
        assert (await scene.store.touch(touch, key=None, timeout_s=1)).code is Code.NOT_FOUND

    with calling(ADMIN):
        assert await scene.read("people", "bob") == PEOPLE["bob"]


async def test_no_document_is_given_away_or_made_for_others(scene: Scene) -> None:
    with by("ann", "team-a"):
        for attempt in (
            scene.put("people", "new", {"team": "b"}),
            scene.put("people", "new", {"name": "no team"}),
            scene.update("people", "ada", {"$set": {"team": "b"}}),
            scene.update("people", "ada", {"$unset": {"team": 1}}),
            scene.update("people", "new", {"$set": {"team": "b"}}, upsert=True),
        ):
            assert (await attempt).code is Code.ACCESS_DOCUMENT
        assert (await scene.put("people", "new", {"team": "a"})).code is Code.OK
        assert (await scene.update("people", "ada", {"$inc": {"salary": 1}})).code is Code.OK

    with calling(ADMIN):
        assert [name for name, _ in await scene.find("people", {"team": "b"})] == ["bob"]


async def test_schema_defaults_count_as_written(scene: Scene) -> None:
    """What is checked is what is stored, whatever a member has seen of it before."""
    await scene.role("not-b", writes("tasks", filter={"team": {"$ne": "b"}}))
    await scene.collection("tasks")
    with calling(ADMIN):
        schema = {"mode": "off", "defaults": True, "document": {"properties": {"team": {"default": "b"}}}}
        await scene.store.options.patch("tasks", {"schema": schema}, expected=0, key=None, timeout_s=1)
    with by("ann", "not-b"):
        assert (await scene.put("tasks", "t", {})).code is Code.ACCESS_DOCUMENT


# Fields


async def test_a_hidden_field_is_nowhere_to_be_seen(scene: Scene) -> None:
    store = scene.store
    with by("ann", "unpaid"):
        seen = await scene.read("people", "ada")
        assert seen == {"name": "Ada", "team": "a", "home": {"city": "Ulm"}}
        assert await scene.find("people", projection={"salary": 1}) == [("ada", {}), ("bob", {}), ("cyd", {})]
        pipeline = parse_pipeline([{"$project": {"all": "$$ROOT", "s": "$salary"}}])
        made = await store.queries.aggregate(AggregateDocuments("people", pipeline), consistency=NEW, timeout_s=1)
        assert b"salary" not in b"".join(made.documents)
        assert b"street" not in b"".join(made.documents)
        past = ReadPoint(at_revision=scene.replica.revision)
        assert await scene.read("people", "ada", consistency=past) == seen


@pytest.mark.parametrize(
    "filter_",
    [
        {"salary": {"$gt": 150}},
        {"salary": 100},
        {"salary": {"$exists": True}},
        {"salary": {"$type": "number"}},
        {"home.street": "Gasse"},
        {"home": {"city": "Ulm", "street": "Gasse"}},
        {"$expr": {"$gt": ["$salary", 150]}},
        {"$nor": [{"salary": None}]},
        {"$or": [{"salary": {"$in": [100, 200]}}, {"home.street": {"$regex": "^W"}}]},
    ],
)
@pytest.mark.parametrize("indexed", [False, True], ids=["scan", "index"])
async def test_a_filter_does_not_see_hidden_fields(scene: Scene, filter_: Any, indexed: bool) -> None:  # noqa: FBT001
    if indexed:
        await _index(scene, "salary")
        await _index(scene, "home.street")
    with by("ann", "unpaid"):
        assert await scene.find("people", filter_) == []
    with calling(ADMIN):
        assert await scene.find("people", filter_) != []


async def test_hidden_fields_neither_sort_nor_group_nor_count(scene: Scene) -> None:
    await _index(scene, "salary")
    store = scene.store
    with by("ann", "unpaid"):
        assert [name for name, _ in await scene.find("people", sort={"salary": -1})] == ["ada", "bob", "cyd"]
        request = DistinctValues("people", parse_find(), ("salary",))
        assert (await store.queries.distinct(request, consistency=NEW, timeout_s=1)).values == ()
        for given, many in (({"salary": {"$gte": 200}}, 0), ({"salary": None}, 3), ({}, 3)):
            asked = CountDocuments("people", parse_find(given))
            assert (await store.queries.count(asked, consistency=NEW, timeout_s=1)).count == many
        pipeline = parse_pipeline([{"$sortByCount": "$salary"}])
        made = await store.queries.aggregate(AggregateDocuments("people", pipeline), consistency=NEW, timeout_s=1)
        assert [orjson.loads(one) for one in made.documents] == [{"_id": None, "count": 3}]
        with pytest.raises(InvalidRequest, match="there is no index of this name"):
            await scene.find("people", {"salary": 100}, hint="by_salary")


async def test_an_index_of_shown_fields_serves_those_who_see_a_part(scene: Scene) -> None:
    await _index(scene, "team")
    for role in ("unpaid", "team-a"):
        with by("ann", role):
            asked = CountDocuments("people", parse_find({"team": "a"}, hint="by_team"))
            counted = await scene.store.queries.count(asked, consistency=NEW, timeout_s=1)
            assert counted.count == 2
            assert counted.meter.plan is not None
            assert counted.meter.plan["covered"] is False


async def test_an_index_of_documents_by_a_hidden_field_is_not_used(scene: Scene) -> None:
    """Which documents a partial index leaves out depends on a field that is missing in all that are seen."""
    await _index(scene, "team", partial=b'{"salary":null}')
    asked = {"team": "a", "salary": None}
    with calling(ADMIN):
        assert await scene.find("people", asked, hint="by_team") == []
    with by("ann", "unpaid"):
        assert [name for name, _ in await scene.find("people", asked)] == ["ada", "cyd"]
        with pytest.raises(InvalidRequest, match="there is no index of this name"):
            await scene.find("people", asked, hint="by_team")


@pytest.mark.parametrize(
    ("update", "form"),
    [
        ({"$set": {"salary": 1}}, UpdateForm.OPERATORS),
        ({"$max": {"salary": 150}}, UpdateForm.OPERATORS),
        ({"$rename": {"salary": "note"}}, UpdateForm.OPERATORS),
        ({"$unset": {"home": 1}}, UpdateForm.OPERATORS),
        ({"$set": {"home.street": "x"}}, UpdateForm.OPERATORS),
        ({"salary": None}, UpdateForm.MERGE_PATCH),
        ({"home": {"street": "x"}}, UpdateForm.MERGE_PATCH),
        ({"home": 5}, UpdateForm.MERGE_PATCH),
        ([{"op": "copy", "from": "/salary", "path": "/note"}], UpdateForm.JSON_PATCH),
        ([{"op": "move", "from": "/home", "path": "/note"}], UpdateForm.JSON_PATCH),
        ([{"op": "test", "path": "/salary", "value": 100}], UpdateForm.JSON_PATCH),
        ([{"op": "test", "path": "", "value": {}}], UpdateForm.JSON_PATCH),
        ({"name": "Ada", "team": "a"}, UpdateForm.REPLACE),
    ],
)
async def test_no_update_touches_or_tests_a_hidden_field(scene: Scene, update: Any, form: UpdateForm) -> None:
    with by("ann", "unpaid"):
        outcome = await scene.update("people", "ada", update, form=form)
    assert outcome.code is Code.ACCESS_FIELDS
    with calling(ADMIN):
        assert await scene.read("people", "ada") == PEOPLE["ada"]


@pytest.mark.parametrize("salary", [100, 101])
async def test_the_condition_of_a_write_is_no_oracle(scene: Scene, salary: int) -> None:
    """The same outcome, whether the guess is right or wrong."""
    when = orjson.dumps({"salary": salary})
    with by("ann", "unpaid"):
        for update, form in (({"$set": {"note": 1}}, UpdateForm.OPERATORS), (b"", UpdateForm.DELETE)):
            body = orjson.dumps(update) if update else b""
            made = Update(ref("ada"), form, body, when=when)
            outcome = await scene.store.write(made, key=None, timeout_s=1)
            assert outcome.code is Code.ACCESS_FIELDS


async def test_what_is_shown_may_be_changed_and_the_rest_stays(scene: Scene) -> None:
    with by("ann", "unpaid"):
        assert (await scene.update("people", "ada", {"$set": {"home.city": "Genf"}})).code is Code.OK
        assert (await scene.update("people", "ada", {"name": "A"}, form=UpdateForm.MERGE_PATCH)).code is Code.OK
        assert (await scene.put("people", "new", {"name": "N"})).code is Code.OK
        assert (await scene.put("people", "more", {"name": "N", "salary": 9})).code is Code.ACCESS_FIELDS
    with calling(ADMIN):
        assert await scene.read("people", "ada") == {
            **PEOPLE["ada"],
            "name": "A",
            "home": {"city": "Genf", "street": "Gasse"},
        }


async def test_the_answer_of_a_change_shows_what_may_be_read(scene: Scene) -> None:
    with by("ann", "unpaid"):
        for image in (Image.BEFORE, Image.AFTER):
            outcome = await scene.update("people", "ada", {"$set": {"n": int(image)}}, image=image)
            assert b"salary" not in (outcome.items[0].value or b"")
            assert b"Ada" in (outcome.items[0].value or b"")
        changes = Changes(
            "people",
            parse_find({"name": "Bob"}),
            Update(ref(""), UpdateForm.OPERATORS, b'{"$set":{"n":9}}', when=b'{"name":"Bob"}', image=Image.AFTER),
            b"request",
        )
        changed = await scene.store.updates.one(changes, key=None, timeout_s=1)
        assert changed.outcome is not None
        assert orjson.loads(changed.outcome.items[0].value or b"") == {**SHOWN["bob"], "home": {"city": "Bonn"}, "n": 9}


async def test_a_write_alone_is_blind(scene: Scene) -> None:
    """One who may only write can put and delete, and learns nothing of what is there but that."""
    with by("ann", "blind"):
        assert (await scene.put("people", "ada", {"name": "A"})).code is Code.OK
        assert (await scene.delete("people", "bob")).code is Code.OK
        for attempt in (
            scene.read("people", "ada"),
            scene.find("people"),
            scene.update("people", "ada", {"$max": {"salary": 1}}),
            scene.store.write(Update(ref("ada"), UpdateForm.DELETE, when=b'{"salary":1}'), key=None, timeout_s=1),
            scene.store.write(Update(ref("ada"), UpdateForm.REPLACE, b"{}", image=Image.BEFORE), key=None, timeout_s=1),
        ):
            with pytest.raises(Forbidden, match="read on the collection 'people'"):
                await attempt


async def test_a_unique_index_does_not_tell_of_hidden_documents(scene: Scene) -> None:
    await _index(scene, "name", unique=True)
    for role in ("team-a", "unpaid", "blind"):
        with by("ann", role):
            outcome = await scene.put("people", "dup", {"name": "Bob", "team": "a"})
            assert outcome.code is Code.UNIQUE_VIOLATION
            assert refused_index(outcome) == ("", "")
            if role != "blind":
                continue
            with pytest.raises(Forbidden):
                await scene.store.indexes.read(ReadIndexes("people"), consistency=NEW, timeout_s=1)
    with by("eve", "writes"):
        assert refused_index(await scene.put("people", "dup", {"name": "Bob"})) == ("by_name", "bob")


async def test_indexes_are_for_those_who_see_all(scene: Scene) -> None:
    await scene.role("indexer", {"verbs": ["index"], "collections": ["people"]})
    definition = Definition("u", (IndexField("salary"),), unique=True)
    with by("ann", "indexer", "team-a"), pytest.raises(Forbidden, match="every document, and all fields"):
        await scene.store.indexes.create("people", definition, key=None, timeout_s=1)
    with by("ann", "unpaid"), pytest.raises(Forbidden):
        await scene.store.indexes.read(ReadIndexes("people"), consistency=NEW, timeout_s=1)


# Other collections


@pytest.mark.parametrize(
    "stage",
    [
        {"$lookup": {"from": "secrets", "localField": "team", "foreignField": "team", "as": "s"}},
        {"$unionWith": "secrets"},
        {"$unionWith": {"coll": "people", "pipeline": [{"$unionWith": "secrets"}]}},
        {"$facet": {"f": [{"$unionWith": "secrets"}]}},
    ],
)
async def test_a_join_with_a_forbidden_collection_is_refused_before_anything_is_read(scene: Scene, stage: Any) -> None:
    try:
        pipeline = parse_pipeline([{"$match": {"_id": "no such"}}, stage])
    except InvalidRequest:
        pytest.skip("no such pipeline")
    with by("ann", "reads"), pytest.raises(Forbidden, match="read on the collection 'secrets'"):
        await scene.store.queries.aggregate(AggregateDocuments("people", pipeline), consistency=NEW, timeout_s=1)
    assert scene.replica.barriers == 0


async def test_a_join_sees_what_its_caller_sees(scene: Scene) -> None:
    await scene.role("half", reads("secrets", filter={"team": "a"}, fields={"hide": ["code"]}))
    join = {"$lookup": {"from": "secrets", "localField": "team", "foreignField": "team", "as": "s"}}
    by_code = {"$lookup": {"from": "secrets", "localField": "n", "foreignField": "code", "as": "s"}}
    with by("ann", "reads", "half"):
        for stages in ([join], [{"$set": {"n": 7}}, by_code]):
            made = await scene.store.queries.aggregate(
                AggregateDocuments("people", parse_pipeline(stages)), consistency=NEW, timeout_s=1
            )
            found = {one["_id"]: one["s"] for one in map(orjson.loads, made.documents)}
            assert found["bob"] == []
            assert [sorted(one) for one in found["ada"]] == (
                [["_id", "_revision", "team"]] if stages[0] is join else []
            )


# Transactions


async def test_a_condition_is_a_read_and_no_oracle(scene: Scene) -> None:
    await scene.role("half", {"verbs": ["write", "transact"], "collections": ["secrets"]}, writes("people"))
    compare = Guard(ref("s1", "secrets"), Field.EXISTS, CompareOperator.EQUAL, 1)
    query = DocumentQuery("secrets", b'{"code":7}')
    guarded = GuardedTransaction(Transaction(), (QueryGuard(query, CompareOperator.GREATER, 0),))
    commits = (
        Commit((ReadTarget(ref("s1", "secrets"), 5),)),
        Commit((), (ReadQuery(query, seen=()),)),
        Commit((), (), (Get(ref("s1", "secrets")),)),
    )
    with by("ann", "half"):
        for transaction in (Transaction((compare,)), Transaction((), (), (Get(ref("s1", "secrets")),))):
            with pytest.raises(Forbidden, match="read on the collection 'secrets'"):
                await scene.store.transact(transaction, key=None, timeout_s=1)
        for action in (guarded, *commits):
            with pytest.raises(Forbidden, match="read on the collection 'secrets'"):
                await scene.store.commits.run(action, key=None, timeout_s=1)


async def test_conditions_see_what_their_caller_sees(scene: Scene) -> None:
    exists = Guard(ref("bob"), Field.EXISTS, CompareOperator.EQUAL, 1)
    revision = Guard(ref("bob"), Field.REVISION, CompareOperator.EQUAL, 0)
    with by("ann", "team-a"):
        outcome = await scene.store.transact(
            Transaction((exists,), (), (Get(ref("bob")), Get(ref("ada")))), key=None, timeout_s=1
        )
        assert not outcome.succeeded
        assert (outcome.items[0].revision, outcome.items[0].value) == (0, None)
        assert orjson.loads(outcome.items[1].value or b"") == PEOPLE["ada"]
        assert (await scene.store.transact(Transaction((revision,)), key=None, timeout_s=1)).succeeded
        for given, holds in ((b'{"team":"b"}', False), (b'{"salary":{"$gt":150}}', True)):
            guard = QueryGuard(DocumentQuery("people", given), CompareOperator.GREATER, 0)
            guarded = GuardedTransaction(Transaction(), (guard,))
            assert (await scene.store.commits.run(guarded, key=None, timeout_s=1)).succeeded is holds
        commit = Commit((ReadTarget(ref("bob"), 0),), (), (Put(ref("n"), b'{"team":"a"}'),))
        assert (await scene.store.commits.run(commit, key=None, timeout_s=1)).code is Code.OK
    await _index(scene, "salary")
    with by("ann", "unpaid"):
        for given, many in ((b'{"salary":{"$gt":150}}', False), (b'{"salary":null}', True)):
            guard = QueryGuard(DocumentQuery("people", given), CompareOperator.GREATER, 0)
            guarded = GuardedTransaction(Transaction(then=(Get(ref("ada")),)), (guard,))
            outcome = await scene.store.commits.run(guarded, key=None, timeout_s=1)
            assert outcome.succeeded is many
            assert all(b"salary" not in (item.value or b"") for item in outcome.items)


async def test_a_transaction_is_refused_as_a_whole(scene: Scene) -> None:
    with by("ann", "team-a"):
        outcome = await scene.store.transact(
            Transaction(then=(Put(ref("ok"), b'{"team":"a"}'), Put(ref("no"), b'{"team":"b"}'))), key=None, timeout_s=1
        )
        assert (outcome.code, outcome.failed_operation) == (Code.ACCESS_DOCUMENT, 1)
        assert await scene.read("people", "ok") is None


async def test_what_a_query_has_seen_is_judged_by_what_its_caller_sees(scene: Scene) -> None:
    since = scene.replica.revision
    with calling(ADMIN):
        await scene.put("people", "bob", {"name": "Bob", "team": "b", "salary": 1})
    read = ReadQuery(DocumentQuery("people", b"{}"), since=since)
    with by("ann", "team-a"):
        outcome = await scene.store.commits.run(Commit((), (read,)), key=None, timeout_s=1)
    assert outcome.code is Code.OK
    with by("eve", "writes"):
        outcome = await scene.store.commits.run(Commit((), (read,)), key=None, timeout_s=1)
    assert outcome.code is Code.TRANSACTION_CONFLICT


# What belongs to one user


async def test_an_idempotency_key_of_another_user_is_another_key(scene: Scene) -> None:
    put = Put(ref("k"), b'{"n":1}')
    with by("ann", "writes"):
        first = await scene.store.write(put, key="same", timeout_s=1)
        again = await scene.store.write(put, key="same", timeout_s=1)
        assert (again.replayed, again.revision) == (True, first.revision)
    with by("eve", "writes"):
        other = await scene.store.write(put, key="same", timeout_s=1)
        assert not other.replayed
        reused = await scene.put("people", "z", {"n": 2}, key="other")
        assert reused.code is Code.OK
    with by("ann", "writes"):
        assert (await scene.put("people", "y", {"n": 3}, key="other")).code is Code.OK
        made, _ = scene.store.insertion("people", b"{}", "new")
    with by("eve", "writes"):
        assert scene.store.insertion("people", b"{}", "new")[0] != made


async def test_a_replay_is_refused_once_the_right_is_gone(scene: Scene) -> None:
    with by("ann", "writes"):
        await scene.put("people", "k", {}, key="k")
        await scene.role("writes", reads("people"))
        with pytest.raises(Forbidden):
            await scene.put("people", "k", {}, key="k")


async def test_a_ticket_of_another_user_is_none(scene: Scene) -> None:
    with by("ann", "writes"):
        _, text = await scene.store.tickets.early(Put(ref("t"), b"{}"), key="k", timeout_s=1, request=None)
        fate = await scene.store.tickets.fate(parse_ticket(text), settle=True, timeout_s=1)
        assert fate.state.value == "applied"
    with by("eve", "writes"), pytest.raises(InvalidRequest, match="no ticket of a write of yours"):
        await scene.store.tickets.fate(parse_ticket(text), settle=True, timeout_s=1)


async def test_a_consumer_of_another_user_is_none(scene: Scene) -> None:
    consumers = scene.store.consumers
    asked = b'{"ops":["delete"]}'
    with by("ann", "reads"):
        made = await consumers.change(PutConsumer("c", "collection", "people", asked), key=None, timeout_s=1)
        assert made.created
        found = await consumers.read(ReadConsumers("c"), consistency=NEW, timeout_s=1)
        assert found.consumers[0].record.request == asked
        same = await consumers.change(PutConsumer("c", "collection", "people", asked), key=None, timeout_s=1)
        assert (same.code, same.created) == (Code.OK, False)
        with pytest.raises(Forbidden, match="watch on the collection 'secrets'"):
            await consumers.change(PutConsumer("d", "collection", "secrets", b"{}"), key=None, timeout_s=1)
    with by("eve", "reads"):
        assert (await consumers.read(ReadConsumers(), consistency=NEW, timeout_s=1)).consumers == ()
        for action in (AckConsumer("c", 1, 0), DeleteConsumer("c")):
            with pytest.raises(InvalidRequest, match="there is no consumer 'c'"):
                await consumers.change(action, key=None, timeout_s=1)
        taken = await consumers.change(PutConsumer("c", "collection", "people", asked), key=None, timeout_s=1)
        assert taken.code is Code.CONSUMER_EXISTS
    with by("ann", "reads"):
        assert (await consumers.change(DeleteConsumer("c"), key=None, timeout_s=1)).code is Code.OK


async def test_a_lease_ends_only_with_what_its_caller_may_write(scene: Scene) -> None:
    await scene.role("leases", {"verbs": ["read", "write"], "cluster": True})
    with calling(ADMIN):
        lease = (await scene.store.leases.grant(60_000, key=None, timeout_s=1)).revision
        life = Life(lease=lease)
        await scene.store.write(life.of(Put(ref("x"), b'{"team":"a"}')), key=None, timeout_s=1)
        await scene.store.write(life.of(Put(ref("s3", "secrets"), b"{}")), key=None, timeout_s=1)
    with by("ann", "leases", "writes"):
        found = await scene.store.leases.read(ReadLease(lease, attached=True), consistency=NEW, timeout_s=1)
        assert found.attached == (ref("x"),)
        assert (await scene.store.leases.revoke(lease, key=None, timeout_s=1)).code is Code.ACCESS_DOCUMENT
    with calling(ADMIN):
        await scene.delete("secrets", "s3")
    with by("ann", "leases", "team-a"):
        assert (await scene.store.leases.revoke(lease, key=None, timeout_s=1)).code is Code.ACCESS_DOCUMENT
    with by("ann", "leases", "writes"):
        assert (await scene.store.leases.revoke(lease, key=None, timeout_s=1)).code is Code.OK


async def test_lists_of_collections_show_what_may_be_read(scene: Scene) -> None:
    async def listed() -> tuple[str, ...]:
        request = ListCollections("", None, 10)
        page = await scene.store.lists.collections(request, show=lambda one: one.name, consistency=NEW, timeout_s=1)
        return page.items

    with by("ann", "reads"):
        assert await listed() == ("people",)
    with by("ann"):
        assert await listed() == ()
    with calling(ADMIN):
        assert await listed() == ("people", "secrets")


async def test_backups_and_the_cluster_are_not_for_readers(scene: Scene) -> None:
    store = scene.store
    with by("ann", "reader"):
        assert store.cluster().name == "shop-0"
        with pytest.raises(Forbidden, match="backup on the cluster"):
            await store.backups.open_state(consistency=NEW, timeout_s=1)
        with pytest.raises(Forbidden, match="backup on the cluster"):
            await store.backups.committed_log(ReadLog(0), timeout_s=1)  # type: ignore[arg-type]  # a number
    with by("ann", "writes"), pytest.raises(Forbidden, match="read on the cluster"):
        store.cluster()


# Changes of rights


async def test_a_command_is_allowed_and_proposed_again_if_rights_have_changed(scene: Scene) -> None:
    """What is between the check and the effect is in the log: it is seen there, and asked again."""
    propose = scene.replica.propose
    changed: list[str] = []

    async def meanwhile(command: Command, *, timeout_s: float) -> Any:
        if not changed:
            changed.append("unrelated")
            await scene.role("unrelated", reads("elsewhere"))
        return await propose(command, timeout_s=timeout_s)

    scene.replica.propose = meanwhile  # type: ignore[method-assign]  # a change of rights comes first
    with by("ann", "writes"):
        outcome = await scene.put("people", "k", {}, key="k")

    assert outcome.code is Code.OK
    assert not outcome.replayed


async def test_a_command_whose_right_is_gone_when_it_is_applied_has_no_effect(scene: Scene) -> None:
    propose = scene.replica.propose
    revoked: list[str] = []

    async def meanwhile(command: Command, *, timeout_s: float) -> Any:
        if not revoked:
            revoked.append("writes")
            await scene.role("writes", reads("people"))
        return await propose(command, timeout_s=timeout_s)

    scene.replica.propose = meanwhile  # type: ignore[method-assign]  # the right is taken first
    with by("ann", "writes"):
        with pytest.raises(Forbidden, match="write on the collection 'people'"):
            await scene.put("people", "k", {})
        assert await scene.read("people", "k") is None


async def test_asking_again_is_bounded(scene: Scene) -> None:
    propose = scene.replica.propose
    again = 0

    async def meanwhile(command: Command, *, timeout_s: float) -> Any:
        nonlocal again
        if isinstance(command.action, Put):
            again += 1
            body = orjson.dumps({"rules": [reads("x")], "description": str(again)})
            await propose(Command(PutRole("unrelated", body, missing=True)), timeout_s=timeout_s)
        return await propose(command, timeout_s=timeout_s)

    scene.replica.propose = meanwhile  # type: ignore[method-assign]  # rights never rest
    with by("ann", "writes"), pytest.raises(NotNow, match="changed each time"):
        await scene.put("people", "k", {})
    assert 1 < again < 20


async def test_a_read_is_asked_again_behind_what_it_waited_for(scene: Scene) -> None:
    barrier = scene.replica.read_barrier

    async def meanwhile(*, timeout_s: float) -> None:
        await scene.drop_role("reads")
        await barrier(timeout_s=timeout_s)

    with by("ann", "reads"):
        for attempt in (scene.read("people", "ada"), scene.find("people"), _listed(scene), _collection(scene)):
            await scene.role("reads", reads("people"))
            scene.replica.read_barrier = meanwhile  # type: ignore[method-assign]  # the right is taken meanwhile
            with pytest.raises(Forbidden):
                await attempt
            scene.replica.read_barrier = barrier  # type: ignore[method-assign]


async def _listed(scene: Scene) -> object:
    return await scene.store.lists.documents(
        ListDocuments("people", "", None, 10), show=lambda item: item, consistency=NEW, timeout_s=1
    )


async def _collection(scene: Scene) -> object:
    return await scene.store.read_collection("people", consistency=NEW, timeout_s=1)


async def test_an_export_ends_with_the_right_to_it(scene: Scene) -> None:
    class Lines:
        def begin(self) -> bytes:
            return b""

        def document(self, record: Record, document: dict[str, Any]) -> bytes:
            return record.text.ljust(200 << 10) + b"\n"  # a piece each

        def took(self, data: bytes, count: int) -> None:
            pass

        def end(self, revision: int) -> bytes:
            return b""

    request = ExportDocuments("people", parse_find(), None)
    with by("ann", "team-a"):
        export = await scene.store.queries.export(request, Lines(), consistency=NEW, timeout_s=1)
        pieces = export.pieces()
        first = await anext(pieces)
        assert b'"team":"a"' in first
        await scene.role("unrelated", reads("x"))
        assert b'"team":"a"' in await anext(pieces)
    export.close()
    with by("ann", "team-a"):
        export = await scene.store.queries.export(request, Lines(), consistency=NEW, timeout_s=1)
        pieces = export.pieces()
        await anext(pieces)
        await scene.role("team-a", writes("people", filter={"team": "b"}))
        with pytest.raises(Forbidden):
            await anext(pieces)
    export.close()


# Watches


async def _told(watch: Any) -> list[dict[str, Any]]:
    told = await watch.next()
    return [orjson.loads(one.text) for one in told.events]


async def test_a_watch_needs_both_rights(scene: Scene) -> None:
    await scene.role("watches", {"verbs": ["watch"], "collections": ["people"], "cluster": True})
    await scene.role("lookers", {"verbs": ["read"], "collections": ["people"]})
    request = WatchChanges(Selection(Scope("collection", "people")))
    for role, verb in (("watches", "read"), ("lookers", "watch")):
        with by("ann", role), pytest.raises(Forbidden, match=f"{verb} on the collection"):
            await scene.store.watches.open(request, consistency=NEW, timeout_s=1)
    with by("ann", "reads"), pytest.raises(Forbidden, match="watch on the cluster"):
        await scene.store.watches.open(WatchChanges(Selection(STORE)), consistency=NEW, timeout_s=1)


async def test_a_watch_tells_what_its_caller_sees(scene: Scene) -> None:
    request = WatchChanges(Selection(Scope("collection", "people"), before=True), Start.SNAPSHOT)
    with by("ann", "team-a"):
        watch = await scene.store.watches.open(request, consistency=NEW, timeout_s=1)
        events = await _told(watch)
        assert [one.get("id") for one in events] == ["ada", "cyd", None]
    with calling(ADMIN):
        await scene.put("people", "bob", {"team": "b", "n": 1})
        await scene.put("people", "bob", {"team": "a", "n": 2})
        await scene.update("people", "bob", {"$set": {"n": 3}})
        await scene.put("people", "bob", {"team": "b", "n": 4})
        await scene.delete("people", "bob")
    with by("ann", "team-a"):
        events = await _told(watch)
    assert [(one["op"], one.get("document", {}).get("n"), one.get("before", {}).get("n")) for one in events] == [
        ("insert", 2, None),
        ("update", 3, 2),
        ("delete", None, 3),
    ]
    watch.close()


async def test_a_watch_and_its_filter_do_not_see_hidden_fields(scene: Scene) -> None:
    asked = parse_find({"salary": {"$gt": 0}}).asked
    plain = WatchChanges(Selection(Scope("collection", "people"), before=True))
    with by("ann", "unpaid"):
        watch = await scene.store.watches.open(plain, consistency=NEW, timeout_s=1)
        filtered = await scene.store.watches.open(
            WatchChanges(Selection(Scope("collection", "people"), asked)), consistency=NEW, timeout_s=1, once=True
        )
    with calling(ADMIN):
        await scene.put("people", "ada", {"name": "Ada", "salary": 500, "home": {"street": "x", "city": "y"}})
    with by("ann", "unpaid"):
        (event,) = await _told(watch)
        assert event["document"] == {"name": "Ada", "home": {"city": "y"}}
        assert "salary" not in event["before"]
        assert await _told(filtered) == []
    watch.close()
    filtered.close()


async def test_a_watch_of_everything_tells_of_what_may_be_read(scene: Scene) -> None:
    await scene.role("all-watch", reads("people"), {"verbs": ["watch"], "cluster": True})
    with by("ann", "all-watch"):
        watch = await scene.store.watches.open(WatchChanges(Selection(STORE)), consistency=NEW, timeout_s=1)
    with calling(ADMIN):
        await scene.put("secrets", "s9", {"code": 1})
        await scene.store.write(Put(KeyRef("b", "k"), b"v"), key=None, timeout_s=1)
        await scene.store.locks.acquire("job", "me", Life(5_000), wait_s=0, key=None, timeout_s=1)
        await scene.put("people", "p9", {"n": 1})
    assert [one["id"] for one in await _told(watch)] == ["p9"]
    watch.close()


async def test_a_watch_ends_when_its_right_is_gone_and_tells_nothing_more(scene: Scene) -> None:
    """etcd GHSA-xg4h-6gfc-h4m8: a watch outlived the right to it."""
    request = WatchChanges(Selection(Scope("collection", "people")))
    with by("ann", "reads"):
        busy = await scene.store.watches.open(request, consistency=NEW, timeout_s=1)
        quiet = await scene.store.watches.open(request, consistency=NEW, timeout_s=1)
        await scene.drop_role("reads")
    with calling(ADMIN):
        await scene.put("people", "late", {"secret": 1})
    for watch in (busy, quiet):
        (event,) = await _told(watch)
        assert (event["event"], event["code"]) == ("failed", "forbidden")
        watch.close()


async def test_a_quiet_watch_ends_without_any_change(scene: Scene) -> None:
    request = WatchChanges(Selection(Scope("collection", "people")))
    with by("ann", "reads"):
        watch = await scene.store.watches.open(request, consistency=NEW, timeout_s=1)
        waiting = asyncio.ensure_future(watch.next())
        await asyncio.sleep(0)
    await scene.drop_role("reads")
    told = await asyncio.wait_for(waiting, 5)
    assert told.ended
    watch.close()


async def test_what_a_slow_client_has_not_taken_is_asked_again(scene: Scene) -> None:
    request = WatchChanges(Selection(Scope("collection", "people")))
    with by("ann", "reads"):
        watch = await scene.store.watches.open(request, consistency=NEW, timeout_s=1)
        token = watch.token
    with calling(ADMIN):
        await scene.put("people", "late", {"salary": 1})
        first = await watch.next()
        assert len(first.events) == 1
        await scene.put("people", "later", {"salary": 2})
    # Found, and not taken: as for a client that reads nothing.
    watch.stash = first
    watch.found_by = watch.rights
    await scene.role("reads", reads("people", fields={"hide": ["salary"]}))
    (event,) = await _told(watch)
    assert event["event"] == "moved"
    assert b"salary" not in orjson.dumps(event)
    assert token
    watch.close()


# Plans


async def test_the_rows_of_a_caller_are_found_by_an_index(scene: Scene) -> None:
    await _many(scene, "team")
    with by("ann", "team-a"):
        request = FindDocuments("people", parse_find(), None, 100)
        page = await scene.store.queries.find(request, show=lambda one: one.id, consistency=NEW, timeout_s=1)
    assert page.meter.plan is not None
    assert page.meter.plan["index"] == "by_team"
    assert page.items == ("ada", "cyd", "n000")


async def test_a_guard_is_not_planned_by_an_index_of_hidden_fields(scene: Scene) -> None:
    await _many(scene, "salary")
    guard = QueryGuard(DocumentQuery("people", b'{"salary":null}'), CompareOperator.GREATER, 100)
    guarded = GuardedTransaction(Transaction(), (guard,))
    with by("ann", "unpaid"):
        planned = await scene.store.commits.planned(guarded, key=None, timeout_s=1)
        assert isinstance(planned, GuardedTransaction)
        assert planned.guards[0].query.plan.index == 0
        # Missing in all of them, as far as the caller sees: an index of what is there would find none.
        assert (await scene.store.commits.run(guarded, key=None, timeout_s=1)).succeeded
    with calling(ADMIN):
        planned = await scene.store.commits.planned(guarded, key=None, timeout_s=1)
        assert isinstance(planned, GuardedTransaction)
        assert planned.guards[0].query.plan.index != 0


async def _many(scene: Scene, path: str) -> None:
    for number in range(120):
        document = orjson.dumps({"team": "b" if number else "a", "salary": number})
        await scene.replica.propose(Command(Put(ref(f"n{number:03}"), document)), timeout_s=1)
    await _index(scene, path)


# Helpers


async def _index(scene: Scene, path: str, *, unique: bool = False, partial: bytes = b"") -> None:
    """Create an index and build it, as the leader does."""
    definition = Definition(f"by_{path.replace('.', '_')}", (IndexField(path),), unique=unique, filter=partial)
    outcome = await scene.replica.propose(command_for(CreateIndex("people", definition), None), timeout_s=1)
    assert outcome.code is Code.OK
    built = await scene.replica.propose(Command(BuildIndex("people", outcome.revision, None)), timeout_s=1)
    assert built.code is Code.OK, built


def test_callers_hold_no_secret() -> None:
    assert caller("ann").credential == "token-of-ann"


async def test_who_sees_a_document_does_not_end_it_without_writing_it(scene: Scene) -> None:
    """To give it a deadline is to delete it: of a document that only may be read that is refused, as a write is."""
    await scene.role("own", reads("people"), {"verbs": ["write"], "collections": ["people"], "filter": {"team": "a"}})
    with by("ann", "own"):
        assert await scene.read("people", "bob") == PEOPLE["bob"]
        outcome = await scene.store.touch(Touch(ref("bob"), ttl_ms=1_000), key=None, timeout_s=1)
        assert outcome.code is Code.ACCESS_DOCUMENT
        outcome = await scene.store.touch(Touch(ref("ada"), ttl_ms=60_000), key=None, timeout_s=1)
        assert outcome.code is Code.OK
    stored = get_document(scene.replica.view, "people", "bob")
    assert stored is not None
    assert stored.expiry.deadline_ms == 0


async def test_a_condition_compares_the_text_of_a_document_as_it_is_seen(scene: Scene) -> None:
    """By enough comparisons with the whole text a caller would find out what is hidden in it."""
    whole, seen = orjson.dumps(PEOPLE["ada"]), orjson.dumps({**SHOWN["ada"], "home": {"city": "Ulm"}})

    async def holds(operator: CompareOperator, operand: bytes) -> bool:
        asked = Transaction((Guard(ref("ada"), Field.VALUE, operator, operand),))
        return (await scene.store.transact(asked, key=None, timeout_s=1)).succeeded

    with by("eve", "unpaid"):
        assert not await holds(CompareOperator.EQUAL, whole)
        assert await holds(CompareOperator.EQUAL, seen)
    with by("ann", "team-a"):
        assert await holds(CompareOperator.EQUAL, whole)
    with by("bea", "team-b"):
        assert not await holds(CompareOperator.GREATER, b"")


async def test_long_work_goes_on_as_its_own_caller(scene: Scene) -> None:
    """Beside that of others, whose turn of the loop it is: an import makes the IDs of its lines in steps."""

    def lines() -> Generator[None, None, list[str]]:
        made = []
        for number in range(3):
            yield
            made.append(scene.store.insertion("people", b"{}", f"k{number}")[0])
        return made

    def others() -> Generator[None, None, None]:
        yield from [None] * 5

    async def run(user: str, steps: Generator[None, None, T], *roles: str) -> T:
        with by(user, *roles):
            return await scene.store.in_steps(Work.BODY, steps, timeout_s=1)

    alone = await run("ann", lines(), "writes")
    beside = await asyncio.gather(run("eve", others()), run("ann", lines(), "writes"))
    assert beside[1] == alone
