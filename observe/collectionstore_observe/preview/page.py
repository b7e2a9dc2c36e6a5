"""A dashboard as a page of HTML that needs nothing else: panels where the dashboard puts them, figures as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from collectionstore_observe.api import Window
from collectionstore_observe.dashboards import Panel, Place
from collectionstore_observe.panels import Answer, Page
from collectionstore_observe.preview import figures
from collectionstore_observe.preview.figures import Box, Line
from collectionstore_observe.preview.style import Style
from collectionstore_observe.preview.tables import table

WIDTH: Final = 1600
_HEAD: Final = 64
_ROW: Final = 38
"""Height of a row of the grid, gap included; Grafana's."""
_GAP: Final = 8
_TITLE: Final = 24
_LEGEND: Final = 18
_MANY: Final = 12
"""A legend names this many series at most."""
_CSS: Final = """
* { box-sizing: border-box; }
body { margin: 0; background: #f3f5f9; font: 12px "DejaVu Sans", "Liberation Sans", sans-serif; color: #1f2733; }
h1 { font-size: 19px; margin: 0; position: absolute; left: 16px; top: 12px; }
.note { position: absolute; left: 16px; top: 40px; color: #5b6472; }
.panel { position: absolute; background: #fff; border: 1px solid #dde2ea; border-radius: 4px; overflow: hidden; }
.title { height: 24px; padding: 5px 10px 0; font-weight: 600; white-space: nowrap; }
.row { position: absolute; font-size: 15px; font-weight: 600; padding: 8px 2px; }
.legend { height: 18px; padding: 0 10px; white-space: nowrap; overflow: hidden; font-size: 11px; color: #3c4553; }
.legend i { display: inline-block; width: 12px; height: 3px; margin: 0 4px 3px 0; }
.legend span { margin-right: 12px; }
.tiles { display: flex; height: calc(100% - 24px); gap: 2px; }
.tile { flex: 1; position: relative; color: #fff; text-align: center; min-width: 0; display: flex;
  flex-direction: column; justify-content: center; }
.tile b { font-size: 24px; font-weight: 600; white-space: nowrap; position: relative; }
.tile small { font-size: 11px; opacity: 0.9; position: relative; }
.spark { position: absolute; left: 0; bottom: 0; }
.none { color: #8a93a3; text-align: center; padding-top: 20px; font-size: 15px; }
.error { color: #d44a3a; padding: 10px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid #e6e9ef; }
svg text { font-size: 10.5px; }
"""


def height(page: Page) -> int:
    """Return how many pixels high a page is."""
    return _HEAD + _ROW * max((one.place.y + one.place.height for one in page.dashboard.panels), default=0) + _GAP


def html(page: Page, window: Window) -> str:
    """Return a page."""
    marks = [at for answer in page.annotations for series in answer.series for at, _ in series.points]
    bodies = [
        _placed(panel, answers, window, marks)
        for panel, answers in zip(page.dashboard.panels, page.answers, strict=True)
    ]
    span = " to ".join(datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") for at in (window.start, window.end))
    return (
        f'<!doctype html><meta charset="utf-8"><title>{escape(page.dashboard.title)}</title><style>{_CSS}</style>'
        f"<h1>{escape(page.dashboard.title)}</h1>"
        f'<div class="note">a preview, drawn without Grafana · {span} UTC · dashed: annotations</div>{"".join(bodies)}'
    )


def _placed(panel: Panel, answers: Sequence[Answer], window: Window, marks: Sequence[float]) -> str:
    x, y, width, tall = _pixels(panel.place)
    where = f"left:{x}px;top:{y}px;width:{width}px;height:{tall}px"
    if panel.kind == "row":
        return f'<div class="row" style="{where}">{escape(panel.title)}</div>'
    body = _body(panel, answers, Box(width - 2, tall - _TITLE - 2, window), marks)
    return f'<div class="panel" style="{where}"><div class="title">{escape(panel.title)}</div>{body}</div>'


def _pixels(place: Place) -> tuple[int, int, int, int]:
    column = (WIDTH - _GAP) / 24
    return (
        round(_GAP + place.x * column),
        _HEAD + place.y * _ROW,
        round(place.width * column - _GAP),
        place.height * _ROW - _GAP,
    )


def _body(panel: Panel, answers: Sequence[Answer], box: Box, marks: Sequence[float]) -> str:
    errors = [one.error for one in answers if one.error]
    if errors:
        return f'<div class="error">{escape(" · ".join(errors))}</div>'
    found = [Line(answer.target.name(one.labels), one.points) for answer in answers for one in answer.series]
    style = Style(panel.definition)
    if panel.kind == "stat":
        return _tiles(panel, found, box)
    if not found:
        return f'<div class="none">{escape(style.missing)}</div>'
    if panel.kind == "table":
        return table(panel.definition, answers)
    styles = [Style(panel.definition, line.name) for line in found]
    if panel.kind == "state-timeline":
        return figures.states(found, styles, box)
    if panel.kind == "timeseries":
        plot = Box(box.width, box.height - _LEGEND, box.window)
        colours = figures.colours(styles)
        return figures.lines(found, colours, style, plot, marks) + _legend(found, colours)
    return f'<div class="error">the preview cannot draw a {escape(panel.kind)}</div>'


def _legend(found: Sequence[Line], colours: Sequence[str]) -> str:
    named = [
        f'<span><i style="background:{colour}"></i>{escape(line.name)}</span>'
        for line, colour in list(zip(found, colours, strict=True))[:_MANY]
    ]
    return f'<div class="legend">{"".join(named)}</div>'


def _tiles(panel: Panel, found: Sequence[Line], box: Box) -> str:
    # What a stat panel shows is the present: a series that has ended is not among it.
    newest = box.window.end - 2 * box.window.step_s
    current = [line for line in found if line.points[-1][0] >= newest]
    if not current:
        tile = f'<div class="tile" style="background:#8a93a3"><b>{escape(Style(panel.definition).missing)}</b></div>'
        return f'<div class="tiles">{tile}</div>'
    mode = panel.definition.get("options", {}).get("textMode", "auto")
    area = panel.definition.get("options", {}).get("graphMode") == "area"
    tiles = []
    for line in current:
        look = Style(panel.definition, line.name).look(line.points[-1][1])
        shown = line.name if mode == "name" else look.text
        below = f"<small>{escape(line.name)}</small>" if mode != "name" and len(current) > 1 else ""
        behind = figures.spark(line, "#ffffff", Box(box.width // len(current), 26, box.window)) if area else ""
        tiles.append(f'<div class="tile" style="background:{look.colour}">{behind}<b>{escape(shown)}</b>{below}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'
