"""The open loop: its schedule, its quantiles, its bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from collectionstore_bench.overload.arrivals import poisson, quantile
from collectionstore_bench.overload.experiment import Row, checks
from collectionstore_bench.overload.generators import divide, join
from collectionstore_bench.overload.options import Options, parse_options
from collectionstore_bench.overload.plan import Plan, Report, Told

PLAN = Plan(
    urls=["http://127.0.0.1:1"],
    connections=10,
    write_rate=3000.0,
    warm_up_s=1.0,
    seconds=2.0,
    keys=10,
    payload_bytes=100,
    seed=5,
)


def test_arrivals_have_their_rate_and_the_spread_of_independent_clients() -> None:
    arrivals = list(poisson(1000.0, 20.0, seed=3))

    assert len(arrivals) == pytest.approx(20_000, rel=0.03)
    assert arrivals == sorted(arrivals)
    assert arrivals[0] >= 0
    assert arrivals[-1] < 20.0
    gaps = [after - before for before, after in pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    # Exponential: the standard deviation is the mean.
    assert variance**0.5 == pytest.approx(mean, rel=0.05)


def test_arrivals_are_those_of_the_seed() -> None:
    assert list(poisson(100.0, 2.0, seed=1)) == list(poisson(100.0, 2.0, seed=1))
    assert list(poisson(100.0, 2.0, seed=1)) != list(poisson(100.0, 2.0, seed=2))


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
)
def test_quantiles_are_of_the_nearest_rank(fraction: float, expected: float) -> None:
    assert quantile([float(number) for number in range(1, 101)], fraction) == expected


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0], 0.99) == 3.0


def test_the_shares_of_a_plan_are_the_plan() -> None:
    shares = divide(PLAN, 3)

    assert [one.connections for one in shares] == [4, 3, 3]
    assert sum(one.write_rate for one in shares) == pytest.approx(PLAN.write_rate)
    assert len({one.seed for one in shares}) == 3


def test_what_generators_found_is_put_together_in_order() -> None:
    reports = [
        Report(
            writes=Told(due=2, latencies=latencies, refusals=[0.1], errors={"lost": 1}),
            reads=Told(),
            late_s=late,
            waited=1,
            cpu_s=0.5,
        )
        for latencies, late in (([0.3, 0.1], 0.0), ([0.2], 0.4))
    ]

    joined = join(reports)

    assert joined.writes.due == 4
    assert joined.writes.latencies == [0.1, 0.2, 0.3]
    assert joined.writes.errors == {"lost": 2}
    assert (joined.late_s, joined.waited, joined.cpu_s) == (0.4, 2, 1.0)


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
        "generator_cpu": 0.1,
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
