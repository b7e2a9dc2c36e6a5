"""`Operator`: one line of the tables of operators whose arguments are all computed first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from collectionstore_node.documents.expressions.scope import Scope, Unfit, type_name
from collectionstore_node.documents.values import Value

ARGUMENTS_MAX: Final = 128


class _NotGiven:
    """The type of `NOT_GIVEN`."""

    __slots__ = ()


NOT_GIVEN: Final = _NotGiven()
"""Stands for an argument with a name that is not given."""

Run = Callable[..., Value]
"""From a `Scope` and the values of the arguments to the result. Raises `Unfit`."""


class Operator(NamedTuple):
    """How an operator is written, and what it does."""

    run: Run
    form: str
    """What it takes, for an error."""
    least: int = 1
    most: int = 1
    """How many arguments there are in a list."""
    names: tuple[str, ...] = ()
    """Instead: the names of the arguments in an object; the first `least` of them are required."""
    alone: str = ""
    """The one of these that may be given alone, in place of the object."""


def unary(run: Run, form: str) -> Operator:
    """Return an operator of one argument."""
    return Operator(run, form)


def fixed(run: Run, count: int, form: str) -> Operator:
    """Return an operator of `count` arguments."""
    return Operator(run, form, count, count)


def variadic(run: Run, form: str, least: int = 0) -> Operator:
    """Return an operator of any number of arguments."""
    return Operator(run, form, least, ARGUMENTS_MAX)


def named(run: Run, form: str, *names: str, required: int) -> Operator:
    """Return an operator whose arguments have names."""
    return Operator(run, form, required, len(names), names)


def text(value: Value, what: str = "a text") -> str:
    """Return a text. Raises `Unfit`."""
    if type(value) is str:
        return value
    raise Unfit(f"takes {what}, and this is {type_name(value)}")


def array(value: Value, what: str = "an array") -> list[Any]:
    """Return an array. Raises `Unfit`."""
    if type(value) is list:
        return value
    raise Unfit(f"takes {what}, and this is {type_name(value)}")


def number(value: Value) -> int | float:
    """Return a number. Raises `Unfit`."""
    if type(value) is int or type(value) is float:
        return value
    raise Unfit(f"takes numbers, and this is {type_name(value)}")


def whole(value: Value, what: str) -> int:
    """Return a whole number of at most 32 bits, which may be written as 3.0. Raises `Unfit`."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and -(1 << 31) <= value < 1 << 31:
        return value
    raise Unfit(f"takes {what}: a whole number of at most 32 bits, and this is {type_name(value)}")


def spend_on(scope: Scope, values: list[Any]) -> list[Any]:
    """Count a step for each element, and return them."""
    scope.spend(len(values))
    return values
