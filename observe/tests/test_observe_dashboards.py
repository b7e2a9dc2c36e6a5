"""Tests of reading dashboards and of putting values for variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collectionstore_observe.dashboards import Variable, load, substitute
from collectionstore_observe.errors import ObserveFailed


@pytest.mark.parametrize("form", ["$cluster", "${cluster}", "${cluster:regex}", "[[cluster]]"])
def test_a_variable_is_replaced_in_every_form(form: str) -> None:
    assert substitute(f'up{{cluster=~"{form}"}}', {"cluster": "demo"}) == 'up{cluster=~"demo"}'


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(ObserveFailed, match=r"\$shard has no value"):
        substitute('up{shard="$shard"}', {"cluster": "demo"})


def test_panels_in_a_row_variables_and_annotations_are_found(made: Any) -> None:
    inner = {"title": "in", "type": "stat", "gridPos": {"x": 0, "y": 9, "w": 4, "h": 4}}
    row = {"title": "row", "type": "row", "gridPos": {"x": 0, "y": 8, "w": 24, "h": 1}}
    page = made(
        {},
        panels=[{**row, "panels": [{**inner, "targets": [{"refId": "A", "expr": "a", "instant": True}]}]}],
        templating={
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {"name": "cluster", "type": "query", "query": 'label_values(up{job=~"a,b"}, cluster)'},
                {"name": "job", "type": "query", "query": {"query": "label_values(job)"}},
            ]
        },
        annotations={"list": [{"name": "built in"}, {"name": "changes", "expr": "changes(b[1m])"}]},
    )
    assert [panel.title for panel in page.panels] == ["row", "in"]
    assert page.panels[1].targets[0].instant
    assert page.variables == (Variable("cluster", 'up{job=~"a,b"}', "cluster"), Variable("job", "", "job"))
    assert list(page.expressions()) == ["a", "changes(b[1m])"]


def test_a_series_is_called_by_its_legend_or_its_labels(made: Any) -> None:
    target = made({"one": "up"}).panels[0].targets[0]
    assert target.name({"instance": "demo-0", "job": "a"}) == "demo-0"
    assert target.name({"job": "a"}) == ""


def test_what_is_no_dashboard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"title": "without panels"}')
    with pytest.raises(ObserveFailed, match=r"broken\.json is not a dashboard"):
        load([path])
    with pytest.raises(ObserveFailed, match="no dashboards"):
        load([])
