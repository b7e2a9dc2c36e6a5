"""The spans of rounds: attributes of plan and actions, and no span for a round without changes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from collectionstore_operator.errors import ActionRefused, FieldError, InvalidResource
from collectionstore_operator.observability.tracing.exporting import Exporting
from collectionstore_operator.observability.tracing.starting import traced
from collectionstore_operator.reconcile.loop import Pace, Reconciler, Round
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.tests.reconcile.test_loop import MemoryRuntime
from collectionstore_telemetry.tracing.active import active, add_trace_ids, trace_id
from collectionstore_telemetry.tracing.settings import TRACES_OFF, TraceSettings

AT_ONCE = Pace(busy_s=0.0, idle_s=0.0, backoff_max_s=0.0)


class Traced:
    """A loop over a runtime in memory, and the spans it has made."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._spans = InMemorySpanExporter()
        self.exporting = Exporting(self._spans, {"service.name": "test"}, self._count, spans_max=600)
        self.runtime = MemoryRuntime()

    async def rounds(self, count: int) -> list[list[ReadableSpan]]:
        """Run rounds and return the spans of each, the root last."""
        outcomes: list[Round] = []
        found: list[list[ReadableSpan]] = []

        def finished(outcome: Round) -> None:
            outcomes.append(outcome)
            self.exporting.flush()
            found.append(list(self._spans.get_finished_spans()))
            self._spans.clear()
            if len(outcomes) == count:
                self.runtime.resource = None

        trace = self.exporting.rounds(namespace="shop", name="demo")
        await Reconciler(self.runtime, pace=AT_ONCE, finished=finished, trace=trace).run()
        return found[:count]

    def _count(self, result: str, spans: int) -> None:
        self.counts[result] += spans


@pytest.fixture
def loop() -> Iterator[Traced]:
    one = Traced()
    yield one
    one.exporting.close()


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_round_that_acts_tells_its_plan_and_every_action(loop: Traced) -> None:
    ((*inner, root),) = await loop.rounds(1)
    reported = attributes(root)
    assert root.name == "reconcile"
    assert reported["k8s.namespace.name"] == "shop"
    assert reported["collectionstore.cluster.name"] == "demo"
    assert reported["collectionstore.generation"] == 2
    assert reported["collectionstore.reconcile.result"] == "Acted"
    plan = reported["collectionstore.plan"]
    assert isinstance(plan, tuple)
    assert len(plan) == reported["collectionstore.plan.steps"]
    assert plan[0].startswith("EstablishIdentity demo: ")
    for name in ("read resource", "hold lease", "observe", "plan", "publish status", "EstablishIdentity"):
        (span,) = (one for one in inner if one.name == name)
        assert span.parent is not None
        assert root.context is not None
        assert span.parent.span_id == root.context.span_id
        assert root.start_time is not None
        assert span.start_time is not None
        assert span.start_time >= root.start_time
    (action,) = (one for one in inner if one.name == "EstablishIdentity")
    assert attributes(action)["collectionstore.action.subject"] == "demo"


async def test_rounds_without_news_leave_no_spans(loop: Traced) -> None:
    """The runtime's nodes never start: the loop observes repeatedly, and plans the same."""
    rounds = await loop.rounds(6)
    acted = [bool(spans) for spans in rounds]
    assert acted[0]
    assert acted[-3:] == [False, False, False]


async def test_an_action_that_is_refused_is_an_error_of_its_span_and_of_the_round(loop: Traced) -> None:
    loop.runtime.refused = "EstablishIdentity"
    ((*inner, root),) = await loop.rounds(1)
    (action,) = (one for one in inner if one.name == "EstablishIdentity")
    for span in (action, root):
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"] == ActionRefused.__name__


async def test_a_look_that_fails_is_an_error_of_that_step(loop: Traced) -> None:
    loop.runtime.blindness = RuntimeError("secret detail")
    ((*inner, root),) = await loop.rounds(1)
    assert [span.name for span in inner] == ["read resource", "hold lease", "observe"]
    assert attributes(inner[2])["error.type"] == "RuntimeError"
    assert attributes(root)["collectionstore.reconcile.result"] == "Failed"
    assert not any("secret" in f"{attributes(span)} {span.events}" for span in (*inner, root))


async def test_a_resource_that_is_wrong_is_told_once(loop: Traced) -> None:
    loop.runtime.resource = InvalidResource([FieldError("spec.replicas", "4 tolerate no more than 3", "3, 5, 7 or 9")])
    rounds = await loop.rounds(2)
    assert [bool(spans) for spans in rounds] == [True, False]


async def test_requests_to_nodes_are_children_of_the_action(loop: Traced) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("traceparent"))
        return web.json_response({})

    application = web.Application()
    application.router.add_post("/api/v1/cluster/bootstrap", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    trace = loop.exporting.rounds(namespace="shop", name="demo")
    async with NodeClient() as client:
        with trace.action("Bootstrap", "demo-0", "no member has data"):
            inside, ids = trace_id(), add_trace_ids(None, "info", {})
            await client.bootstrap(url, epoch=1)
        await client.bootstrap(url, epoch=1)
    await runner.cleanup()
    assert active.get() is None
    assert seen == [f"00-{ids['trace_id']}-{ids['span_id']}-01", None]
    assert ids["trace_id"] == inside


async def test_what_is_not_sampled_is_not_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    loop = Traced()
    with loop.exporting.rounds(namespace="", name="demo").action("Bootstrap", "demo-0", "no member has data"):
        assert active.get() is None
        assert add_trace_ids(None, "info", {}) == {}
    assert await loop.rounds(1) == [[]]
    loop.exporting.close()


async def test_nothing_is_traced_unless_it_is_wanted_and_can_be() -> None:
    for unwanted in (TRACES_OFF, TraceSettings(refused="the endpoint is not a URL")):
        async with traced(unwanted, identity="one", count=lambda result, spans: None) as trace:
            one = trace("shop", "demo")
            with one.action("Bootstrap", "demo-0", "no member has data"):
                assert active.get() is None


def test_nothing_of_opentelemetry_is_imported_while_traces_are_off() -> None:
    code = (
        "import sys, collectionstore_operator.__main__, collectionstore_local.supervisor.supervisor;"
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
