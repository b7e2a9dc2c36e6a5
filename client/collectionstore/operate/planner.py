"""Finds the operator's planner. The client may not import the operator; it announces itself by an entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias, cast

from collectionstore.cli.exit_codes import CommandError

GROUP: Final = "collectionstore.planner"
NAME: Final = "kubernetes"

Planner: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]
"""JSON to JSON: `collectionstore_operator.kubernetes.preview.preview_change` describes both."""


class PlannerMissing(CommandError):
    """The operator's package is not installed, or cannot be imported; the text says what to install."""


def load_planner() -> Planner:
    """Return the planner of the installed operator. Raises PlannerMissing."""
    for point in entry_points(group=GROUP, name=NAME):
        try:
            return cast(Planner, point.load())
        except ModuleNotFoundError as error:
            raise _missing((error.name or "a module").partition(".")[0]) from error
    raise _missing("the package collectionstore-operator")


def _missing(what: str) -> PlannerMissing:
    return PlannerMissing(
        f"plan runs the operator's own planner and needs {what}, which is not installed. "
        "Install the operator's version: pip install collectionstore-operator"
    )
