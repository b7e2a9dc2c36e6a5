"""The spans of requests: their attributes, what they never contain, and that each ends with its request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import pytest
import structlog
from aiohttp.test_utils import make_mocked_request
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from collectionstore_node.api import HttpLimits
from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.budgets.clients import Clients
from collectionstore_node.api.budgets.sending import Sending
from collectionstore_node.api.budgets.uploads import Uploads
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.dispatcher import Dispatcher
from collectionstore_node.api.http.instruments import Diagnostics, TraceRequest
from collectionstore_node.api.url_table import CLIENT
from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.tracing.recorded import CLIENT as CARRIED
from collectionstore_node.tests.tracing.recorded import CLIENT_TRACE, Recorded
from collectionstore_node.tracing.requests import serve
from collectionstore_telemetry.tracing.active import add_trace_ids, trace_id

TRACEPARENT = {"traceparent": f"00-{CARRIED[:16].hex()}-{CARRIED[16:].hex()}-01"}
DOCUMENT = "/api/v1/collections/people/documents/secret-id"
DOCUMENT_ROUTE = "/api/v1/collections/{collection}/documents/{id}"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    one = Recorded()
    yield one
    one.close()


@pytest.fixture
def trace(recorded: Recorded) -> TraceRequest:
    return partial(serve, recorded.tracing("n0"))


@pytest.fixture
def the_span(recorded: Recorded) -> Callable[[], ReadableSpan]:
    """Returns the one span of a request that was sampled."""

    def find() -> ReadableSpan:
        (span,) = (one for one in recorded.spans("n0") if one.kind is SpanKind.SERVER)
        return span

    return find


async def test_a_sampled_request_has_the_conventional_attributes_and_no_content(
    people: Client, the_span: Callable[[], ReadableSpan]
) -> None:
    body = b'{"name":"secret name"}'
    reply = await people.send(
        "PUT", f"{DOCUMENT}?timeout=5s", body, {**JSON, **TRACEPARENT, "Idempotency-Key": "secret"}
    )
    assert reply.status == 201
    span = the_span()
    assert span.name == f"PUT {DOCUMENT_ROUTE}"
    assert span.context is not None
    assert span.context.trace_id == CLIENT_TRACE
    assert span.parent is not None
    assert dict(span.attributes or {}) == {
        "http.request.method": "PUT",
        "http.route": DOCUMENT_ROUTE,
        "http.response.status_code": 201,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_the_answer_is_what_came_after_the_outcome(people: Client, recorded: Recorded) -> None:
    await people.send("PUT", DOCUMENT, b"{}", {**JSON, **TRACEPARENT})
    answer, request = recorded.spans("n0")
    assert answer.name == "answer"
    assert answer.start_time is not None
    assert request.start_time is not None
    assert request.start_time <= answer.start_time


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/livez", 200, id="probe"),
        pytest.param("/metrics", 200, id="metrics"),
        pytest.param("/nowhere", 404, id="no-route"),
    ],
)
async def test_probes_and_what_has_no_route_are_not_traced(
    client: Client, recorded: Recorded, path: str, status: int
) -> None:
    assert (await client.send("GET", path, headers=TRACEPARENT)).status == status
    assert recorded.spans("n0") == ()


async def test_a_client_that_is_not_sampled_leaves_nothing(people: Client, recorded: Recorded) -> None:
    await people.send("PUT", DOCUMENT, b"{}", {**JSON, "traceparent": TRACEPARENT["traceparent"][:-1] + "0"})
    await people.send("PUT", DOCUMENT, b"{}", JSON)
    assert recorded.spans("n0") == ()


async def test_a_refusal_is_no_error_of_the_server(client: Client, the_span: Callable[[], ReadableSpan]) -> None:
    await client.send("GET", DOCUMENT, headers=TRACEPARENT)
    span = the_span()
    assert (span.attributes or {})["http.response.status_code"] == 404
    assert span.status.status_code is StatusCode.UNSET


async def test_an_unknown_outcome_is_an_error(
    people: Client, replica: MemoryReplica, the_span: Callable[[], ReadableSpan]
) -> None:
    replica.write_error = OutcomeUnknown("not committed within the deadline")
    reply = await people.send("PUT", DOCUMENT, b"{}", {**JSON, **TRACEPARENT})
    span = the_span()
    assert (span.attributes or {})["error.type"] == str(reply.status)
    assert span.status.status_code is StatusCode.ERROR


async def _no_metrics(_accept: str) -> tuple[bytes, str]:
    return b"", ""


async def test_a_request_that_is_cancelled_ends_its_span(
    replica: MemoryReplica,
    metrics: RecordedMetrics,
    trace: TraceRequest,
    recorded: Recorded,
    the_span: Callable[[], ReadableSpan],
) -> None:
    """The server cancels what it still serves when it stops."""
    api = ApiContext(
        store=Store(replica, StoreLimits()),
        limits=HttpLimits(),
        metrics=metrics,
        render_metrics=_no_metrics,
        authorize_admin=lambda request: False,
        tls=False,
        budgets=Budgets(Sending(1 << 20, lambda: 0.0), Uploads(1 << 20, 8, lambda: 0.0), Clients(8)),
        diagnostics=Diagnostics(),
    )
    dispatcher = Dispatcher(api, CLIENT, trace)
    connection = mock.Mock(client=api.budgets.clients.connected("192.0.2.1"))
    request = make_mocked_request("DELETE", DOCUMENT, headers=TRACEPARENT, protocol=connection)
    await dispatcher.handle(make_mocked_request("GET", DOCUMENT, headers=TRACEPARENT, protocol=connection))
    assert trace_id() is None  # in this very task
    recorded.clear()
    replica.hold = asyncio.Event()
    serving = asyncio.create_task(dispatcher.handle(request))
    await replica.entered.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert serving.cancelled()
    assert (the_span().attributes or {})["error.type"] == "cancelled"


async def test_log_lines_and_exemplars_have_the_ids_while_the_request_is_served_and_no_longer(
    people: Client, replica: MemoryReplica, metrics: RecordedMetrics, the_span: Callable[[], ReadableSpan]
) -> None:
    seen: list[tuple[str | None, structlog.typing.EventDict]] = []
    apply = replica.propose

    async def note(*arguments: object, **options: object) -> object:
        seen.append((trace_id(), dict(add_trace_ids(None, "info", {"event": "x"}))))
        return await apply(*arguments, **options)  # type: ignore[arg-type]

    replica.propose = note  # type: ignore[method-assign, assignment]
    await people.send("PUT", DOCUMENT, b"{}", {**JSON, **TRACEPARENT})
    await people.send("PUT", DOCUMENT, b"{}", JSON)
    context = the_span().context
    assert context is not None
    ids = {"trace_id": f"{CLIENT_TRACE:032x}", "span_id": f"{context.span_id:016x}"}
    assert metrics.trace_ids[-2:] == [ids["trace_id"], None]
    assert seen == [(ids["trace_id"], {"event": "x", **ids}), (None, {"event": "x"})]
