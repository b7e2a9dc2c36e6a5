"""`OtlpSink`: records as OpenTelemetry logs, by OTLP over HTTP.

The body of a log record is the sealed line, so that what a receiver has stored can be verified; the attributes repeat
what is searched for. Where to: the standard variables OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT and
those beside them. Imports OpenTelemetry, so it is imported only where this sink is on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from collectionstore_node.audit.chain import Origin, Position, append, begin_file
from collectionstore_node.audit.events import Dropped, Entry
from collectionstore_node.audit.sinks import SinkFailed

SCOPE: Final = InstrumentationScope("collectionstore.audit")
EVENT_NAME: Final = "collectionstore.audit"


def otlp_exporter() -> LogRecordExporter:
    """Return an exporter to the endpoint of the environment. Raises `ValueError` for settings that cannot be used."""
    return OTLPLogExporter()


class OtlpSink:
    """Implements `Sink`. Belongs to an event loop; its thread alone uses the exporter, which blocks."""

    linger_s = 0.0

    def __init__(
        self,
        exporter: LogRecordExporter,
        resource: Mapping[str, str],
        origin: Origin,
        *,
        chain: str,
        wall_ms: Callable[[], int],
    ) -> None:
        """`resource` describes the process; the standard variables take precedence."""
        self._exporter = exporter
        self._resource = Resource.create(dict(resource)).merge(OTELResourceDetector().detect())
        self._origin = origin
        self._wall_ms = wall_ms
        self._position = Position(chain)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit-otlp")

    @property
    def position(self) -> Position:
        """Where the chain stands."""
        return self._position

    async def send(self, entries: Sequence[Entry]) -> None:
        """Export a batch. Raises `SinkFailed`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._export, entries)

    async def close(self) -> None:
        """Interrupt an export that waits for its next attempt; does not wait for a receiver that hangs."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        self._thread.shutdown(wait=False)

    def _export(self, entries: Sequence[Entry]) -> None:
        position, records = self._position, []
        if not position.file:
            now_ms = self._wall_ms()
            line, position = begin_file(position, self._origin, now_ms)
            records.append(self._record(line, now_ms, {}, ""))
        for entry in entries:
            line, position = append(position, entry)
            trace_id = "" if isinstance(entry, Dropped) else entry.trace_id
            records.append(self._record(line, entry.at_ms, _attributes(entry), trace_id))
        try:
            result = self._exporter.export(records)
        except Exception as error:  # whatever it is: the records are not known to be there
            raise SinkFailed(f"the exporter failed: {type(error).__name__}") from None
        if result is not LogRecordExportResult.SUCCESS:
            raise SinkFailed("the receiver of OTLP logs cannot be reached, or refuses them")
        self._position = position

    def _record(self, line: bytes, at_ms: int, attributes: Mapping[str, str | int], trace_id: str) -> ReadableLogRecord:
        record = LogRecord(
            timestamp=at_ms * 1_000_000,
            context=set_span_in_context(NonRecordingSpan(_span_context(trace_id))),
            severity_text="INFO",
            severity_number=SeverityNumber.INFO,
            body=line.decode().rstrip("\n"),
            attributes=dict(attributes),
            event_name=EVENT_NAME,
        )
        return ReadableLogRecord(record, self._resource, SCOPE)


def _attributes(entry: Entry) -> dict[str, str | int]:
    if isinstance(entry, Dropped):
        return {"collectionstore.audit.dropped": entry.count}
    named: dict[str, str | int] = {
        "user.name": entry.user,
        "client.address": entry.address,
        "db.collection.name": entry.resource,
        "db.operation.name": entry.operation,
        "collectionstore.verb": entry.verb,
        "collectionstore.outcome": entry.outcome,
        "http.response.status_code": entry.status,
    }
    return {name: value for name, value in named.items() if value != ""}


def _span_context(trace_id: str) -> SpanContext:
    try:
        number = int(trace_id, 16) if len(trace_id) == 32 else 0
    except ValueError:
        number = 0
    return SpanContext(number, 0, is_remote=False, trace_flags=TraceFlags(0))
