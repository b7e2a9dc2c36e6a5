"""The export of spans: bounded, counted, started in a thread, and never waited for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from collectionstore_telemetry.tracing.export import SpanExport
from collectionstore_telemetry.tracing.lifecycle import exporting
from collectionstore_telemetry.tracing.settings import TRACES_OFF, TraceSettings

SPANS_MAX = 600
"""More than a batch of the SDK, which are 512."""


class StuckReceiver(SpanExporter):
    """Accepts a batch and does not answer until `answer` is set, or it is shut down."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.answer.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.answer.set()


class FailingReceiver(SpanExporter):
    """Raises while `failing`, and accepts everything afterwards."""

    failing = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.failing:
            raise RuntimeError("a bug of the exporter")
        return SpanExportResult.SUCCESS


class Exported:
    """A running exporter, and what it counted."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.counts: Counter[str] = Counter()
        self.export = SpanExport(exporter, {"service.name": "test"}, self._count, spans_max=SPANS_MAX)
        self._tracer = self.export.provider.get_tracer("test")

    def record(self) -> None:
        self._tracer.start_span("work").end()

    def _count(self, result: str, spans: int) -> None:
        self.counts[result] += spans


def test_receiver_that_hangs_costs_spans_and_no_time() -> None:
    """The bound includes the batch being exported; spans beyond it are dropped at once."""
    receiver = StuckReceiver()
    exported = Exported(receiver)
    for _ in range(SPANS_MAX + 50):
        exported.record()
    assert receiver.asked.wait(60)
    assert exported.counts == {"dropped": 50}
    receiver.answer.set()
    exported.export.close()
    assert exported.counts == {"dropped": 50, "failed": SPANS_MAX}


def test_close_does_not_wait_for_a_receiver_that_hangs() -> None:
    receiver = StuckReceiver()
    exported = Exported(receiver)
    exported.record()
    exported.export.close()
    assert receiver.answer.is_set()


def test_exception_of_an_exporter_is_a_failure_and_the_next_batch_is_tried() -> None:
    """Failure and recovery are logged once each."""
    receiver = FailingReceiver()
    exported = Exported(receiver)
    with capture_logs() as lines:
        for failing in (True, True, False, False):
            receiver.failing = failing
            exported.record()
            exported.export.flush()
    exported.export.close()
    assert exported.counts == {"failed": 2, "exported": 2}
    assert [line["event"] for line in lines] == ["tracing.export_failed", "tracing.export_recovered"]


def test_closed_port_only_counts() -> None:
    exported = Exported(OTLPSpanExporter("http://127.0.0.1:1/v1/traces", timeout=0.1))
    exported.record()
    exported.export.flush()
    exported.export.close()
    assert exported.counts == {"failed": 1}


async def test_exporter_is_started_in_a_thread_and_closed_at_the_end() -> None:
    spans = InMemorySpanExporter()
    threads: list[str] = []

    def start() -> SpanExport:
        threads.append(threading.current_thread().name)
        return SpanExport(spans, {"service.name": "test"}, lambda result, count: None, spans_max=SPANS_MAX)

    with capture_logs() as lines:
        async with exporting(TraceSettings(endpoint="collector:4318"), start) as export:
            assert export is not None
            export.provider.get_tracer("test").start_span("work").end()
    assert threads != [threading.main_thread().name]
    assert [span.name for span in spans.get_finished_spans()] == ["work"]
    assert [(line["event"], line["endpoint"]) for line in lines] == [("tracing.started", "collector:4318")]


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        pytest.param(TRACES_OFF, [], id="off"),
        pytest.param(TraceSettings(refused="not a URL"), ["not a URL"], id="refused"),
        pytest.param(TraceSettings(endpoint="collector:4318"), ["no such sampler"], id="unusable"),
    ],
)
async def test_process_runs_without_traces_that_are_off_or_refused(settings: TraceSettings, reasons: list[str]) -> None:
    def start() -> SpanExport:
        raise ValueError("no such sampler")

    with capture_logs() as lines:
        async with exporting(settings, start) as export:
            assert export is None
    assert [(line["event"], line["reason"]) for line in lines] == [("tracing.refused", reason) for reason in reasons]
