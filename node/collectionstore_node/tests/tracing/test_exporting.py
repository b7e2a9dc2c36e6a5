"""Which spans of a member are sampled, and in which trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collectionstore_node.tests.tracing.recorded import CLIENT, Recorded
from collectionstore_node.tracing.spans import STAGE_SECONDS


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    one = Recorded()
    yield one
    one.close()


def test_a_linked_span_follows_the_decision_of_what_it_links_to(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that samples nothing of its own takes part in what others sampled."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    tracing = recorded.tracing("n0")
    assert tracing.serve("PUT /", {}) is None
    tracing.record_linked("replicate", [CLIENT], 1.0, 2.0, {}, [("fsync", 1.25, 1.75)])
    (span,) = recorded.spans("n0")
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [("fsync", {STAGE_SECONDS: 0.5})]
    assert recorded.names("n0") == ["replicate"]


def test_a_member_told_to_sample_nothing_at_all_does_not(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    tracing = recorded.tracing("n0")
    assert tracing.start("propose put", CLIENT, "server", {}) is None
    tracing.record_linked("replicate", [CLIENT], 1.0, 2.0, {})
    tracing.record("append", CLIENT, 1.0, 2.0)
    assert recorded.names("n0") == []


def test_the_trace_that_the_sampler_chose_is_the_one_that_is_recorded(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever samples by the same ratio of trace ids chooses the same traces."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    tracing = recorded.tracing("n0")
    spans = [tracing.serve("PUT /", {}) for _ in range(400)]
    chosen = [span for span in spans if span is not None]
    assert 40 < len(chosen) < 160
    for span in chosen:
        assert int(span.trace_id, 16) & (1 << 64) - 1 < 1 << 62
        span.end()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param("00-" + "0" * 32 + "-00f067aa0ba902b7-01", id="zero"),
        pytest.param("00-xyz", id="garbage"),
        pytest.param("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", id="version"),
    ],
)
def test_a_context_that_is_none_begins_a_trace_of_its_own(recorded: Recorded, header: str) -> None:
    tracing = recorded.tracing("n0")
    span = tracing.serve("PUT /", {"traceparent": header})
    assert span is not None
    span.end()
    assert recorded.spans("n0")[0].parent is None


def test_a_client_that_is_not_sampled_is_not_sampled_here(recorded: Recorded) -> None:
    tracing = recorded.tracing("n0")
    assert tracing.serve("PUT /", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}) is None


def test_the_standard_variables_name_the_service(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "orders-store")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    recorded.tracing("n0").record("work", CLIENT, 1.0, 2.0)
    resource = recorded.spans("n0")[0].resource.attributes
    assert resource["service.name"] == "orders-store"
    assert resource["deployment.environment.name"] == "test"
    assert resource["service.instance.id"] == "n0"
