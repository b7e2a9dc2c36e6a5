"""Tables as lines of text: as wide as their content, and never wider than the terminal.

Where a table does not fit, its widest columns become narrower first, down to CELL_MIN; then the last ones are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size

from collectionstore.render.json_text import printable

GAP: Final = 2
CELL_MIN: Final = 8
"""Columns of a terminal to which a column may shrink; fewer if its title and content need fewer."""
ELLIPSIS: Final = "…"
CELL_MAX: Final = 4_096
"""Characters of a cell, where no width bounds it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and the control sequence of its color: parameters of SGR, empty for none."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Lines to print, and the titles of the columns that had no place."""

    lines: tuple[str, ...]
    omitted: tuple[str, ...] = ()


def lay_out(
    titles: Sequence[str], rows: Sequence[Sequence[Cell]], *, width: int | None, right: frozenset[int] = frozenset()
) -> Table:
    """Return a table of at most `width` columns of a terminal; None: as wide as its content.

    `right`: positions of columns that are aligned to the right. Styles are written only where a cell has one.
    """
    shown = [printable(title) for title in titles]
    texts = [[printable(cell.text[:CELL_MAX]) for cell in row] for row in rows]
    natural = [max([cell_len(title), *(cell_len(row[at]) for row in texts)]) for at, title in enumerate(shown)]
    widths = natural if width is None else _fitted(natural, width)
    kept = range(len(widths))
    header = [_placed(shown[at], widths[at], right=at in right, last=at == len(widths) - 1) for at in kept]
    lines = [(" " * GAP).join(header).rstrip()]
    for row, cells in zip(texts, rows, strict=True):
        parts = [
            _styled(_placed(row[at], widths[at], right=at in right, last=at == len(widths) - 1), cells[at].style)
            for at in kept
        ]
        lines.append((" " * GAP).join(parts).rstrip())
    return Table(tuple(lines), tuple(shown[len(widths) :]))


def _fitted(natural: Sequence[int], width: int) -> list[int]:
    """Return widths of as many columns as fit, each at most its natural one."""
    widths = list(natural)
    least = [min(one, CELL_MIN) for one in natural]
    while len(widths) > 1 and _total(least[: len(widths)]) > width:
        widths.pop()
    over = _total(widths) - width
    while over > 0:
        # The widest columns give way, down to the next widest or by as much as is needed.
        widest = max((one for at, one in enumerate(widths) if one > least[at]), default=0)
        if not widest:
            break
        those = [at for at, one in enumerate(widths) if one == widest]
        lower = max([least[those[0]], *(one for one in widths if one < widest)])
        step = min(widest - lower, -(-over // len(those)))
        for at in those:
            cut = min(max(step, 1), over, widths[at] - least[at])
            widths[at] -= cut
            over -= cut
    return [max(1, min(one, width)) for one in widths]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _placed(text: str, width: int, *, right: bool, last: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ELLIPSIS if width > 1 else ELLIPSIS[:width]
    if right:
        return " " * (width - length) + text
    return text if last else text + " " * (width - length)


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style else text
