"""Tests of the pictures: texts in units, colours, and what stands on a page."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_observe.api import Series, Window
from collectionstore_observe.dashboards import Dashboard
from collectionstore_observe.panels import Answer, Page
from collectionstore_observe.preview import page
from collectionstore_observe.preview.figures import Box, Scale
from collectionstore_observe.preview.style import COLOURS, Style, format_value

WINDOW = Window(1000.0, 1060.0, 5.0)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0032, "s", "3.2 ms"),
        (0, "s", "0 s"),
        (90 * 86_400, "s", "90 d"),
        (512, "bytes", "512 B"),
        (3 * 2**20, "Bps", "3 MiB/s"),
        (0.1234, "percentunit", "12.3 %"),
        (1500, "reqps", "1.5k req/s"),
        (42, "none", "42"),
        (float("inf"), "short", "∞"),
    ],
)
def test_values_are_told_in_their_unit(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_thresholds_mappings_and_overrides_decide_text_and_colour() -> None:
    definition = {
        "fieldConfig": {
            "defaults": {
                "unit": "none",
                "thresholds": {"steps": [{"color": "green", "value": None}, {"color": "red", "value": 2}]},
                "mappings": [{"type": "value", "options": {"1": {"text": "leads", "color": "blue"}}}],
            },
            "overrides": [
                {"matcher": {"id": "byName", "options": "time"}, "properties": [{"id": "unit", "value": "s"}]}
            ],
        }
    }
    style = Style(definition)
    assert (style.look(0).text, style.look(0).colour) == ("0", COLOURS["green"])
    assert (style.look(1).text, style.look(1).colour) == ("leads", COLOURS["blue"])
    assert style.look(2).colour == COLOURS["red"]
    assert Style(definition, "time").look(3).text == "3 s"


def test_an_axis_has_round_ticks_that_hold_all_values() -> None:
    box = Box(400, 200, WINDOW)
    assert Scale(box, 0, 87, logarithmic=False).ticks() == [0, 25, 50, 75, 100]
    assert Scale(box, 0, 90 * 2**20, logarithmic=False, base=1024).ticks()[1] == 25 * 2**20
    logarithmic = Scale(box, 0.004, 3, logarithmic=True)
    assert logarithmic.low == pytest.approx(0.001)
    assert logarithmic.high == pytest.approx(10)
    assert logarithmic.y(0.001) > logarithmic.y(0.1) > logarithmic.y(10)


def drawn(dashboard: Dashboard, *series: Series, error: str = "") -> str:
    panel = dashboard.panels[0]
    return page.html(Page(dashboard, ((Answer(panel.targets[0], series, error),),), ()), WINDOW)


@pytest.mark.parametrize("kind", ["timeseries", "stat", "state-timeline"])
def test_a_series_is_on_the_page_with_its_name(made: Any, kind: str) -> None:
    dashboard = made({"title": "up"})
    dashboard.panels[0].definition["type"] = kind
    series = Series({"instance": "demo-<0>"}, tuple((1000.0 + 5 * step, float(step % 3)) for step in range(13)))
    html = drawn(made({}, panels=[{**dashboard.panels[0].definition, "options": {"textMode": "name"}}]), series)
    assert "demo-&lt;0&gt;" in html
    assert "demo-<0>" not in html


def test_a_line_is_broken_where_points_are_missing(made: Any) -> None:
    points = tuple((1000.0 + 5 * step, 1.0) for step in (0, 1, 2, 8, 9, 10))
    assert drawn(made({"title": "up"}), Series({"instance": "a"}, points)).count("<polyline") == 2


def test_nothing_and_errors_are_told(made: Any) -> None:
    assert "no data" in drawn(made({"title": "up"}))
    assert "parse error" in drawn(made({"title": "up"}), error="bad_data: parse error")


def test_the_preview_says_which_kind_it_cannot_draw(made: Any) -> None:
    definition = {**made({"title": "up"}).panels[0].definition, "type": "heatmap"}
    series = Series({}, ((1000.0, 1.0),))
    assert "cannot draw a heatmap" in drawn(made({}, panels=[definition]), series)


def test_a_table_merges_answers_and_names_columns(made: Any) -> None:
    definition = {
        **made({"title": "up"}).panels[0].definition,
        "type": "table",
        "targets": [{"refId": name, "expr": name} for name in ("A", "B")],
        "transformations": [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"job": True},
                    "indexByName": {"Value #B": 0, "cluster": 1, "Value #A": 2},
                    "renameByName": {"Value #A": "Members", "Value #B": "Lag", "cluster": "Cluster"},
                },
            },
        ],
    }
    dashboard = made({}, panels=[definition])
    answers = tuple(
        Answer(target, (Series({"cluster": "demo", "job": target.reference}, ((1000.0, value),)),))
        for target, value in zip(dashboard.panels[0].targets, (3.0, 7.0), strict=True)
    )
    html = page.html(Page(dashboard, (answers,), ()), WINDOW)
    assert "<tr><th>Lag</th><th>Cluster</th><th>Members</th></tr><tr><td>7</td><td>demo</td><td>3</td></tr>" in html
