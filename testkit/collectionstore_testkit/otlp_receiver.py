"""A receiver of traces as a collector is one: OTLP over HTTP with protobuf bodies. Keeps every span it is sent."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came over the wire; ids in hex, times in nanoseconds since 1970."""

    resource: Mapping[str, object]
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root."""
    links: tuple[tuple[str, str], ...]
    """Trace id and span id of each."""
    attributes: Mapping[str, object]
    events: tuple[str, ...]
    failed: bool
    begins: int
    ends: int

    @property
    def member(self) -> object:
        """Which member made it."""
        return self.resource["service.instance.id"]


class OtlpReceiver:
    """Serves POST /v1/traces on a free port of loopback, in this event loop."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self._news = asyncio.Condition()
        application = web.Application()
        application.router.add_post("/v1/traces", self._receive)
        self._runner = web.AppRunner(application, access_log=None)
        self.url = ""

    async def __aenter__(self) -> OtlpReceiver:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening; a second time is harmless."""
        await self._runner.cleanup()

    async def until(self, condition: Callable[[Sequence[ReceivedSpan]], bool]) -> Sequence[ReceivedSpan]:
        """Wait until the spans received fulfil `condition`, and return them all; raises `TimeoutError`."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: condition(self.spans))
        return list(self.spans)

    def of(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def linked_to(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans that link to one of a trace."""
        return [span for span in self.spans if any(linked == trace_id for linked, _ in span.links)]

    async def _receive(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        for scoped in message.resource_spans:
            resource = _values(scoped.resource.attributes)
            self.spans += [_read(span, resource) for one in scoped.scope_spans for span in one.spans]
        async with self._news:
            self._news.notify_all()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _read(span: ProtoSpan, resource: Mapping[str, object]) -> ReceivedSpan:
    return ReceivedSpan(
        resource=resource,
        name=span.name,
        kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_values(span.attributes),
        events=tuple(event.name for event in span.events),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        begins=span.start_time_unix_nano,
        ends=span.end_time_unix_nano,
    )


def _values(attributes: Sequence[KeyValue]) -> dict[str, object]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


def tree(spans: Sequence[ReceivedSpan]) -> str:
    """Return the spans of one trace as an indented tree, children in the order in which they began."""
    known = {span.span_id for span in spans}
    lines: list[str] = []

    def draw(parents: Sequence[ReceivedSpan], depth: int) -> None:
        for span in sorted(parents, key=lambda one: (one.begins, one.ends, one.name)):
            lines.append(f"{'  ' * depth}{span.member} {span.kind} {span.name}")
            draw([one for one in spans if one.parent_id == span.span_id], depth + 1)

    draw([span for span in spans if span.parent_id not in known], 0)
    return "\n".join(lines)
