"""Options and parameter types that several csctl commands have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

_SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

ON_KUBERNETES: Final = "on_kubernetes"
"""Key in the meta of the root command's context: without options, a cluster is on Kubernetes."""

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="COLLECTIONSTORE_STATE_DIR",
    default=Path(".collectionstore"),
    show_default=True,
    show_envvar=True,
    help="State directory of local clusters.",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Output format.",
)


class Duration(click.ParamType[float]):
    """A duration above 0 such as 100ms, 5s or 24h, in seconds; `units` are those allowed, the smallest first."""

    name = "duration"

    def __init__(self, *units: str) -> None:
        self._units = units

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value  # a default that click converts a second time
        match = re.fullmatch(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)({'|'.join(self._units)})", str(value))
        if match is None or float(match[1]) == 0:
            *others, last = self._units
            self.fail(
                f"{value!r}; allowed: a number above 0 and {', '.join(others)} or {last}, such as 10m", param, ctx
            )
        return float(match[1]) * _SECONDS[match[2]]


SHORT_DURATION: Final = Duration("ms", "s", "m")
LONG_DURATION: Final = Duration("s", "m", "h", "d")
