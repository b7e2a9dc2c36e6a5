"""Tests of the comparison of exported series with those in use."""

from __future__ import annotations

from collectionstore_observe.series import compare, exported, names

EXPOSITION = """\
# HELP a_total Counted.
# TYPE a_total counter
a_total{code="200"} 1
# HELP b_seconds Took.
# TYPE b_seconds histogram
b_seconds_bucket{le="+Inf"} 1
b_seconds_count 1
b_seconds_sum 1
# HELP c_total Not yet counted.
# TYPE c_total counter
# HELP d Shown.
# TYPE d gauge
d 1
"""


def test_families_have_the_names_that_queries_use() -> None:
    found = exported(EXPOSITION)
    assert set(found) == {"a_total", "b_seconds", "c_total", "d"}
    assert found["b_seconds"].samples == {"b_seconds_bucket", "b_seconds_count", "b_seconds_sum"}
    assert found["c_total"].samples == {"c_total"}


def test_a_name_in_quotes_is_no_use() -> None:
    assert names(['sum by (d) (rate(a_total{code="b_seconds \\" c_total"}[5m]))']) == {
        "sum",
        "by",
        "d",
        "rate",
        "a_total",
        "code",
        "m",
    }


def test_what_nobody_looks_at_is_found() -> None:
    used = names(["rate(a_total[1m])", "histogram_quantile(0.9, b_seconds_bucket)"])
    use = compare(exported(EXPOSITION), used, {})
    assert (use.exported, use.unused, use.excused, use.stale) == (4, ("c_total", "d"), (), ())


def test_an_excuse_that_is_not_needed_is_found() -> None:
    use = compare(exported(EXPOSITION), names(["a_total", "b_seconds_sum", "d"]), {"c_total": "-", "d": "-", "e": "-"})
    assert (use.unused, use.excused, use.stale) == ((), ("c_total",), ("d", "e"))
