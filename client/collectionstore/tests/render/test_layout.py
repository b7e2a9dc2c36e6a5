"""Tables fit their width: columns shrink, then the last ones go; wide characters count double."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from collectionstore.render.layout import Cell, lay_out


def rows(*lines: tuple[str, ...]) -> list[list[Cell]]:
    return [[Cell(text) for text in line] for line in lines]


def test_columns_are_as_wide_as_their_content() -> None:
    table = lay_out(["name", "n"], rows(("a", "1"), ("longer", "22")), width=None, right=frozenset({1}))
    assert table.lines == ("name     n", "a        1", "longer  22")
    assert table.omitted == ()


def test_the_widest_column_gives_way_first() -> None:
    table = lay_out(["id", "text"], rows(("a1", "x" * 100)), width=30)
    assert table.lines == ("id  text", "a1  " + "x" * 25 + "…")


def test_columns_without_a_place_are_named() -> None:
    titles = [f"column{at}" for at in range(6)]
    table = lay_out(titles, rows(tuple("y" * 20 for _ in titles)), width=40)
    assert all(cell_len(line) <= 40 for line in table.lines)
    assert table.omitted == ("column4", "column5")


def test_line_ends_and_control_characters_stay_in_their_line() -> None:
    table = lay_out(["a"], rows(("one\ntwo\x1b[31m",)), width=None)
    assert table.lines[1] == "one\\ntwo�[31m"


def test_a_style_is_around_its_cell() -> None:
    table = lay_out(["a"], [[Cell("null", "2")]], width=None)
    assert table.lines[1] == "\x1b[2mnull\x1b[0m"


@pytest.mark.parametrize("width", [1, 2, 5, 20, 60])
@given(st.lists(st.lists(st.text(max_size=30), min_size=4, max_size=4), max_size=5))
def test_no_line_is_wider_than_the_terminal(width: int, found: list[list[str]]) -> None:
    table = lay_out(["one", "zwei", "三", "four"], rows(*(tuple(one) for one in found)), width=width)
    assert len(table.lines) == len(found) + 1
    assert all(cell_len(line) <= width for line in table.lines)
