"""Aggregation over HTTP: pipelines, joins of one state, bounds, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.query.aggregation.joining import BATCH_DOCUMENTS
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

COLLECTION = "/api/v1/collections/people"
PEOPLE = {
    "ada": {"name": "Ada", "born": 1815, "tags": ["maths", "engines"]},
    "alan": {"name": "Alan", "born": 1912, "tags": ["maths", "codes"], "friend": "grace"},
    "edsger": {"name": "Edsger", "born": 1930, "tags": [], "friend": "alan"},
    "grace": {"name": "Grace", "born": 1906},
}


@pytest.fixture
async def crowd(people: Client) -> Client:
    for name, document in PEOPLE.items():
        assert (await people.put(f"{COLLECTION}/documents/{name}", document)).status == 201
    return people


async def test_a_pipeline_answers_what_it_makes(crowd: Client) -> None:
    reply = await crowd.post(
        f"{COLLECTION}:aggregate",
        {"pipeline": [{"$unwind": "$tags"}, {"$sortByCount": "$tags"}, {"$limit": 1}]},
    )

    assert (reply.status, reply.json) == (200, {"documents": [{"_id": "maths", "count": 2}], "revision": 5})
    assert reply.headers["X-Revision"] == "5"
    assert reply.headers["Cache-Control"] == "no-cache"


async def test_documents_begin_with_their_id_and_revision(crowd: Client) -> None:
    reply = await crowd.post(f"{COLLECTION}:aggregate", {"pipeline": [{"$limit": 1}]})

    assert reply.body.startswith(b'{"documents":[{"_id":"ada","_revision":2,"name":"Ada",')


async def test_a_join_reads_another_collection(crowd: Client) -> None:
    await crowd.send("PUT", "/api/v1/collections/tags", b"")
    await crowd.put("/api/v1/collections/tags/documents/maths", {"room": 7})

    by_id = await crowd.post(
        f"{COLLECTION}:aggregate",
        {
            "pipeline": [
                {"$lookup": {"from": "people", "localField": "friend", "foreignField": "_id", "as": "friend"}},
                {"$project": {"friend": "$friend.name"}},
            ],
            "explain": True,
        },
    )
    by_tags = await crowd.post(
        f"{COLLECTION}:aggregate",
        {
            "pipeline": [
                {"$match": {"_id": "ada"}},
                {"$lookup": {"from": "tags", "localField": "tags", "foreignField": "_id", "as": "tags"}},
                {"$project": {"_id": 0, "tags.room": 1}},
            ]
        },
    )

    assert by_id.json["documents"] == [
        {"_id": "ada", "friend": []},
        {"_id": "alan", "friend": ["Grace"]},
        {"_id": "edsger", "friend": ["Alan"]},
        {"_id": "grace", "friend": []},
    ]
    # By ID two documents are read, not all.
    assert by_id.json["explain"]["examined"] == 4 + 2
    assert by_tags.json["documents"] == [{"tags": [{"room": 7}]}]


async def test_a_join_of_many_documents_goes_in_batches(people: Client) -> None:
    for at in range(BATCH_DOCUMENTS + 20):
        await people.put(f"{COLLECTION}/documents/d{at:04}", {"of": f"d{at // 2:04}"})

    lookup = {"$lookup": {"from": "people", "localField": "of", "foreignField": "_id", "as": "of"}}
    wrong = {"$match": {"$expr": {"$ne": [{"$size": "$of"}, 1]}}}
    reply = await people.post(f"{COLLECTION}:aggregate", {"pipeline": [lookup, wrong]})
    counted = await people.post(f"{COLLECTION}:aggregate", {"pipeline": [lookup, {"$count": "n"}]})

    assert reply.json["documents"] == []
    assert counted.json["documents"] == [{"n": BATCH_DOCUMENTS + 20}]


async def test_now_is_the_time_of_the_request_and_the_same_everywhere(crowd: Client) -> None:
    reply = await crowd.post(
        f"{COLLECTION}:aggregate",
        {"pipeline": [{"$group": {"_id": "$$NOW", "years": {"$max": {"$subtract": [{"$year": "$$NOW"}, "$born"]}}}}]},
    )

    assert reply.json["documents"] == [{"_id": "2023-11-14T22:13:20.123Z", "years": 2023 - 1815}]


async def test_all_collections_are_read_as_of_one_state(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written while a pipeline runs is not in it, whenever a join reads."""
    fixed = replica.view.fixed

    def later() -> Any:
        view = fixed()
        # As if it were applied behind the first step of the pipeline.
        for key in [key for key, value in replica.view.values.items() if b"Grace" in value]:
            del replica.view.values[key]
            replica.view._order.remove(key)
        return view

    monkeypatch.setattr(replica.view, "fixed", later)
    reply = await crowd.post(
        f"{COLLECTION}:aggregate",
        {"pipeline": [{"$match": {"_id": "ada"}}, {"$unionWith": "people"}, {"$match": {"name": "Grace"}}]},
    )

    assert [one["_id"] for one in reply.json["documents"]] == ["grace"]


async def test_explain_tells_what_each_stage_made(crowd: Client) -> None:
    pipeline = [{"$match": {"_id": {"$gte": "al"}}}, {"$unwind": "$tags"}, {"$group": {"_id": "$tags"}}]
    explained = (await crowd.post(f"{COLLECTION}:aggregate", {"pipeline": pipeline, "explain": True})).json["explain"]

    assert explained.pop("elapsed_ms") >= 0
    assert explained.pop("examined_bytes") > 0
    assert explained.pop("kept_bytes") > 0
    assert explained == {
        "plan": {"kind": "span", "lowest": "al", "end": None, "sort": "id"},
        "stages": [
            {"stage": "$unwind", "taken": 3, "made": 2},
            {"stage": "$group", "taken": 2, "made": 2},
        ],
        "joins": [],
        "keys_examined": 0,
        "examined": 3,
        "returned": 2,
    }


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({}, 400, "invalid_body", None),
        ({"pipeline": {}}, 400, "invalid_body", None),
        ({"pipeline": [5]}, 400, "invalid_pipeline", "/pipeline/0"),
        ({"pipeline": [], "cursor": "x"}, 400, "invalid_body", None),
        ({"pipeline": [{"$foo": 1}]}, 400, "invalid_pipeline", "/pipeline/0/$foo"),
        ({"pipeline": [{"$out": "people"}]}, 400, "invalid_pipeline", "/pipeline/0/$out"),
        ({"pipeline": [{"$limit": 1}, {"$match": {"a": {"$x": 1}}}]}, 400, "invalid_filter", "/pipeline/1/$match/a/$x"),
        ({"pipeline": [{"$set": {"a": {"$x": 1}}}]}, 400, "invalid_expression", "/pipeline/0/$set/a/$x"),
        ({"pipeline": [{"$sort": {"a": 0}}]}, 400, "invalid_sort", "/pipeline/0/$sort/a"),
        ({"pipeline": [{"$unionWith": "No/Name"}]}, 400, "invalid_pipeline", "/pipeline/0/$unionWith"),
        ({"pipeline": [{"$unionWith": "nowhere"}]}, 404, "collection_not_found", None),
        ({"pipeline": [{"$set": {"a": {"$add": ["$name", 1]}}}]}, 422, "expression_failed", "/pipeline/0/$set/a/$add"),
        ({"pipeline": [{"$set": {"a": {"$range": [0, 3_000]}}}]}, 422, "result_too_large", None),
        ({"pipeline": [{"$set": {"a": {"$range": [0, 99_999]}}}, {"$unwind": "$a"}]}, 422, "result_too_large", None),
    ],
    ids=str,
)
async def test_a_request_is_refused(
    crowd: Client, body: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    reply = await crowd.post(f"{COLLECTION}:aggregate", body)

    assert (reply.status, reply.json["code"], reply.json["outcome"]) == (status, code, "not_applied")
    assert [error["pointer"] for error in reply.json.get("errors", ())] == ([] if pointer is None else [pointer])
    assert "Ada" not in reply.body.decode(), "no document is in an error"


async def test_a_pipeline_that_explodes_ends_with_its_time(crowd: Client) -> None:
    """Nothing is kept and nothing comes out: it is the deadline that ends it, and the node answers others."""
    explode: list[dict[str, Any]] = [
        {"$set": {"a": {"$range": [0, 1_000]}, "b": {"$range": [0, 1_000]}, "c": {"$range": [0, 1_000]}}}
    ]
    explode += [{"$unwind": "$a"}, {"$unwind": "$b"}, {"$unwind": "$c"}, {"$match": {"a": -1}}]

    reply = await crowd.post(f"{COLLECTION}:aggregate?timeout=300ms", {"pipeline": explode})

    assert (reply.status, reply.json["code"]) == (504, "read_timeout")
    assert (await crowd.post(f"{COLLECTION}:count", {})).json["count"] == 4


async def test_expressions_in_filters(crowd: Client) -> None:
    body = {"filter": {"$expr": {"$in": ["maths", {"$ifNull": ["$tags", []]}]}, "born": {"$lt": 1900}}}
    found = await crowd.post(f"{COLLECTION}:find", body)
    failed = await crowd.post(f"{COLLECTION}:count", {"filter": {"$expr": {"$size": "$tags"}}})

    assert [one["id"] for one in found.json["documents"]] == ["ada"]
    assert (failed.status, failed.json["code"]) == (422, "expression_failed")
    assert failed.json["errors"][0]["pointer"] == "/filter/$expr/$size"


async def test_it_is_a_read(crowd: Client) -> None:
    reply = await crowd.post(f"{COLLECTION}:aggregate?consistency=stale", {"pipeline": [{"$count": "n"}]})

    assert reply.json["documents"] == [{"n": 4}]
    assert reply.headers["X-Served-By"] == "shop-0"
