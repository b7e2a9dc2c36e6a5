"""The committed dashboards are what the pages say, and keep the conventions; the linter notices what breaks them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from collectionstore_dashboards import catalogue, frame, linting, promql
from collectionstore_dashboards.frame import Page, Row
from collectionstore_dashboards.panels import Column, Query, graph, grid, number

BOARDS = {page.name: json.loads(frame.text(page)) for page in catalogue.PAGES}


def test_committed_files_are_current() -> None:
    command = [sys.executable, "-m", "collectionstore_dashboards", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_keeps_the_conventions(name: str) -> None:
    assert linting.faults(BOARDS[name]) == []


def test_uids_are_stable_and_of_one_page_each() -> None:
    """Links from alerts, bookmarks and wikis rest on them."""
    assert [board["uid"] for board in BOARDS.values()] == [
        "collectionstore-overview",
        "collectionstore-raft",
        "collectionstore-storage",
        "collectionstore-api",
        "collectionstore-operator",
        "collectionstore-fleet",
    ]


def test_the_overview_begins_with_leader_lag_errors_latency_and_capacity() -> None:
    first = [panel["title"] for panel in BOARDS["overview"]["panels"][1:13]]
    assert {"Leader", "Worst lag", "Failing requests", "Write p99", "Read p99", "Least free space"} <= set(first)


def test_a_page_is_the_same_text_every_time() -> None:
    assert [frame.text(page) for page in catalogue.PAGES] == [frame.text(page) for page in catalogue.PAGES]


def board_of(expr: str) -> dict[str, Any]:
    panel = graph("Title", "A sentence.", "s", Query(expr, "legend"), width=24)
    made: dict[str, Any] = json.loads(frame.text(Page("x", "X", "About x.", (Row("Row", (panel,)),))))
    return made


SCOPE = 'namespace=~"$namespace", cluster=~"$cluster"'

BAD_QUERIES = {
    "is a counter and shown raw": f"a_total{{{SCOPE}}}",
    "is not looked at over $__rate_interval": f"rate(a_total{{{SCOPE}}}[5m])",
    "is no counter, but rate is taken of it": f"rate(a_bytes{{{SCOPE}}}[$__rate_interval])",
    "is not selected by $cluster": 'a_bytes{namespace=~"$namespace"}',
    "is not selected by $namespace": 'a_bytes{cluster=~"$cluster", namespace="data"}',
    "is not selected by job": f"process_open_fds{{{SCOPE}}}",
    "a quantile of buckets without le": f"histogram_quantile(0.9, sum(rate(a_bucket{{{SCOPE}}}[$__rate_interval])))",
    "without le:": f"histogram_quantile(0.9, sum without (le) (rate(a_bucket{{{SCOPE}}}[$__rate_interval])))",
    "unclosed left parenthesis": "sum(",
    "has a window in max_over_time": f"max_over_time(a_bytes{{{SCOPE}}}[1h])",
}


@pytest.mark.parametrize("fault", BAD_QUERIES)
def test_a_bad_query_is_named(fault: str) -> None:
    found = linting.faults(board_of(BAD_QUERIES[fault]))
    assert len(found) == 1
    assert fault in found[0]


def _first(board: Any) -> Any:
    return board["panels"][1]


BREAKAGES: dict[str, Callable[[Any], None]] = {
    "no title": lambda board: _first(board).update(title=""),
    "no description": lambda board: _first(board).update(description="words"),
    "no unit": lambda board: _first(board)["fieldConfig"]["defaults"].update(unit=""),
    "has no query": lambda board: _first(board).update(targets=[]),
    "does not ask ${datasource}": lambda board: _first(board).update(datasource={"type": "prometheus", "uid": "p1"}),
    "a query does not ask": lambda board: _first(board)["targets"][0].update(datasource={"uid": "p1"}),
    "no legend": lambda board: _first(board)["targets"][0].update(legendFormat=""),
    "wider than the page": lambda board: _first(board)["gridPos"].update(x=1),
    "covers": lambda board: _first(board)["gridPos"].update(y=0),
    "same id": lambda board: _first(board).update(id=1),
    "the uid does not begin": lambda board: board.update(uid="mine"),
    "has an id or inputs": lambda board: board.update(id=7),
    "can be edited": lambda board: board.update(editable=True),
    "no tag or no links": lambda board: board.update(links=[]),
    "the variables are not": lambda board: board["templating"]["list"].pop(),
    "not asked again": lambda board: board["templating"]["list"][1].update(refresh=1),
    "clusters are not filtered": lambda board: board["templating"]["list"][2].update(query="label_values(a, cluster)"),
    "does not list the label": lambda board: board["templating"]["list"][1].update(query="label_values(a, cluster)"),
    "All is not": lambda board: board["templating"]["list"][3].update(allValue=".+"),
    "choose a Prometheus": lambda board: board["templating"]["list"][0].update(query="loki"),
    "the annotations are not": lambda board: board["annotations"]["list"].pop(),
    "annotation Upgrades": lambda board: board["annotations"]["list"][1].update(enable=False),
}


@pytest.mark.parametrize("fault", BREAKAGES)
def test_what_breaks_a_convention_is_named(fault: str) -> None:
    board = board_of(f"a_bytes{{{SCOPE}}}")
    assert linting.faults(board) == []
    broken = copy.deepcopy(board)
    BREAKAGES[fault](broken)
    found = linting.faults(broken)
    assert any(fault in one for one in found), found


def test_selectors_are_read_with_labels_window_and_function() -> None:
    (use,) = promql.uses('1 - (sum by (a) (rate(x_total{b=~"$c", d!="e"}[$__rate_interval])))')
    assert use == promql.Use("x_total", {"b": "=~$c", "d": "!=e"}, promql.RATE_INTERVAL, "rate")
    assert promql.series("a / on (x) b offset 5m > bool 1 or max_over_time((c + d)[1h:5m])") == {"a", "b", "c", "d"}


def test_a_table_has_a_column_for_each_query_and_no_time() -> None:
    columns = (Column("One", "a", "none"), Column("Two", "b", "s"))
    made = json.loads(frame.text(Page("x", "X", "About x.", (Row("Row", (grid("T", "D.", *columns, keys=("k",)),)),))))[
        "panels"
    ][1]
    assert [target["format"] for target in made["targets"]] == ["table", "table"]
    assert [step["id"] for step in made["transformations"]] == ["merge", "organize"]
    options = made["transformations"][1]["options"]
    assert options["renameByName"] == {"Value #A": "One", "Value #B": "Two"}
    assert options["excludeByName"] == {"Time": True}
    assert options["indexByName"] == {"k": 0, "Value #A": 1, "Value #B": 2}


def test_a_number_says_what_stands_there_without_a_value() -> None:
    panel = number("N", "D.", "s", Query("a", "a"), otherwise="none")
    made = json.loads(frame.text(Page("x", "X", "About x.", (Row("Row", (panel,)),))))["panels"][1]
    defaults = made["fieldConfig"]["defaults"]
    assert defaults["noValue"] == "none"
    # A quantile of no observations is an answer, and not a number.
    assert [(one["type"], one["options"]["match"]) for one in defaults["mappings"]] == [("special", "nan")]
    assert defaults["mappings"][0]["options"]["result"]["text"] == "none"
