"""The client against the real engine in memory: every kind of call, and what it answers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import msgspec
import pytest

from collectionstore import (
    AsyncClient,
    AsyncCollection,
    DeleteMany,
    DeleteOne,
    Document,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from collectionstore.errors import (
    BadRequest,
    BulkWriteError,
    ClientClosed,
    CollectionNotFound,
    Conflict,
    CorruptValue,
    DuplicateKey,
    HistoryLost,
    InvalidArgument,
    InvalidOperation,
    LockHeld,
    NotFound,
    PreconditionFailed,
    SchemaViolation,
    TransactionConflict,
    UpdateFailed,
)
from collectionstore.models.chunks import chunk_key, read_manifest
from collectionstore.models.documents import UnreadableDocument
from collectionstore.testing import MemoryStore, memory_store


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with memory_store() as served:
        yield served


@pytest.fixture(params=["auto", "off"], ids=["streams", "requests"])
async def client(store: MemoryStore, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(store.url, stream=request.param) as made:
        yield made


@pytest.fixture
async def people(client: AsyncClient) -> AsyncCollection[Document]:
    return await client.create_collection("people")


async def test_documents_by_id(people: AsyncCollection[Document]) -> None:
    made = await people.put("ada", {"name": "Ada"})
    assert made.created
    assert not (await people.put("ada", {"name": "Ada L."}, if_revision=made.revision)).created
    with pytest.raises(PreconditionFailed):
        await people.put("ada", {}, if_revision=made.revision)
    found = await people.get("ada")
    assert found is not None
    assert (found.document, found.document.id, found.document.revision) == (
        {"_id": "ada", "name": "Ada L."},
        "ada",
        found.revision,
    )
    changed = await people.update("ada", {"$inc": {"visits": 2}})
    assert changed.modified
    assert not (await people.update("ada", {"$set": {"visits": 2}})).modified
    assert (await people.update("ada", {"city": None, "born": 1815}, form="merge_patch")).modified
    with pytest.raises(UpdateFailed):
        await people.update("ada", [{"op": "test", "path": "/born", "value": 1}], form="json_patch")
    gone = await people.delete("ada")
    assert gone is not None
    assert await people.get("ada") is None
    assert await people.delete("ada") is None
    past = await people.get("ada", at_revision=made.revision)
    assert past is not None
    assert past.document["name"] == "Ada"


async def test_ids_of_all_kinds(people: AsyncCollection[Document]) -> None:
    for document_id in ("a/b", "ä ö", "x%2Fy", "100%", "q?a=b#c", "'\"", "..a"):
        await people.put(document_id, {"own": document_id})
        assert await people.find_one(document_id) == {"_id": document_id, "own": document_id}
        assert await people.delete(document_id) is not None


async def test_inserts(people: AsyncCollection[Document]) -> None:
    named = await people.insert_one({"_id": "a", "n": 1})
    assert named.inserted_id == "a"
    with pytest.raises(DuplicateKey):
        await people.insert_one({"_id": "a"})
    made = await people.insert_one({"n": 2})
    assert await people.find_one(made.inserted_id) == {"_id": made.inserted_id, "n": 2}
    many = await people.insert_many([{"_id": "b"}, {"n": 3}])
    assert many.inserted_ids[0] == "b"
    with pytest.raises(BulkWriteError) as caught:
        await people.insert_many([{"_id": "c"}, {"_id": "a"}, {"_id": "d"}])
    assert [at for at, _ in caught.value.errors] == [1]
    assert isinstance(caught.value.errors[0][1], DuplicateKey)
    assert await people.find_one("d") is None
    with pytest.raises(BulkWriteError):
        await people.insert_many([{"_id": "e"}, {"_id": "a"}, {"_id": "f"}], ordered=False)
    assert await people.find_one("f") is not None


async def test_queries(people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": f"{n:03}", "n": n, "kind": "odd" if n % 2 else "even"} for n in range(250)])
    assert [one["n"] async for one in people.find({"n": {"$lt": 3}}).sort("n", -1)] == [2, 1, 0]
    assert len(await people.find().to_list()) == 250
    assert len(await people.find().batch_size(7).to_list()) == 250
    assert [one["n"] for one in await people.find(limit=120, skip=10).to_list()] == list(range(10, 130))
    assert await people.find({"n": 5}, ["kind"]).to_list() == [{"_id": "005", "kind": "odd"}]
    assert await people.find_one({"kind": "odd"}, sort=[("n", -1)]) == {"_id": "249", "n": 249, "kind": "odd"}
    assert await people.find_one({"n": -1}) is None
    assert await people.count_documents({"kind": "odd"}) == 125
    assert await people.estimated_document_count() == 250
    assert await people.distinct("kind") == ["even", "odd"]
    totals = await people.aggregate([{"$group": {"_id": "$kind", "sum": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}])
    assert totals == [{"_id": "even", "sum": 15500}, {"_id": "odd", "sum": 15625}]
    assert (await people.find({"n": 5}).explain())["plan"]["kind"] == "scan"


async def test_pages_are_of_one_state(people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": f"{n}", "n": n} for n in range(9)])
    cursor = people.find({"n": {"$gte": 0}}, batch_size=3)
    first = await cursor.next_found()
    await people.delete_many({})
    assert first is not None
    assert len(await cursor.to_list()) == 8


async def test_cursors_misused(people: AsyncCollection[Document]) -> None:
    await people.insert_one({"_id": "a"})
    cursor = people.find()
    assert await cursor.next_found() is not None
    with pytest.raises(InvalidOperation):
        cursor.sort("n")
    await cursor.close()
    with pytest.raises(ClientClosed):
        await cursor.next_found()
    for wrong in ({"limit": -1}, {"skip": 10_001}, {"batch_size": 0}, {"limit": True}):
        with pytest.raises(InvalidArgument):
            people.find(**wrong)
    with pytest.raises(InvalidArgument):
        people.find(["not", "a", "filter"])  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="/filter"):
        await people.find({"$unknown": 1}).to_list()


async def test_updates_by_filter(people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": f"{n}", "n": n} for n in range(5)])
    one = await people.update_one({"n": {"$gt": 2}}, {"$set": {"big": True}})
    assert (one.matched_count, one.modified_count, one.upserted_id) == (1, 1, None)
    many = await people.update_many({}, {"$inc": {"n": 1}})
    assert (many.matched_count, many.modified_count) == (5, 5)
    assert (await people.update_one({"_id": "none"}, {"$set": {"a": 1}})).matched_count == 0
    assert (await people.update_one({"_id": "new"}, {"$set": {"a": 1}}, upsert=True)).upserted_id == "new"
    assert (await people.update_many({"n": 99}, {"$set": {"a": 1}}, upsert=True)).upserted_id is not None
    replaced = await people.replace_one({"a": 1, "_id": "new"}, {"b": 2})
    assert (replaced.matched_count, replaced.modified_count) == (1, 1)
    assert await people.find_one("new") == {"_id": "new", "b": 2}
    assert (await people.replace_one({"_id": "x"}, {"b": 2})).matched_count == 0
    assert (await people.replace_one({"_id": "x"}, {"b": 2}, upsert=True)).upserted_id == "x"
    assert (await people.delete_one({"n": 1})).deleted_count == 1
    assert (await people.delete_one({"n": 1000})).deleted_count == 0
    assert (await people.delete_many({"n": {"$exists": True}})).deleted_count == 5
    with pytest.raises(InvalidArgument):
        await people.update_one({}, {"n": 1})
    with pytest.raises(InvalidArgument):
        await people.replace_one({}, {"$set": {"n": 1}})


async def test_find_and_modify(people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 2}])
    assert await people.find_one_and_update({"n": 1}, {"$inc": {"n": 10}}) == {"_id": "a", "n": 1}
    after = await people.find_one_and_update({}, {"$inc": {"n": 1}}, sort=[("n", -1)], return_document="after")
    assert after == {"_id": "a", "n": 12}
    assert await people.find_one_and_update({"n": 0}, {"$set": {"n": 1}}) is None
    assert await people.find_one_and_replace({"_id": "b"}, {"m": 1}, return_document="after") == {"_id": "b", "m": 1}
    assert await people.find_one_and_delete({"m": 1}, projection=["m"]) == {"_id": "b", "m": 1}
    assert await people.find_one_and_delete({"m": 1}) is None


async def test_bulk(people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": f"{n}", "n": n} for n in range(4)])
    result = await people.bulk_write(
        [
            InsertOne({"_id": "new"}),
            UpdateOne({"_id": "none"}, {"$set": {"a": 1}}),
            UpdateOne({"_id": "0"}, {"$set": {"a": 1}}),
            UpdateMany({"n": {"$gte": 2}}, {"$inc": {"n": 1}}),
            ReplaceOne({"_id": "up"}, {"b": 1}, upsert=True),
            DeleteOne({"_id": "1"}),
            DeleteMany({"n": 3}),
        ]
    )
    assert (result.inserted_count, result.matched_count, result.modified_count) == (1, 3, 3)
    assert (result.upserted_ids, result.deleted_count) == ({4: "up"}, 2)
    with pytest.raises(BulkWriteError) as caught:
        await people.bulk_write([InsertOne({"_id": "x"}), InsertOne({"_id": "x"}), InsertOne({"_id": "y"})])
    assert caught.value.errors[0][0] == 1
    assert caught.value.result.inserted_count == 1  # type: ignore[attr-defined]
    with pytest.raises(PreconditionFailed):
        await people.bulk_write([InsertOne({"_id": "z"}), InsertOne({"_id": "x"})], atomic=True)
    assert await people.find_one("z") is None
    with pytest.raises(InvalidArgument):
        await people.bulk_write([DeleteMany({"n": 1})], atomic=True)
    with pytest.raises(InvalidArgument):
        await people.bulk_write([])


async def test_a_bulk_of_thousands(people: AsyncCollection[Document]) -> None:
    result = await people.bulk_write([InsertOne({"_id": f"{n}"}) for n in range(2_500)], ordered=False)
    assert result.inserted_count == 2_500
    assert await people.count_documents() == 2_500


async def test_a_collection_that_was_not_created(client: AsyncClient) -> None:
    missing = client["missing"]
    for call in (missing.insert_one({}), missing.find_one({"a": 1}), missing.find_one("a"), missing.delete("a")):
        with pytest.raises(CollectionNotFound):
            await call
    with pytest.raises(BulkWriteError) as caught:
        await missing.insert_many([{}])
    assert isinstance(caught.value.errors[0][1], CollectionNotFound)
    await missing.drop()


async def test_catalog(client: AsyncClient) -> None:
    await client.create_collection("one")
    with pytest.raises(Conflict):
        await client.create_collection("one")
    await client.create_collection("one", exist_ok=True)
    strict = {"document": {"required": ["name"]}}
    two = await client.create_collection("two", schema=strict)
    assert await client.list_collection_names() == ["one", "two"]
    assert await client.list_collection_names("t") == ["two"]
    assert (await two.options())["schema"]["mode"] == "strict"
    with pytest.raises(SchemaViolation) as caught:
        await two.insert_one({"n": "a secret"})
    assert "a secret" not in repr(caught.value)
    assert caught.value.details["errors"][0]["pointer"] == "/name"
    assert (await two.configure(schema={"mode": "off"}))["schema"]["mode"] == "off"
    await two.insert_one({})
    assert (await two.validate(schema=strict))["invalid"] == 1
    await client.drop_collection("one")
    await client.drop_collection("one")
    assert await client.list_collection_names() == ["two"]


async def test_indexes(people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": f"{n}", "born": n} for n in range(10)])
    name = await people.create_index("born", unique=True)
    assert name == "born_1"
    await people.wait_for_index(name)
    assert (await people.find({"born": 3}).explain())["plan"]["kind"] == "index"
    with pytest.raises(DuplicateKey) as caught:
        await people.insert_one({"born": 3})
    assert caught.value.details["index"] == "born_1"
    await people.drop_index(name)
    assert await people.list_indexes() == []
    with pytest.raises(NotFound):
        await people.wait_for_index(name)
    with pytest.raises(InvalidArgument):
        await people.create_index([])


async def test_time_to_live(store: MemoryStore, people: AsyncCollection[Document]) -> None:
    await people.put("a", {}, ttl=30)
    await people.insert_one({"_id": "b"}, ttl="1h")
    await store.advance(31)
    assert await people.get("a") is None
    await people.touch("b", ttl="2h")
    await store.advance(3_700)
    assert await people.get("b") is not None
    with pytest.raises(InvalidArgument):
        await people.put("c", {}, ttl=30, lease=1)


async def test_values(client: AsyncClient) -> None:
    bucket = client.bucket("config")
    made = await bucket.put("a/b c", b"\x00\xff", content_type="image/png")
    found = await bucket.get("a/b c")
    assert found is not None
    assert (found.value, found.revision, found.content_type) == (b"\x00\xff", made.revision, "image/png")
    await bucket.put("text", "ä", if_exists=False)
    with pytest.raises(PreconditionFailed):
        await bucket.put("text", "b", if_exists=False)
    assert [one.key async for one in bucket.keys()] == ["a/b c", "text"]  # noqa: SIM118
    assert [one.value async for one in bucket.keys("te", values=True)] == ["ä".encode()]
    assert await bucket.delete("text") is not None
    assert await bucket.delete("text") is None
    assert await bucket.get("text") is None
    await bucket.put("empty", b"")
    empty = await bucket.get("empty")
    assert empty is not None
    assert empty.value == b""


async def test_large_values(client: AsyncClient) -> None:
    bucket = client.bucket("files")
    content = bytes(range(256)) * 5_000
    await bucket.put_large("big", content)
    assert await bucket.get_large("big") == content
    await bucket.put_large("big", b"small")
    assert await bucket.get_large("big") == b"small"
    assert len([one async for one in bucket.keys()]) == 2  # noqa: SIM118
    found = await bucket.get("big")
    assert found is not None
    manifest = read_manifest(found.value)
    await bucket.put(chunk_key("big", manifest.upload, 0), b"other")
    with pytest.raises(CorruptValue):
        await bucket.get_large("big")
    await bucket.delete(chunk_key("big", manifest.upload, 0))
    with pytest.raises(CorruptValue):
        await bucket.get_large("big")
    await bucket.delete_large("big")
    assert await bucket.get_large("big") is None
    assert [one async for one in bucket.keys()] == []  # noqa: SIM118


async def test_transactions(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    await people.insert_many([{"_id": "ada", "money": 100}, {"_id": "bob", "money": 20}])
    async with client.transaction() as tx:
        accounts = tx.collection("people")
        ada, bob = await accounts.find_one("ada"), await accounts.find_one({"_id": "bob"})
        assert ada is not None
        assert bob is not None
        await accounts.put("ada", {**ada, "money": ada["money"] - 30})
        await accounts.update("bob", {"$inc": {"money": 30}})
        made = await accounts.insert_one({"log": 1})
        own = await accounts.get("ada")
        assert own is not None
        assert own.document["money"] == 70
        with pytest.raises(InvalidOperation):
            await accounts.get("bob")
        with pytest.raises(InvalidOperation):
            await accounts.find({})
        tx.put_value("audit", "last", b"transfer")
        assert await tx.get_value("audit", "last") == b"transfer"
    assert tx.revision is not None
    assert [one["money"] for one in await people.find({"money": {"$exists": True}}).to_list()] == [70, 50]
    assert await people.find_one(made.inserted_id) is not None
    with pytest.raises(ClientClosed):
        await accounts.get("ada")


async def test_a_transaction_that_raises_writes_nothing(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with client.transaction() as tx:
            await tx.collection("people").put("a", {})
            raise ZeroDivisionError
    assert await people.get("a") is None


async def test_conflicts_and_savepoints(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    await people.put("a", {"n": 1})
    tx = client.transaction()
    inside = tx.collection("people")
    assert await inside.count_documents({"n": 1}) == 1
    await people.put("b", {"n": 1})
    await inside.put("c", {})
    with pytest.raises(TransactionConflict):
        await tx.commit()

    async with client.transaction() as again:
        inside = again.collection("people")
        await inside.put("kept", {})
        here = again.savepoint()
        await inside.put("dropped", {})
        await inside.delete("kept")
        again.rollback_to(here)
    assert await people.get("kept") is not None
    assert await people.get("dropped") is None


async def test_with_transaction_repeats_conflicts(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    await people.put("n", {"n": 0})

    async def add(tx: Any) -> int:
        inside = tx.collection("people")
        document = await inside.find_one("n")
        await inside.put("n", {"n": document["n"] + 1})
        return int(document["n"])

    seen = await asyncio.gather(*(client.with_transaction(add) for _ in range(10)))
    assert sorted(seen) == list(range(10))
    assert await people.find_one("n") == {"_id": "n", "n": 10}


async def test_one_shot_transactions(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    guard = {"collection": "people", "id": "a", "field": "exists", "operand": False}
    put = {"op": "put", "collection": "people", "id": "a", "document": {"n": 1}}
    assert (await client.transact(compare=[guard], then=[put])).succeeded
    get = {"op": "get", "collection": "people", "id": "a"}
    result = await client.transact(compare=[guard], then=[put], otherwise=[get])
    assert not result.succeeded
    assert result.results[0]["document"] == {"n": 1}


async def test_leases_and_locks(store: MemoryStore, client: AsyncClient, people: AsyncCollection[Document]) -> None:
    async with client.lease(30) as lease:
        await people.put("session", {}, lease=lease.id)
        assert not lease.lost
    assert await people.get("session") is None
    async with client.lock("nightly", ttl=30, owner="one") as lock:
        assert lock.held
        with pytest.raises(LockHeld) as caught:
            await client.lock("nightly", ttl=30).acquire()
        assert caught.value.details["holder"]
        put = {"op": "put", "collection": "people", "id": "a", "document": {}}
        assert (await client.transact(compare=[lock.guard()], then=[put])).succeeded
        first = lock.token
        await store.advance(40)
        assert not (await client.transact(compare=[lock.guard()], then=[put])).succeeded
    async with client.lock("nightly", ttl=30) as again:
        assert again.token > first
    with pytest.raises(InvalidOperation):
        lock.guard()


async def test_a_lock_is_waited_for(client: AsyncClient) -> None:
    first = client.lock("l", ttl=30)
    await first.acquire()
    waiting = asyncio.create_task(client.lock("l", ttl=30, wait=20).acquire())
    await first.release()
    assert await waiting > 0


async def test_sessions_and_stale_reads(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    stale = people.with_options(consistency="stale", max_staleness="5s")
    with client.session() as session:
        made = await people.put("a", {})
        assert session.revision == made.revision
        assert await stale.get("a") is not None
        assert len(await stale.find().to_list()) == 1
    assert await stale.get("a") is not None


async def test_export_and_import(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    documents = [{"_id": f"{n:04}", "n": n} for n in range(1_500)]
    result = await people.import_documents(documents)
    assert (result.inserted, result.failed) == (1_500, 0)
    again = await people.import_documents([*documents[:2], {"_id": "new"}])
    assert (again.inserted, again.failed, [one["line"] for one in again.errors]) == (1, 2, [1, 2])
    lines = [one async for one in people.export_lines({"n": {"$lt": 3}})]
    assert [msgspec.json.decode(one)["n"] for one in lines] == [0, 1, 2]
    other = await client.create_collection("other")
    copied = [one async for one in other.import_lines([one async for one in people.export_lines()])]
    assert copied[-1].inserted == 1_501
    with pytest.raises(InvalidArgument):
        await other.import_documents([{"_id": 5}])


class Person(msgspec.Struct):
    name: str
    id: str | None = msgspec.field(name="_id", default=None)
    revision: int = msgspec.field(name="_revision", default=0)
    born: int | None = None


@dataclasses.dataclass
class Plain:
    name: str


class Typed(TypedDict):
    _id: str
    name: str


async def test_types(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    structs = client.collection("people", Person)
    made = await structs.insert_one(Person("Ada", id="ada"))
    found = await structs.find_one("ada")
    assert found == Person("Ada", "ada", made.revision)
    assert await structs.find({"name": "Ada"}).to_list() == [found]
    await structs.insert_one(Person("Bob"))
    plain = client.collection("people", Plain)
    assert await plain.find_one("ada") == Plain("Ada")
    await plain.put("c", Plain("Cy"))
    typed = client.collection("people", Typed)
    assert await typed.find_one("c") == {"_id": "c", "name": "Cy"}
    await people.put("bad", {"name": 5})
    with pytest.raises(UnreadableDocument) as caught:
        await structs.find_one("bad")
    assert caught.value.id == "bad"


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": {"b": -float("inf")}},
        {1: 2, None: 3},
        {"_id": 5},
        [1],
        "text",
        None,
    ],
)
async def test_documents_that_json_has_not(people: AsyncCollection[Document], wrong: Any) -> None:
    with pytest.raises(InvalidArgument):
        await people.insert_one(wrong)
    assert await people.count_documents() == 0


async def test_null_and_large_numbers_stay(people: AsyncCollection[Document]) -> None:
    document = {"none": None, "big": (1 << 64) - 1, "small": -(1 << 63), "float": 1e300, "nested": {"none": None}}
    await people.put("a", document)
    assert await people.find_one("a") == {"_id": "a", **document}
    with pytest.raises((InvalidArgument, BadRequest)):
        await people.put("b", {"n": 1 << 64})


async def test_a_document_that_is_too_large(people: AsyncCollection[Document]) -> None:
    with pytest.raises(BadRequest) as caught:
        await people.put("a", {"text": "x" * (1 << 20)})
    assert caught.value.status == 413
    await people.put("b", {"text": "x" * ((1 << 20) - 20)})


async def test_requests_of_the_api(client: AsyncClient) -> None:
    assert (await client.cluster())["members"]
    await client.ping()
    assert (await client.request("GET", "/collections"))["collections"] == []
    with pytest.raises(NotFound):
        await client.request("GET", "/nothing")
    with pytest.raises(InvalidArgument):
        await client.request("GET", "collections")


async def test_history_that_is_gone(client: AsyncClient, people: AsyncCollection[Document]) -> None:
    await people.put("a", {})
    revision = (await people.put("a", {"n": 1})).revision
    await people.drop()
    with pytest.raises((HistoryLost, NotFound)):
        await people.get("a", at_revision=revision)
