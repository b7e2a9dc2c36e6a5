"""The sink of OTLP logs, by the exporter of OpenTelemetry, to a receiver on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from collectionstore_node.audit.events import Dropped
from collectionstore_node.audit.otlp import OtlpSink
from collectionstore_node.audit.sinks import SinkFailed
from collectionstore_node.tests.audit.recorded import CHAIN, ORIGIN, event

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Receiver:
    """A receiver of OTLP logs."""

    def __init__(self) -> None:
        self.requests: list[ExportLogsServiceRequest] = []
        self.status = 200
        self.url = ""
        application = web.Application()
        application.router.add_post("/v1/logs", self._receive)
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Receiver:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1/logs"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = ExportLogsServiceRequest()
        body.ParseFromString(await request.read())
        if self.status == 200:
            self.requests.append(body)
        return web.Response(
            status=self.status,
            body=ExportLogsServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as made:
        yield made


@pytest.fixture
async def sink(receiver: Receiver) -> AsyncIterator[OtlpSink]:
    exporter = OTLPLogExporter(endpoint=receiver.url, timeout=1)
    made = OtlpSink(exporter, {"service.name": "node"}, ORIGIN, chain=CHAIN, wall_ms=lambda: 7)
    yield made
    await made.close()


async def test_a_record_is_a_log_whose_body_is_the_line(sink: OtlpSink, receiver: Receiver) -> None:
    await sink.send([event(1, trace_id=TRACE), Dropped(8, 3)])
    await sink.send([event(2, trace_id="nonsense")])
    resources = [one for request in receiver.requests for one in request.resource_logs]
    named = {one.key: one.value.string_value for one in resources[0].resource.attributes}
    assert named["service.name"] == "node"
    logs = [log for one in resources for scope in one.scope_logs for log in scope.log_records]
    lines = [json.loads(log.body.string_value) for log in logs]
    assert [line["type"] for line in lines] == ["header", "request", "dropped", "request"]
    for before, line in zip(lines, lines[1:], strict=False):  # noqa: RUF007 - of two lists
        assert line["prev"] == before["hash"]
    attributes = {one.key: one.value for one in logs[1].attributes}
    assert attributes["user.name"].string_value == "ada"
    assert attributes["db.collection.name"].string_value == "books"
    assert attributes["http.response.status_code"].int_value == 200
    assert logs[1].trace_id.hex() == TRACE
    assert logs[1].time_unix_nano == event(1).at_ms * 1_000_000
    assert logs[1].event_name == "collectionstore.audit"
    assert sink.position.sequence == 3


async def test_what_a_receiver_refuses_is_a_failure_and_is_sent_again(sink: OtlpSink, receiver: Receiver) -> None:
    receiver.status = 400
    with pytest.raises(SinkFailed, match="refuses"):
        await sink.send([event(1)])
    assert sink.position.sequence == 0
    receiver.status = 200
    await sink.send([event(1)])
    assert sink.position.sequence == 1


async def test_a_receiver_that_is_not_there_is_a_failure() -> None:
    exporter = OTLPLogExporter(endpoint="http://127.0.0.1:1/v1/logs", timeout=0.2)
    sink = OtlpSink(exporter, {}, ORIGIN, chain=CHAIN, wall_ms=lambda: 7)
    with pytest.raises(SinkFailed):
        await sink.send([event(1)])
    await sink.close()
