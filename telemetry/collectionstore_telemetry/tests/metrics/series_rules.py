"""Rules that every table of series follows, for the tests of each program.

Source: prometheus.io/docs/practices/naming; promtool checks the rest in a real scrape.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from collectionstore_telemetry.metrics import Kind, Series

SCRAPE_LABELS = frozenset({"job", "instance", "pod"})
"""Labels that Prometheus or its scrape configuration adds."""


def assert_names_are_unique(table: Iterable[Series]) -> None:
    names = [series.name for series in table]
    assert len(set(names)) == len(names)


def assert_follows_conventions(series: Series, *, parts: str, reserved: Collection[str] = SCRAPE_LABELS) -> None:
    """Check name, help text, buckets and labels; `parts` is a pattern of the name's first words after the prefix."""
    assert re.fullmatch(rf"collectionstore_{parts}(_[a-z0-9]+)*", series.name)
    assert series.name.endswith("_total") == (series.kind is Kind.COUNTER)
    assert series.help[0].isupper() or series.help[0].isdigit()
    assert not series.help.endswith(".")
    assert not set(series.help) & set('\\\n"'), "help texts are exposed without escaping"
    assert (series.kind is Kind.HISTOGRAM) == bool(series.buckets)
    assert list(series.buckets) == sorted(set(series.buckets))
    assert not {label.name for label in series.labels} & {"le", *reserved}
    for label in series.labels:
        assert bool(label.values) != bool(label.bound), f"{label.name}: either a closed set, or a bound"
