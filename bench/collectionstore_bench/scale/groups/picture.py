"""Two charts beside each other, as SVG: writes per second and p99, by the number of groups, a line per cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final
from xml.sax.saxutils import escape

from collectionstore_bench.scale.groups.study import LOAD, Point

WIDTH: Final = 960
HEIGHT: Final = 400
TOP: Final = 58
BOTTOM: Final = 58
LEFT: Final = 62
GAP: Final = 70
COLOURS: Final = ("#1f5f99", "#b3541e", "#3a7d44", "#7a3b8f")
INK: Final = "#222222"
FAINT: Final = "#dddddd"
STEPS: Final = 5


def draw(points: Sequence[Point]) -> str:
    """Return the picture."""
    chart = (WIDTH - LEFT - GAP - 20) / 2
    first = _chart(points, LEFT, chart, "writes per second, at the peak", lambda point: point.peak, "{:,.0f}")
    second = _chart(
        points,
        LEFT + chart + GAP,
        chart,
        f"p99 in ms, at {LOAD:.0%} of the peak",
        lambda point: 1000 * point.p99,
        "{:.0f}",
    )
    legend, at = [], float(LEFT)
    for number, nodes in enumerate(_nodes(points)):
        label = f"{nodes} nodes of {points[0].cores} cores"
        legend.append(f'<line x1="{at}" y1="20" x2="{at + 22}" y2="20" stroke="{_colour(number)}" stroke-width="2.5"/>')
        legend.append(_text(at + 28, 24, label))
        at += 50 + 7.2 * len(label)
    legend.append(_text(WIDTH - 20, 24, "simulated", anchor="end"))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="12" fill="{INK}" role="img" aria-label="Throughput and latency by number of groups">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *legend,
            *first,
            *second,
            "</svg>",
            "",
        ]
    )


def nice_top(value: float) -> float:
    """Return a round number, at least `value`, that divides into STEPS round ones."""
    raw = value / STEPS
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= raw) * power * STEPS)


def _chart(
    points: Sequence[Point], left: float, width: float, title: str, value: Callable[[Point], float], form: str
) -> list[str]:
    height = HEIGHT - TOP - BOTTOM
    top = nice_top(max(value(point) for point in points))
    groups = sorted({point.groups for point in points})

    def x(count: int) -> float:
        return left + (groups.index(count) + 0.5) * width / len(groups)

    def y(number: float) -> float:
        return TOP + height * (1 - number / top)

    parts = [_text(left, TOP - 12, title, weight="bold")]
    for step in range(STEPS + 1):
        number = top * step / STEPS
        level = f"{y(number):.1f}"
        parts.append(f'<line x1="{left:.1f}" y1="{level}" x2="{left + width:.1f}" y2="{level}" stroke="{FAINT}"/>')
        parts.append(_text(left - 6, y(number) + 4, form.format(number), anchor="end"))
    parts += [_text(x(count), TOP + height + 20, str(count), anchor="middle") for count in groups]
    parts.append(_text(left + width / 2, TOP + height + 42, "Raft groups", anchor="middle"))
    for number, nodes in enumerate(_nodes(points)):
        line = sorted((point for point in points if point.nodes == nodes), key=lambda point: point.groups)
        places = [(x(point.groups), y(value(point))) for point in line]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        colour = _colour(number)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in places]
    return parts


def _nodes(points: Sequence[Point]) -> list[int]:
    return sorted({point.nodes for point in points})


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
