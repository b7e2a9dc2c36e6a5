"""Recorders: observations together are counted as one by one."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from collectionstore_telemetry.metrics.recorders import Histogram, NoopHistogram

EDGES = (0.001, 0.01, 0.1, 1.0)


@given(st.lists(st.sampled_from([0.0, *EDGES, 2.0]) | st.floats(0, 3)))
def test_observing_all_counts_each_value_in_its_bucket(values: list[float]) -> None:
    """On the edges, below the first, above the last, and none at all."""
    one_by_one, together = Histogram(EDGES), Histogram(EDGES)
    for value in values:
        one_by_one.observe(value)
    together.observe_all(list(values))
    assert together.in_bucket == one_by_one.in_bucket
    assert math.isclose(together.sum, one_by_one.sum, abs_tol=1e-9)
    assert not together.exemplars


def test_disabled_histogram_counts_nothing() -> None:
    """Metrics are disabled: the same call, nothing counted."""
    histogram = NoopHistogram(EDGES)
    histogram.observe_all([0.5, 0.05])
    assert sum(histogram.in_bucket) == 0
