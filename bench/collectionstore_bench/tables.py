"""Plain text tables, aligned, readable in a terminal, a log and a commit message alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int]) -> str:
    """Return rows below headings; the columns in `right`, counted from 0, are aligned right, the others left."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def milliseconds(seconds: float | None) -> str:
    """Return a latency in ms with two decimals, or a dash."""
    return "-" if seconds is None else f"{seconds * 1000:.2f}"
