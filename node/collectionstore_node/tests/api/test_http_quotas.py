"""Quotas of collections over HTTP, and the pages that describe them and the audit log."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from collectionstore_node.audit.events import CONTENT_MAX, Event
from collectionstore_node.audit.feeder import BATCH_MAX, CLOSE_S, RETRY_S_MAX
from collectionstore_node.audit.settings import VARIABLES
from collectionstore_node.audit.webhook import TIMEOUT_S
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import Command, CountUsage
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

DOCS = Path(__file__).parents[4] / "docs" / "reference"
AUDIT, QUOTAS = (DOCS / "audit.md").read_text(), (DOCS / "quotas.md").read_text()
INBOX = "/api/v1/collections/inbox"
_STEP = re.compile(
    r"^\$ curl (?:-X (\w+) )?'?http://127.0.0.1:7400(\S+?)'?(?: -H \S+ \S+)?(?: -d '(.*)')?$\n(.*)$", re.MULTILINE
)


async def test_the_examples_of_the_page_are_what_happens(client: Client) -> None:
    steps = _STEP.findall(QUOTAS)
    assert len(steps) == 4
    for method, path, body, answer in steps:
        reply = await client.send(method or "GET", path, body.encode() or None, JSON if body else None)
        pattern = ".*".join(map(re.escape, answer.split("...")))
        assert re.fullmatch(pattern, reply.body.decode()), reply.body


async def test_a_full_collection_says_so_and_takes_what_makes_it_no_larger(client: Client) -> None:
    await client.put(INBOX, {"max_documents": 1})
    await client.put(f"{INBOX}/documents/a", {"n": 1})
    reply = await client.put(f"{INBOX}/documents/b", {"n": 1})
    problem = reply.problem(429, "quota_exceeded")
    assert (problem["outcome"], problem["retryable"]) == ("not_applied", False)
    assert (problem["quota"], problem["limit"], problem["revision"]) == ("max_documents", 1, 3)
    assert reply.headers["Retry-After"] == "60"
    transaction = {"then": [{"op": "put", "collection": "inbox", "id": "c", "document": {}}]}
    refused = (await client.post("/api/v1/transactions", transaction)).problem(429, "quota_exceeded")
    assert refused["operation"] == "then[0]"
    assert (await client.put(f"{INBOX}/documents/a", {"n": "longer"})).status == 200
    assert (await client.delete(f"{INBOX}/documents/a")).status == 200
    assert (await client.put(f"{INBOX}/documents/b", {"n": 1})).status == 201
    bulk = await client.send(
        "POST",
        f"{INBOX}:bulk",
        b'{"op":"put","id":"x","document":{}}\n{"op":"delete","id":"b"}\n',
        {"Content-Type": "application/x-ndjson"},
    )
    assert b"quota_exceeded" in bulk.body


async def test_a_quota_is_set_and_ended_and_shown_with_what_is_used(client: Client, replica: MemoryReplica) -> None:
    await client.send("PUT", INBOX, b"")
    await client.put(f"{INBOX}/documents/a", {"n": 1})
    assert (await client.send("PATCH", INBOX, orjson.dumps({"max_bytes": 8}), JSON)).status == 200
    shown = (await client.get(INBOX)).json
    assert shown["usage"] == {"documents": 0, "bytes": 0, "counting": True}
    found = find_collection(replica.view, "inbox")
    assert found is not None
    await replica.propose(Command(CountUsage("inbox", found.id)), timeout_s=1)
    assert (await client.get(INBOX)).json["usage"] == {"documents": 1, "bytes": 7, "counting": False}
    (await client.put(f"{INBOX}/documents/a", {"n": 100})).problem(429, "quota_exceeded")
    await client.send("PATCH", INBOX, b'{"max_bytes":null}', JSON)
    assert "usage" not in (await client.get(INBOX)).json
    assert (await client.put(f"{INBOX}/documents/a", {"n": 100})).status == 200


@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True, 1 << 60])
async def test_a_quota_that_is_none_is_refused_with_its_place(client: Client, value: object) -> None:
    problem = (await client.put(INBOX, {"max_documents": value})).problem(400, "invalid_options")
    assert problem["errors"][0]["pointer"] == "/max_documents"


def test_the_page_of_the_audit_log_has_every_setting_and_field() -> None:
    for name, default, text in VARIABLES:
        assert f"| `{name}` | {default} | {text} |" in AUDIT
    for name in Event.__struct_fields__:
        assert name == "at_ms" or f"`{name}`" in AUDIT
    assert f"up to {CONTENT_MAX:,} characters" in AUDIT
    assert f"up to {BATCH_MAX} lines" in AUDIT
    assert f"ends after {TIMEOUT_S:g} seconds" in AUDIT
    assert f"up to {RETRY_S_MAX:g} seconds" in AUDIT
    assert CLOSE_S == 2.0
    assert "waits two seconds" in AUDIT
