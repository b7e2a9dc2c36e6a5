"""Reads PromQL: which series it uses, how they are selected, and what is done with them.

Grafana's variables are replaced first. `$__rate_interval` becomes a duration that does not occur in queries, so that
it can be found in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

RATE_INTERVAL: Final = timedelta(seconds=7 * 61)
_WRITTEN: Final = f"{int(RATE_INTERVAL.total_seconds())}s"

COUNTER: Final = re.compile(r"_(total|bucket|count|sum)$")
RISING: Final = frozenset({"rate", "irate", "increase"})


class MalformedQuery(Exception):
    """It is no PromQL; the catcher names the place."""


@dataclass(frozen=True)
class Use:
    """One selector: of which series, by which labels, over which window, inside which function."""

    series: str
    labels: Mapping[str, str]
    """Name to operator and value, such as `=~$cluster`."""
    window: timedelta | None
    call: str
    """The function around it, empty where there is none."""


def parse(query: str) -> Expr:
    """Return the tree. Raises `MalformedQuery`."""
    try:
        return promql_parser.parse(query.replace("$__rate_interval", _WRITTEN))
    except ValueError as error:
        raise MalformedQuery(f"{error}: {query}") from error


def uses(query: str) -> list[Use]:
    """Return every selector in a query. Raises `MalformedQuery`."""
    return list(_uses(parse(query), call=""))


def series(query: str) -> set[str]:
    """Return the names of the series that a query uses, as they are stored (with `_bucket` and the like)."""
    return {use.series for use in uses(query)}


def quantiles_without_le(query: str) -> int:
    """Return how many `histogram_quantile` sum their buckets up over `le`, which leaves nothing of them."""
    return sum(
        isinstance(node, Call)
        and node.func.name == "histogram_quantile"
        and any(_loses_le(inner) for inner in nodes(node.args[1]))
        for node in nodes(parse(query))
    )


def nodes(expr: Expr) -> Iterator[Expr]:
    """Yield an expression and all in it."""
    yield expr
    for child in _children(expr):
        yield from nodes(child)


def _loses_le(expr: Expr) -> bool:
    if not isinstance(expr, AggregateExpr):
        return False
    modifier = expr.modifier
    if modifier is None:
        return True
    summed_by: bool = modifier.type == promql_parser.AggModifierType.By
    return ("le" in modifier.labels) != summed_by


def _uses(expr: Expr, *, call: str) -> Iterator[Use]:
    if isinstance(expr, MatrixSelector):
        yield _use(expr.vector_selector, expr.range, call)
    elif isinstance(expr, VectorSelector):
        yield _use(expr, None, call)
    else:
        inside = expr.func.name if isinstance(expr, Call) else call
        for child in _children(expr):
            yield from _uses(child, call=inside)


def _use(selector: VectorSelector, window: timedelta | None, call: str) -> Use:
    labels = {one.name: f"{_OPERATORS[str(one.op)]}{one.value}" for one in selector.matchers.matchers}
    return Use(selector.name or "", labels, window, call)


_OPERATORS: Final = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}


def _children(expr: Expr) -> list[Expr]:
    match expr:
        case Call():
            return list(expr.args)
        case AggregateExpr():
            return [expr.expr]
        case BinaryExpr():
            return [expr.lhs, expr.rhs]
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return [expr.expr]
        case MatrixSelector():
            return [expr.vector_selector]
        case _:
            return []
