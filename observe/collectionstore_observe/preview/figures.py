"""Panels over time, as SVG: lines and areas, and bands of states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from typing import Final

from collectionstore_observe.api import Window
from collectionstore_observe.preview.style import PALETTE, Style, format_value

AXIS: Final = 62
"""Width left of the plot, for the values' texts."""
_WIDEST: Final = 190
"""At most, left of bands, whose names are longer."""
_LETTER: Final = 7
_FOOT: Final = 18
_HALF_A_TIME: Final = 26
_TICKS_Y: Final = 4
_TICKS_X: Final = 6
_GAP_STEPS: Final = 2.5
"""Points further apart than this are not joined."""
_GRID: Final = "#e6e9ef"
_INK: Final = "#5b6472"


@dataclass(frozen=True, slots=True)
class Line:
    """A named series, as it is drawn."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Where a figure may draw, in pixels, and the time it spans."""

    width: int
    height: int
    window: Window
    axis: int = AXIS

    @property
    def bottom(self) -> int:
        return self.height - _FOOT

    def x(self, at: float) -> float:
        """Return the horizontal place of a moment."""
        share = (at - self.window.start) / (self.window.end - self.window.start)
        return self.axis + share * (self.width - self.axis - 8)


class Scale:
    """The vertical axis: from values to pixels, linear or logarithmic."""

    low: float
    high: float

    def __init__(self, box: Box, low: float, high: float, *, logarithmic: bool, base: float = 10.0) -> None:
        self._log = logarithmic and high > 0
        if self._log:
            low = low if low > 0 else high / 1000
            self.low, self.high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
            if self.high <= self.low:
                self.high = self.low * 10
        else:
            self.low, self.high, self._step = _nice(low, high, base)
        self._box = box

    def y(self, value: float) -> float:
        """Return the vertical place of a value; what is off the axis is put at its end."""
        low, high = self.low, self.high
        if self._log:
            value, low, high = (math.log10(max(one, self.low)) for one in (value, low, high))
        share = min(max((value - low) / (high - low), 0), 1)
        return self._box.bottom - share * (self._box.bottom - 6)

    def ticks(self) -> list[float]:
        """Return the values that get a line across the plot."""
        if self._log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1, max(1, (last - first) // _TICKS_Y))]
        return [self.low + number * self._step for number in range(round((self.high - self.low) / self._step) + 1)]


def colours(styles: Sequence[Style]) -> list[str]:
    """Return the colour of each series: its own where the dashboard gives one, else the next of the palette."""
    return [own.fixed_colour or PALETTE[number % len(PALETTE)] for number, own in enumerate(styles)]


def lines(found: Sequence[Line], colour: Sequence[str], style: Style, box: Box, marks: Sequence[float]) -> str:
    """Draw series as lines, stacked areas where the panel says so; `marks` are moments."""
    stacked = style.custom.get("stacking", {}).get("mode") == "normal"
    drawn = _stack(found) if stacked else [(line.points, None) for line in found]
    values = [value for points, _ in drawn for _, value in points if math.isfinite(value)]
    low = style.least if style.least is not None else min([0.0, *values])
    high = style.most if style.most is not None else max(values, default=1.0)
    logarithmic = style.custom.get("scaleDistribution", {}).get("type") == "log"
    if logarithmic:
        low = min((value for value in values if value > 0), default=0.0)
    scale = Scale(
        box, low, high, logarithmic=logarithmic, base=1024.0 if "ytes" in style.unit or "Bps" in style.unit else 10.0
    )
    parts = [*_axes(box, scale, style), *_marks(box, marks), *_thresholds(box, scale, style)]
    fill = style.custom.get("fillOpacity", 0) / 100
    for (points, below), own in zip(drawn, colour, strict=True):
        for piece in _pieces(points, box.window.step_s):
            parts += _drawn(piece, below, own, fill, box, scale)
    return _svg(box, parts)


def states(found: Sequence[Line], styles: Sequence[Style], box: Box) -> str:
    """Draw each series as a band whose colour and text are those of its value."""
    axis = min(_WIDEST, 14 + _LETTER * max(len(line.name) for line in found))
    box = replace(box, axis=axis)
    parts = list(_time_axis(box))
    height = (box.bottom - 4) / max(1, len(found))
    step = box.window.step_s
    for row, (line, style) in enumerate(zip(found, styles, strict=True)):
        y = 4 + row * height
        middle = y + height / 2 + 3.5
        parts.append(_text(axis - 6, middle, line.name[: (_WIDEST - 14) // _LETTER], anchor="end"))
        for start, end, value in _spans(line.points, step):
            look = style.look(value)
            x, width = box.x(start), max(1.0, box.x(min(end, box.window.end)) - box.x(start))
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 1:.1f}" width="{width:.1f}" height="{max(2, height - 3):.1f}" '
                f'fill="{look.colour}"><title>{escape(look.text)}</title></rect>'
            )
            if width > 7 * len(look.text) + 6:
                parts.append(_text(x + 5, middle, look.text, ink="#ffffff"))
    return _svg(box, parts)


def spark(line: Line, colour: str, box: Box) -> str:
    """Draw a line without axes, behind a single value."""
    values = [value for _, value in line.points if math.isfinite(value)]
    low, high = min(values, default=0), max(values, default=1)
    span = (high - low) or 1
    start, width = box.window.start, box.window.end - box.window.start
    places = " ".join(
        f"{(at - start) / width * box.width:.1f},{box.height - (value - low) / span * (box.height - 3) - 1:.1f}"
        for at, value in line.points
    )
    return (
        f'<svg class="spark" width="{box.width}" height="{box.height}">'
        f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5" opacity="0.55"/></svg>'
    )


def _drawn(
    points: Sequence[tuple[float, float]],
    below: dict[float, float] | None,
    colour: str,
    fill: float,
    box: Box,
    scale: Scale,
) -> Iterator[str]:
    places = [f"{box.x(at):.1f},{scale.y(value):.1f}" for at, value in points]
    if len(places) == 1:
        x, y = places[0].split(",")
        yield f'<circle cx="{x}" cy="{y}" r="2" fill="{colour}"/>'
        return
    if fill:
        base = [
            f"{box.x(at):.1f},{scale.y(below.get(at, 0) if below else scale.low):.1f}" for at, _ in reversed(points)
        ]
        yield f'<polygon points="{" ".join([*places, *base])}" fill="{colour}" opacity="{fill:.2f}"/>'
    yield f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _stack(found: Sequence[Line]) -> list[tuple[tuple[tuple[float, float], ...], dict[float, float] | None]]:
    height: dict[float, float] = {}
    drawn: list[tuple[tuple[tuple[float, float], ...], dict[float, float] | None]] = []
    for line in found:
        below = dict(height)
        points = tuple((at, below.get(at, 0.0) + value) for at, value in line.points)
        height |= dict(points)
        drawn.append((points, below))
    return drawn


def _pieces(points: Sequence[tuple[float, float]], step_s: float) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for point in points:
        if piece and point[0] - piece[-1][0] > _GAP_STEPS * step_s:
            yield piece
            piece = []
        piece.append(point)
    if piece:
        yield piece


def _spans(points: Sequence[tuple[float, float]], step_s: float) -> Iterator[tuple[float, float, float]]:
    """Give (start, end, value) of each stretch of equal values."""
    start: tuple[float, float] | None = None
    last = 0.0
    for at, value in points:
        if start is not None and (value != start[1] or at - last > _GAP_STEPS * step_s):
            yield start[0], min(at, last + step_s), start[1]
            start = None
        start = start or (at, value)
        last = at
    if start is not None:
        yield start[0], last + step_s, start[1]


def _axes(box: Box, scale: Scale, style: Style) -> Iterator[str]:
    for value in scale.ticks():
        y = scale.y(value)
        yield f'<line x1="{AXIS}" x2="{box.width - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
        yield _text(AXIS - 6, y + 3.5, format_value(round(value, 12), style.unit), anchor="end")
    yield from _time_axis(box)


def _time_axis(box: Box) -> Iterator[str]:
    span = box.window.end - box.window.start
    every = next((one for one in (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600) if span / one <= _TICKS_X), 7200)
    at = math.ceil(box.window.start / every) * every
    while at <= box.window.end:
        moment = datetime.fromtimestamp(at, UTC)
        if box.x(at) < box.width - _HALF_A_TIME:
            text = moment.strftime("%H:%M:%S" if every < 60 else "%H:%M")
            yield _text(box.x(at), box.height - 4, text, anchor="middle")
        at += every


def _marks(box: Box, marks: Sequence[float]) -> Iterator[str]:
    for at in marks:
        x = box.x(at)
        dashed = 'stroke="#d44a3a" stroke-dasharray="3 3" opacity="0.6"'
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{box.bottom}" {dashed}/>'


def _thresholds(box: Box, scale: Scale, style: Style) -> Iterator[str]:
    if style.custom.get("thresholdsStyle", {}).get("mode", "off") == "off":
        return
    for step in style.steps:
        value = step.get("value")
        if value is not None and scale.low <= value <= scale.high:
            y = scale.y(value)
            dashed = f'stroke="{style.look(value).colour}" stroke-dasharray="6 4"'
            yield f'<line x1="{AXIS}" x2="{box.width - 8}" y1="{y:.1f}" y2="{y:.1f}" {dashed}/>'


def _nice(low: float, high: float, base: float) -> tuple[float, float, float]:
    """Return the ends of an axis and the step between its ticks, in numbers that are round to this base."""
    if high <= low:
        high = low + (abs(low) or 1)
    rough = (high - low) / _TICKS_Y
    power = base ** math.floor(math.log(rough, base))
    round_ones = (1, 2, 2.5, 5, 10, 20, 25, 50, 100, 128, 256, 512, 1024)
    step = next(one * power for one in round_ones if one * power >= rough * 0.999)
    return math.floor(low / step) * step, math.ceil(high / step - 1e-9) * step, step


def _text(x: float, y: float, text: str, *, anchor: str = "start", ink: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{ink}">{escape(text)}</text>'


def _svg(box: Box, parts: Sequence[str]) -> str:
    return f'<svg width="{box.width}" height="{box.height}">{"".join(parts)}</svg>'
