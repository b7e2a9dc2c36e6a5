"""What recorders count and how it is exposed: by bucket, by label, with exemplars, and not at all where disabled."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from collectionstore_telemetry.metrics import Exposition, Label, Metrics, Undeclared, process_collectors
from collectionstore_telemetry.metrics.series import counter, gauge, histogram, info

TRACE = "0af7651916cd43dd8448eb211c80319c"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PEER = Label("peer", bound="names of members")
SERIES = (
    info("build", "Version", Label("version", bound="one")),
    counter("failures_total", "Failures by reason", Label("reason", ("full", "late"))),
    counter("sent_bytes_total", "Bytes sent", PEER),
    gauge("term", "Current term"),
    histogram("entry_commands", "Commands per entry", buckets=(1.0, 2.0, 4.0)),
    histogram("round_trip_seconds", "Round-trip time", PEER, buckets=(0.0005, 0.1)),
)
STORED = (gauge("data_bytes", "Size of the files"),)


def parse(text: str, read: Callable[..., Iterable[Metric]]) -> list[Metric]:
    """Return the families of an exposition; prometheus-client's parsers have no annotations."""
    return list(read(text))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a sample as Prometheus reads it, or None."""
    for family in parse(metrics.render(), read_text):
        for sample in family.samples:
            if (sample.name, sample.labels) == (f"collectionstore_{name}", labels):
                return float(sample.value)
    return None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(SERIES)


def test_observation_falls_into_the_bucket_whose_bound_it_does_not_exceed(metrics: Metrics) -> None:
    commands = metrics.histogram("entry_commands")
    for observed in (1, 2, 2, 3, 5_000):
        commands.observe(observed)
    counts = [value(metrics, "entry_commands_bucket", le=edge) for edge in ("1.0", "2.0", "4.0", "+Inf")]
    assert counts == [1, 3, 4, 5]
    assert value(metrics, "entry_commands_count") == 5
    assert value(metrics, "entry_commands_sum") == 5_008


def test_second_call_returns_the_same_recorder(metrics: Metrics) -> None:
    metrics.counter("sent_bytes_total", "demo-1").inc(3)
    metrics.counter("sent_bytes_total", "demo-1").inc(4)
    assert value(metrics, "sent_bytes_total", peer="demo-1") == 7
    assert metrics.gauge("term") is metrics.gauge("term")
    assert metrics.histogram("entry_commands") is metrics.histogram("entry_commands")


def test_counters_with_a_closed_label_set_are_zero_from_the_start(metrics: Metrics) -> None:
    """Without the zero the first failure would be no increase."""
    assert value(metrics, "failures_total", reason="full") == 0
    assert value(metrics, "failures_total", reason="late") == 0
    assert value(metrics, "sent_bytes_total", peer="demo-1") is None


def test_gauge_without_a_value_has_no_sample(metrics: Metrics) -> None:
    term = metrics.gauge("term")
    assert value(metrics, "term") is None
    term.set(0)
    assert value(metrics, "term") == 0
    term.set(None)
    assert value(metrics, "term") is None
    term.set_function(lambda: 7)
    assert value(metrics, "term") == 7


def test_forgotten_label_value_leaves_no_series_behind(metrics: Metrics) -> None:
    for peer in ("demo-1", "demo-2"):
        metrics.counter("sent_bytes_total", peer).inc(1)
        metrics.histogram("round_trip_seconds", peer).observe(0.01)
    metrics.forget("peer", "demo-1")
    assert value(metrics, "sent_bytes_total", peer="demo-1") is None
    assert value(metrics, "round_trip_seconds_count", peer="demo-1") is None
    assert value(metrics, "sent_bytes_total", peer="demo-2") == 1
    assert value(metrics, "round_trip_seconds_count", peer="demo-2") == 1


def test_empty_histogram_of_an_open_label_set_is_left_out(metrics: Metrics) -> None:
    metrics.histogram("round_trip_seconds", "demo-1")
    assert value(metrics, "round_trip_seconds_count", peer="demo-1") is None
    assert value(metrics, "entry_commands_count") is None
    metrics.histogram("entry_commands")
    assert value(metrics, "entry_commands_count") == 0


def test_refresh_runs_before_every_scrape(metrics: Metrics) -> None:
    terms = iter((1, 2))
    metrics.before_scrape(lambda: metrics.gauge("term").set(next(terms)))
    assert [value(metrics, "term"), value(metrics, "term")] == [1, 2]


def test_label_values_are_escaped(metrics: Metrics) -> None:
    metrics.set_info("build", version='1"\\\n')
    assert value(metrics, "build_info", version='1"\\\n') == 1


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda metrics: metrics.counter("unknown_total"), id="unknown-series"),
        pytest.param(lambda metrics: metrics.gauge("failures_total", "full"), id="other-kind"),
        pytest.param(lambda metrics: metrics.counter("failures_total"), id="missing-label"),
        pytest.param(lambda metrics: metrics.counter("failures_total", "full", "late"), id="surplus-label"),
        pytest.param(lambda metrics: metrics.counter("failures_total", "other"), id="value-outside-the-set"),
        pytest.param(lambda metrics: metrics.set_info("build", revision="1"), id="other-fact"),
        pytest.param(lambda metrics: metrics.set_info("unknown"), id="unknown-info"),
    ],
)
def test_what_no_table_declares_cannot_be_counted(metrics: Metrics, wrong: Callable[[Metrics], object]) -> None:
    with pytest.raises(Undeclared):
        wrong(metrics)


def test_disabled_metrics_count_nothing_and_expose_gauges() -> None:
    metrics = Metrics(SERIES, enabled=False)
    failures = metrics.counter("failures_total", "full")
    failures.inc()
    metrics.histogram("entry_commands").observe(1)
    metrics.gauge("term").set(7)
    assert failures.value == 0
    assert value(metrics, "failures_total", reason="full") is None
    assert value(metrics, "entry_commands_count") is None
    assert value(metrics, "term") == 7


async def test_last_traced_observation_is_the_exemplar_of_its_bucket(metrics: Metrics) -> None:
    round_trip = metrics.histogram("round_trip_seconds", "demo-1")
    round_trip.observe(0.0004, "f" * 32)
    round_trip.observe(0.0003, TRACE)
    round_trip.observe(0.2)
    exposition = Exposition(metrics, process=CollectorRegistry())
    plain, plain_type = await exposition.render("")
    text, content_type = await exposition.render(OPENMETRICS)
    exposition.close()
    assert plain_type.startswith("text/plain")
    assert content_type.startswith("application/openmetrics-text")
    assert TRACE.encode() not in plain
    families = {family.name: family for family in parse(text.decode(), read_openmetrics)}
    samples = families["collectionstore_round_trip_seconds"].samples
    traced = {sample.labels["le"]: sample.exemplar for sample in samples if sample.exemplar is not None}
    assert list(traced) == ["0.0005"]
    assert (traced["0.0005"].labels, traced["0.0005"].value) == ({"trace_id": TRACE}, 0.0003)


async def test_both_formats_expose_the_series_of_loop_disk_and_process(metrics: Metrics) -> None:
    metrics.set_info("build", version="1")
    stored = Metrics(STORED)
    stored.before_scrape(lambda: stored.gauge("data_bytes").set(5))
    exposition = Exposition(metrics, process=process_collectors(), blocking=stored)
    plain, _ = await exposition.render("text/plain")
    text, _ = await exposition.render(OPENMETRICS)
    exposition.close()
    names = {family.name.removesuffix("_info") for family in parse(plain.decode(), read_text)}
    assert names == {family.name.removesuffix("_info") for family in parse(text.decode(), read_openmetrics)}
    assert {"collectionstore_build", "collectionstore_data_bytes", "process_cpu_seconds"} <= names
    assert text.endswith(b"# EOF\n")
