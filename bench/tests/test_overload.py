"""The overload experiment: its rows, its bounds, its command line."""

from __future__ import annotations

import pytest

from collectionstore_bench.overload.experiment import PEAK_AFTER, Row, checks
from collectionstore_bench.overload.options import Options, parse_options


def row(name: str, **changed: object) -> Row:
    fields: dict[str, object] = {
        "name": name,
        "offered": 10_000.0,
        "goodput": 5_000.0,
        "p50": 0.01,
        "p99": 0.04,
        "worst": 0.1,
        "refused": 0.0,
        "refused_p99": None,
        "reads": 0.0,
        "reads_p99": 0.005,
        "reads_refused": 0.0,
        "errors": {},
        "leader_changes": 0,
        "rss_bytes": 100 << 20,
        "leader_cpu": 0.9,
        "others_cpu": 0.8,
        "generator_cpu": 0.1,
        "late_p99_s": 0.0,
        "late_s": 0.0,
        "waited": 0,
    }
    return Row(**(fields | changed))  # type: ignore[arg-type]


def options(*arguments: str) -> Options:
    return parse_options("", arguments)


def test_every_bound_that_is_missed_is_told() -> None:
    peak = row("peak", offered=5_000.0)
    bad = row(
        "2 x peak",
        goodput=3_900.0,
        p99=0.6,
        leader_changes=1,
        rss_bytes=500 << 20,
        errors={"503 overloaded": 2},
    )

    missed = [one.what for one in checks([peak, bad], options()) if one.met is False]

    assert missed == [
        "2 x peak: goodput",
        "2 x peak: p99 of admitted writes",
        "2 x peak: memory beyond the peak's",
        "2 x peak: leader changes",
        "2 x peak: answers but 2xx and 503 with Retry-After",
    ]
    assert all(one.met for one in checks([peak, row("2 x peak", refused=5_000.0, goodput=4_100.0)], options()))


def test_an_overload_is_judged_by_the_better_peak() -> None:
    rows = [row("peak", offered=5_000.0), row("2 x peak", goodput=4_100.0), row(PEAK_AFTER, goodput=6_000.0)]

    assert [one.what for one in checks(rows, options()) if one.met is False] == ["2 x peak: goodput"]


def test_a_fixed_rate_above_the_peak_is_not_judged() -> None:
    slow, fast = row("peak", goodput=4_000.0), row("peak", goodput=9_000.0)
    fixed = row("5,000/s", offered=5_000.0, p99=0.06)

    assert [one.met for one in checks([slow, fixed], options()) if "p99" in one.what] == [None, None]
    assert [one.met for one in checks([fast, fixed], options()) if "p99" in one.what] == [False, True]


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--factors", "2,x"], ["--payload", "1"], ["--nodes", "2"]])
def test_wrong_options_end_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*arguments)
    assert ended.value.code == 2
