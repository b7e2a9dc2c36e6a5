"""The operator's measurement: the audit log is counted right, the figures add up, and the simulated members answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collectionstore_bench.operator.audit import requests
from collectionstore_bench.operator.control_plane import OPERATOR
from collectionstore_bench.operator.figures import Figures, percentile, summary
from collectionstore_bench.operator.fleet import sample
from collectionstore_bench.operator.options import contenders, parse_options
from collectionstore_bench.operator.stub.members import Group, Member


def line(
    verb: str, resource: str = "pods", *, user: str = OPERATOR, stage: str = "ResponseComplete", **more: Any
) -> bytes:
    found = {"stage": stage, "verb": verb, "user": {"username": user}, "objectRef": {"resource": resource, **more}}
    return json.dumps(found).encode()


def test_requests_of_one_user_are_counted_once_each() -> None:
    lines = [
        line("get"),
        line("get"),
        line("get", user="admin"),
        line("patch", "collectionstoreclusters", subresource="status"),
        line("watch", stage="ResponseStarted"),
        line("watch"),
        json.dumps({"stage": "ResponseComplete", "verb": "get", "user": {"username": OPERATOR}}).encode(),
    ]
    assert requests(lines, OPERATOR) == {
        ("get", "pods"): 2,
        ("patch", "collectionstoreclusters/status"): 1,
        ("watch", "pods"): 1,
        ("get", ""): 1,
    }


def figures(**fields: Any) -> Figures:
    given: dict[str, Any] = {
        "name": "this",
        "commit": "c0ffee",
        "clusters": 10,
        "window_s": 30.0,
        "startup_s": 1.0,
        "startup_cpu_s": 1.0,
        "restarts": 0,
        "rounds": 20,
        "round_p50_ms": 5.0,
        "round_p99_ms": 9.0,
        "cpu_s": 3.0,
        "resident_bytes": 100 << 20,
        "requests": {"get pods": 40, "watch pods": 7},
        "reactions_ms": [10.0, 30.0, 20.0],
    }
    return Figures(**{**given, **fields})


def test_rates_are_per_minute_and_cluster() -> None:
    found = figures()
    assert found.per_minute(found.rounds) == 4.0
    assert found.requests_per_cluster == 8.0, "a watch is one request, however long it lasts"


def test_summary_has_one_column_for_each_operator() -> None:
    text = summary([figures(name="before-1", requests={"list pods": 100}), figures()])
    assert "before-1 (c0ffee)" in text
    assert "this (c0ffee)" in text
    (row,) = [one for one in text.splitlines() if one.startswith("list pods")]
    assert row.split()[-2:] == ["20.00", "0.00"]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 3.0), (0.99, 4.0)])
def test_percentiles(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value
    assert percentile([], share) == 0.0


def test_sample_is_spread_over_all_clusters() -> None:
    names = [("n", str(number)) for number in range(100)]
    assert [name for _, name in sample(names, 4)] == ["0", "25", "50", "75"]
    assert len(sample(names[:2], 4)) == 2


@pytest.mark.parametrize("arguments", [["--clusters", "0"], ["--seconds", "1"], ["--beside", "/nowhere"]])
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options("", arguments)
    assert ended.value.code == 2


def test_this_checkout_is_measured_first() -> None:
    assert [one.name for one in contenders(parse_options("", []))] == ["this"]


def grown() -> Group:
    """Return a cluster of one voter with two pods beside it."""
    group = Group("c1", "0.1.0")
    for ordinal in range(3):
        group.present[f"demo-{ordinal}"] = Member(f"demo-{ordinal}", f"node-{ordinal}")
    assert group.status("demo-0")[1]["state"] == "Uninitialized"
    assert group.bootstrap("demo-0", {"epoch": 1})[0] == 200
    return group


def test_members_form_a_cluster_as_the_operator_asks() -> None:
    group = grown()
    assert group.bootstrap("demo-1", {"epoch": 1})[1]["code"] == "already_bootstrapped"
    added = [
        {"action": "add", "node_id": f"node-{one}", "name": f"demo-{one}", "address": "a", "http_address": "h"}
        for one in (1, 2)
    ]
    assert group.change({"changes": added, "expected_index": 1, "epoch": 1})[0] == 200
    promoted = [{"action": "promote", "node_id": f"node-{one}"} for one in (1, 2)]
    assert group.change({"changes": promoted, "expected_index": 1, "epoch": 1})[1]["code"] == "configuration_changed"
    assert group.change({"changes": promoted, "expected_index": 2, "epoch": 1})[0] == 200
    _, shown = group.status("demo-0")
    assert (shown["role"], shown["configuration"]["voters"]) == ("Leader", ["node-0", "node-1", "node-2"])
    assert len(shown["members"]) == 3
    assert group.change({"changes": [], "expected_index": 3, "epoch": 0})[1]["code"] == "stale_epoch"


def test_another_voter_leads_when_the_leader_is_gone() -> None:
    group = grown()
    group.voters.append("node-1")
    group.known["node-1"] = group.present["demo-1"]
    del group.present["demo-0"]
    assert group.status("demo-1")[1]["role"] == "Leader"
    assert group.term == 2
