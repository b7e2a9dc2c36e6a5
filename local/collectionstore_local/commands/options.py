"""What the commands of `csctl local` have in common: options, and how an error becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import StateDirectory
from collectionstore_operator.errors import InvalidResource

Function = TypeVar("Function", bound=Callable[..., Any])


class Failure(click.ClickException):
    """A LocalError as click prints it, with the exit code it asks for."""

    def __init__(self, error: LocalError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a class variable here
        return int(self.error.exit_code)


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn what commands raise on purpose into a message and an exit code."""
    try:
        yield
    except LocalError as error:
        raise Failure(error) from error
    except InvalidResource as error:
        # csctl writes only what it has checked: somebody edited the file.
        raise Failure(LocalError(f"the applied resource, resource.json, is invalid: {error}")) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise Failure(LocalError(f"{error.strerror}: {error.filename}" if error.filename else str(error))) from error


class LocalGroup(click.Group):
    """A click group whose commands may raise `LocalError`."""

    def invoke(self, ctx: click.Context) -> Any:
        with failures():
            return super().invoke(ctx)


class LocalCommand(click.Command):
    """A command outside of the group that may raise `LocalError`."""

    def invoke(self, ctx: click.Context) -> Any:
        with failures():
            return super().invoke(ctx)


state_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="COLLECTIONSTORE_STATE_DIR",
    default=Path(".collectionstore"),
    show_default=True,
    show_envvar=True,
    help="Where local clusters are kept.",
)
file_option = click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="The manifest of the cluster, a CollectionStoreCluster in YAML.",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to say what was done.",
)
wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Watch until it is done.")


class Duration(click.ParamType[float]):
    """A duration such as 100ms, 5s or 2m, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)", str(value))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r}; allowed: a number above 0 and ms, s or m, such as 100ms or 5s", param, ctx)
        return float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]]


class ByteRate(click.ParamType[int]):
    """A rate such as 500, 20K or 1M, as bytes a second."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]{1,9})([KM]?)", str(value))
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r}; allowed: a whole number above 0 of bytes, or with K or M, such as 20K", param, ctx)
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
        help="How long to wait; the loop goes on trying after that.",
    )


def cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --state-dir and --cluster, and pass `state` and `directory` in their place."""

    @functools.wraps(function)
    def command(*args: Any, state_dir: Path, cluster: str | None, **rest: Any) -> None:
        state = StateDirectory.open(state_dir)
        function(*args, state=state, directory=state.cluster(cluster), **rest)

    named = click.option("--cluster", metavar="NAME", help="Which cluster, when there are several.")
    return state_option(named(command))
