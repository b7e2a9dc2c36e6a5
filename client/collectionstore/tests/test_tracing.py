"""Spans of calls: children of the caller's, the context sent along, no content."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from collectionstore import AsyncClient
from collectionstore.errors import PreconditionFailed
from collectionstore.tests.fake_server import FakeServer, applied, problem
from collectionstore.tracing import OpenTelemetryHooks


async def test_a_call_is_a_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    refusal = problem(412, "precondition_failed")
    async with (
        FakeServer(lambda one: applied(one, 412, body=refusal) if one["id"] == "b" else applied(one)) as server,
        AsyncClient(server.url, hooks=OpenTelemetryHooks(provider), discovery="off") as client,
    ):
        with provider.get_tracer("test").start_as_current_span("request") as parent:
            await client.collection("c").put("a", {"secret": "hunter2"})
            with pytest.raises(PreconditionFailed):
                await client.collection("c").put("b", {}, if_exists=False)
        trace_id = f"{parent.get_span_context().trace_id:032x}"
        assert trace_id in server.operations[0]["traceparent"]
    good, bad, _ = exporter.get_finished_spans()
    assert good.name == "put_document"
    assert good.parent is not None
    assert f"{good.parent.span_id:016x}" in server.operations[0]["traceparent"]
    assert good.attributes is not None
    assert good.attributes["collectionstore.attempts"] == 1
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "precondition_failed"
    assert "hunter2" not in str(good.attributes)
