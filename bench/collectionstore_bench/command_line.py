"""What the command lines of the benchmarks have in common: their parser, and the types of their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def parser_of(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return the parser of the program `collectionstore_bench.<name>`, with `-o`; `examples` end its help."""
    parser = argparse.ArgumentParser(
        prog=f"python -m collectionstore_bench.{name}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="json: everything, for other programs"
    )
    return parser


def whole(lo: int, hi: int) -> Callable[[str], int]:
    """Return the type of a whole number from `lo` to `hi`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not lo <= int(text) <= hi:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from {lo} to {hi}")
        return int(text)

    return parse


def number(lo: float, hi: float) -> Callable[[str], float]:
    """Return the type of a number from `lo` to `hi`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = lo - 1
        if not lo <= value <= hi:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: a number from {lo:g} to {hi:g}")
        return value

    return parse


def whole_numbers(lo: int, hi: int) -> Callable[[str], tuple[int, ...]]:
    """Return the type of whole numbers from `lo` to `hi`, with commas between them."""
    one = whole(lo, hi)
    return lambda text: tuple(map(one, text.split(",")))


def names_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return the type of some of the names `known`, with commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(text.split(","))
        if not set(found) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {', '.join(known)}, with commas")
        return found

    return parse
