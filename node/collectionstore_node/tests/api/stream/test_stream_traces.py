"""The spans of operations: a child of the client's context, the parent of what the operation does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from opentelemetry.trace import SpanKind

from collectionstore_node.api.http.instruments import TraceOperation
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.stream.stream_clients import StreamClient
from collectionstore_node.tests.tracing.recorded import CLIENT as CARRIED
from collectionstore_node.tests.tracing.recorded import CLIENT_TRACE, Recorded
from collectionstore_node.tracing.requests import serve_operation

TRACEPARENT = f"00-{CARRIED[:16].hex()}-{CARRIED[16:].hex()}-01"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    one = Recorded()
    yield one
    one.close()


@pytest.fixture
def trace_operation(recorded: Recorded) -> TraceOperation:
    return partial(serve_operation, recorded.tracing("n0"))


async def test_a_sampled_operation_has_a_span_and_hands_it_on(
    people_stream: StreamClient, recorded: Recorded, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    """Only the operation with a sampled context: the one beside it, in the same message, has none."""
    put = {"op": "put_document", "collection": "people", "document": {"secret": 1}}
    await people_stream.send(
        put | {"tag": 1, "id": "secret-id", "traceparent": TRACEPARENT}, put | {"tag": 2, "id": "other"}
    )
    await people_stream.answers(2)

    (span,) = (one for one in recorded.spans("n0") if one.kind is SpanKind.SERVER)
    assert span.name == "put_document /api/v1/stream"
    assert span.context is not None
    assert span.context.trace_id == CLIENT_TRACE
    assert dict(span.attributes or {}) == {
        "http.request.method": "put_document",
        "http.route": "/api/v1/stream",
        "http.response.status_code": 201,
    }
    first, second = replica.parents[-2:]
    assert first is not None
    assert int.from_bytes(first[16:], "big") == span.context.span_id
    assert second is None
    assert sorted(map(str, metrics.trace_ids[-2:])) == sorted([f"{CLIENT_TRACE:032x}", "None"])


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-01", "x" * 5000])
async def test_a_context_that_is_none_is_ignored(
    people_stream: StreamClient, recorded: Recorded, traceparent: str
) -> None:
    """As the header is: W3C Trace Context 4.3."""
    answer = await people_stream.ask("get_collection", collection="people", traceparent=traceparent)

    assert answer["status"] == 200
    assert not recorded.spans("n0")
