"""`Finished` counts the answers of one callback together, exactly as one by one."""

from __future__ import annotations

import pytest

from collectionstore_node.api.stream.finished import Finished
from collectionstore_node.metrics import HttpSeries, member_metrics
from collectionstore_telemetry.metrics.registry import Metrics

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ANSWERS = [("put", 200, 0.004), ("get", 200, 0.04), ("put", 201, 0.4), ("put", 200, 0.0001), ("put", 200, 70.0)]


def _counting() -> tuple[Metrics, Finished]:
    metrics = member_metrics(enabled=True)
    series = HttpSeries(metrics, inflight_max=1)
    return metrics, Finished({kind: series.route("/s", kind) for kind in ("put", "get")})


def _counted(metrics: Metrics) -> list[object]:
    found: list[object] = []
    for kind in ("put", "get"):
        seconds = metrics.histogram("http_request_duration_seconds", "/s", kind)
        found += [seconds.in_bucket, pytest.approx(seconds.sum), sorted(seconds.exemplars)]
        found += [metrics.counter("http_requests_total", "/s", kind, status).value for status in ("200", "201")]
    return found


def test_counts_together_what_it_counts_one_by_one() -> None:
    alone, one_by_one = _counting()
    together, collecting = _counting()
    for answer in ANSWERS:
        one_by_one.count(*answer)
    with collecting:
        for answer in ANSWERS:
            collecting.count(*answer)
    assert _counted(together) == _counted(alone)
    assert together.counter("http_requests_total", "/s", "put", "200").value == 3


def test_a_traced_answer_keeps_its_exemplar() -> None:
    metrics, finished = _counting()
    with finished:
        finished.count("put", 200, 0.004, TRACE)
        finished.count("put", 200, 0.004)
    exemplars = metrics.histogram("http_request_duration_seconds", "/s", "put").exemplars
    assert [one.trace_id for one in exemplars.values()] == [TRACE]
    assert metrics.counter("http_requests_total", "/s", "put", "200").value == 2


def test_counts_what_was_answered_before_an_error_and_nothing_twice() -> None:
    metrics, finished = _counting()

    def fail_behind_an_answer() -> None:
        with finished:
            finished.count("put", 200, 0.004)
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fail_behind_an_answer()
    with finished:
        pass
    finished.count("put", 200, 0.004)
    assert metrics.counter("http_requests_total", "/s", "put", "200").value == 2
