"""What the options of the benchmarks share: bounds, and what is said beyond them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from collectionstore_bench.command_line import names_of, number, parser_of, whole, whole_numbers


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole(1, 5), "5", 5),
        (number(0.5, 2), "0.5", 0.5),
        (whole_numbers(1, 9), "1,9,3", (1, 9, 3)),
        (names_of(("a", "b")), "b,a", ("b", "a")),
    ],
)
def test_what_is_allowed(kind: Callable[[str], Any], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        (whole(1, 5), "6", "from 1 to 5"),
        (whole(1, 5), "1.5", "from 1 to 5"),
        (whole(1, 5), "-1", "from 1 to 5"),
        (number(0.5, 2), "nan", "from 0.5 to 2"),
        (number(0.5, 2), "x", "from 0.5 to 2"),
        (whole_numbers(1, 9), "1,,2", "from 1 to 9"),
        (names_of(("a", "b")), "a,c", "allowed: a, b"),
    ],
)
def test_what_is_not(kind: Callable[[str], Any], text: str, allowed: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=allowed):
        kind(text)


def test_the_parser_has_the_form_of_the_output() -> None:
    parser = parser_of("load", "Measures.", "examples:\n  one")

    assert parser.prog == "python -m collectionstore_bench.load"
    assert parser.parse_args(["-o", "json"]).output == "json"
    assert parser.format_help().endswith("examples:\n  one\n")
