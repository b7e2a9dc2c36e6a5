"""Options and parameter types that several `csctl local` commands have."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from collectionstore.cli.options import state_dir_option
from collectionstore_local.state.directory import StateDirectory

Function = TypeVar("Function", bound=Callable[..., Any])

file_option = click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="Manifest of the cluster, a CollectionStoreCluster in YAML.",
)
wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the cluster is Ready.")


class ByteRate(click.ParamType[int]):
    """A rate such as 500, 20K or 1M, in bytes per second."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]{1,9})([KM]?)", str(value))
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r}; allowed: an integer above 0, in bytes or with K or M, such as 20K", param, ctx)
        return int(match[1]) << {"": 0, "K": 10, "M": 20}[match[2]]


def timeout_option(seconds: int) -> Callable[[Function], Function]:
    """Return the option --timeout with this default."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="Time to wait for Ready; the reconcile loop continues after it.",
    )


def cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --state-dir and --cluster, and pass `state` and `directory` in their place."""

    @functools.wraps(function)
    def command(*args: Any, state_dir: Path, cluster: str | None, **rest: Any) -> None:
        state = StateDirectory.open(state_dir)
        function(*args, state=state, directory=state.cluster(cluster), **rest)

    named = click.option("--cluster", metavar="NAME", help="Name of the cluster; needed if there are several.")
    return state_dir_option(named(command))
