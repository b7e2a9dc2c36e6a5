"""Tests of the verdict on a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collectionstore_observe.breaking import Fired
from collectionstore_observe.findings import Findings
from collectionstore_observe.panels import Verdict
from collectionstore_observe.series import Use


def test_a_run_without_problems_is_good_and_tells_its_counts() -> None:
    findings = Findings(
        dashboards=2,
        panels=Verdict(checked=7, silent=["one"]),
        series=Use(9, (), ("a",), ()),
        fired=[Fired("Down", "a follower hangs", 5.2, 2.9, ("Risk",))],
    )
    assert findings.good
    assert [line.split()[:3] for line in findings.lines()[:2]] == [["panels", "checked", "7"], ["panels", "empty", "0"]]
    assert (
        "  Down: a follower hangs; fired after 5 s, cleared 3 s after the end of it; with it Risk" in findings.lines()
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda findings: findings.panels.empty.append("x"),
        lambda findings: findings.panels.failed.append("x"),
        lambda findings: setattr(findings, "series", Use(1, ("x",), (), ())),
        lambda findings: setattr(findings, "series", Use(1, (), (), ("x",))),
        lambda findings: findings.faults.append("x"),
    ],
)
def test_anything_wrong_makes_a_run_fail_and_is_told(spoil: Callable[[Findings], None]) -> None:
    findings = Findings()
    spoil(findings)
    assert not findings.good
    assert any(line.startswith("PROBLEM") and "x" in line for line in findings.lines())
