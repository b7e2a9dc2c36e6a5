"""docs/reference/api.md describes what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from collectionstore_node import errors
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.problems import CODES, KINDS, problem_of
from collectionstore_node.api.openapi import described
from collectionstore_node.api.url_table import CLIENT, PROBES
from collectionstore_node.documents.filters.parsing import DEPTH_MAX, LEAVES_MAX
from collectionstore_node.documents.regexes import MEMORY_BYTES_MAX, PATTERNS_MAX, SEARCH_MAX
from collectionstore_node.query.find import SKIP_MAX
from collectionstore_node.query.scanning import VISITS_MAX
from collectionstore_node.query.sorting import KEY_BYTES_MAX
from collectionstore_node.service import StoreLimits
from collectionstore_node.service.queries import PAGE_BYTES_MAX, PAGE_DOCUMENTS_MAX
from collectionstore_node.service.query_thread import PLACES, WAITING_MAX
from collectionstore_node.service.tickets import SLACK_MS
from collectionstore_node.statemachine.commits import COUNT_MAX
from collectionstore_node.statemachine.costs import (
    CHANGE_COST_BYTES,
    FILTER_BYTES_MAX,
    QUERY_SEEN_MAX,
    TRANSACTION_COST_MAX,
    TRANSACTION_QUERIES_MAX,
    UPDATE_BYTES_MAX,
)
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.test_http_indexes import built

PAGES = Path(__file__).parents[4] / "docs" / "reference"
REFERENCE = (PAGES / "api.md").read_text()
QUERIES = (PAGES / "queries.md").read_text()
AGGREGATION = (PAGES / "aggregation.md").read_text()
HISTORY = (PAGES / "history.md").read_text()
EXPIRY = (PAGES / "expiry.md").read_text()
LEASES = (PAGES / "leases.md").read_text()
LOCKS = (PAGES.parent / "concepts" / "locks.md").read_text()
INDEXES = (PAGES / "indexes.md").read_text()
SCHEMAS = (PAGES / "schemas.md").read_text()
UPDATES = (PAGES / "updates.md").read_text()
PORTING = (PAGES / "porting.md").read_text()
TRANSACTIONS = (PAGES / "transactions.md").read_text()
WATCHES = (PAGES / "watch.md").read_text()
ACCESS = (PAGES / "access.md").read_text()
ERRORS = REFERENCE.partition("## Errors")[2]


def test_every_code_is_in_the_table_under_its_status() -> None:
    rows = [line for line in ERRORS.splitlines() if re.match(r"\| [0-9]", line)]
    documented = {}
    for row in rows:
        statuses = re.findall(r"[0-9]{3}", row.split("|")[1])
        for code in re.findall(r"`([a-z_]{6,})`", row.split("|")[2]):
            documented[code] = statuses
    for member in (
        "current_revision",
        "conflicting_id",
        "oldest_revision",
        "asked_revision",
        "applied_revision",
        "operation",
        "conflict",
        "kept_after",
        "restart",
    ):
        documented.pop(member, None)

    assert set(documented) == set(KINDS)
    assert [code for code, kind in KINDS.items() if str(kind.status) not in documented[code]] == []


def test_every_route_is_in_the_table() -> None:
    endpoints = REFERENCE.partition("## Names")[0].replace("...", "/api/v1/collections/{collection}")
    for route in described((*CLIENT, *PROBES)):
        assert route.pattern.replace("...", "") in endpoints, route.pattern


def test_limits_are_as_written() -> None:
    limits, store_limits = HttpLimits(), StoreLimits()

    assert f"at most {store_limits.document_bytes_max >> 20} MiB" in REFERENCE
    assert f"{limits.transaction_bytes_max >> 20} MiB and {store_limits.transaction_items_max} items" in REFERENCE
    assert f"an update {UPDATE_BYTES_MAX >> 10} KiB" in REFERENCE
    assert f"every other body {limits.control_bytes_max >> 10} KiB" in REFERENCE
    assert f"path and query {limits.target_bytes_max >> 10} KiB" in REFERENCE
    assert f"1-{limits.key_bytes_max} bytes" in REFERENCE
    assert f"nested at most {limits.depth_max} deep" in REFERENCE
    assert f"{store_limits.inflight_requests_max:,} requests at a time" in REFERENCE
    assert f"(1-{store_limits.list_items_max}, default {limits.list_items_default})" in REFERENCE
    assert f"1ms to {limits.timeout_max_s:g}s, default {limits.timeout_default_s:g}s" in REFERENCE


def test_limits_of_transactions_are_as_written() -> None:
    assert f"0 to {COUNT_MAX:,}" in TRANSACTIONS
    assert f"{TRANSACTION_COST_MAX >> 20} MiB for all" in TRANSACTIONS
    assert f"{TRANSACTION_QUERIES_MAX} queries, {FILTER_BYTES_MAX >> 10} KiB of a filter" in TRANSACTIONS
    assert f"up to {QUERY_SEEN_MAX:,}\n  documents" in TRANSACTIONS
    assert f"{CHANGE_COST_BYTES} bytes\n  for each" in TRANSACTIONS
    items = StoreLimits().transaction_items_max
    assert f"{items} reads, of them {TRANSACTION_QUERIES_MAX} queries, and {items} writes" in TRANSACTIONS
    assert f"{SLACK_MS // 1000} s more" in TRANSACTIONS
    assert f"feature level {CHANGES}" in TRANSACTIONS


def test_every_exception_of_the_node_is_a_problem() -> None:
    """Those of `errors` by their own code or their parent's; any other exception is an internal error."""
    for kind in (errors.NotNow, errors.Fatal, errors.OutcomeUnknown):
        for error in (kind, *kind.__subclasses__()):
            code = problem_of(error("x") if error is not errors.NotLeader else error(), safe_to_repeat=False).code
            assert (code == "internal_error") == (
                error in (errors.Fatal, errors.InvariantViolated, errors.OutOfMemory)
            ), error
    assert problem_of(errors.NodeError("x"), safe_to_repeat=False).code == "internal_error"
    assert set(CODES.values()) <= set(KINDS)


def test_limits_of_queries_are_as_written() -> None:
    limits = StoreLimits()

    assert f"{LEAVES_MAX} tests in a filter, {DEPTH_MAX} deep; {PATTERNS_MAX} patterns" in QUERIES
    assert f"{MEMORY_BYTES_MAX >> 10} KiB compiled" in QUERIES
    assert f"{SEARCH_MAX:,} instructions" in QUERIES
    assert f"{PLACES} take turns and {WAITING_MAX} wait" in QUERIES
    assert f"{limits.query_documents_max:,} documents and {limits.query_bytes_max >> 30} GiB read" in QUERIES
    assert f"{limits.distinct_values_max:,} different values" in QUERIES
    assert f"one document over {VISITS_MAX:,}" in QUERIES
    assert f"{limits.query_memory_bytes_max >> 20} MiB kept" in QUERIES
    assert f"after {PAGE_DOCUMENTS_MAX:,} documents or {PAGE_BYTES_MAX >> 20} MiB were read" in QUERIES
    assert f"up to {SKIP_MAX:,} matches" in QUERIES
    assert f"at most {KEY_BYTES_MAX:,} bytes" in QUERIES


@pytest.mark.parametrize(
    "page",
    [
        REFERENCE,
        QUERIES,
        AGGREGATION,
        HISTORY,
        INDEXES,
        SCHEMAS,
        UPDATES,
        PORTING,
        TRANSACTIONS,
        EXPIRY,
        LEASES,
        LOCKS,
        WATCHES,
        ACCESS,
    ],
    ids=[
        "api",
        "queries",
        "aggregation",
        "history",
        "indexes",
        "schemas",
        "updates",
        "porting",
        "transactions",
        "expiry",
        "leases",
        "locks",
        "watches",
        "access",
    ],
)
async def test_the_examples_answer_as_shown(client: Client, replica: MemoryReplica, page: str) -> None:
    """All of them in their order, on a new store; lines that are shown must be in the answer."""
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    examples = [one for block in blocks for one in re.split(r"^\$ ", block, flags=re.MULTILINE) if one.strip()]

    for example in examples:
        words, shown = _command_and_output(example)
        method, target, body, headers = _curl(words)
        reply = await client.send(method, target, body, headers)
        await built(replica)
        headers_shown = [f"{name}: {value}" for name, value in reply.headers.items()]
        lines = {line.lower() for line in (*reply.body.decode().splitlines(), *headers_shown)}
        assert reply.status < 300, example
        assert {line.lower() for line in shown} <= lines, example
    assert len(examples) > 6


def _command_and_output(example: str) -> tuple[list[str], list[str]]:
    """Split an example where the shell would: the command may span lines inside quotes."""
    lines = example.splitlines()
    for count in range(1, len(lines) + 1):
        try:
            return shlex.split("\n".join(lines[:count])), [line for line in lines[count:] if line]
        except ValueError:
            continue  # a quote is still open
    raise AssertionError(example)


def _curl(words: list[str]) -> tuple[str, str, bytes | None, dict[str, str]]:
    """Parse the part of curl's command line that the examples use."""
    assert words[0] == "curl"
    method, target, body, headers = "GET", "", None, {}
    arguments = iter(words[1:])
    for word in arguments:
        match word:
            case "-X":
                method = next(arguments)
            case "-H":
                name, _, value = next(arguments).partition(": ")
                headers[name] = value
            case "-d" | "--data-binary":
                body = next(arguments).encode()
            case "-i":
                pass
            case url:
                target = url.removeprefix("http://127.0.0.1:7400")
    return method, target, body, headers
