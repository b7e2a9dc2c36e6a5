"""Finds the package that reads the files of local clusters.

The client may not import it, since it needs the operator and the node; it announces itself by an entry point.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, cast

from collectionstore.cli.exit_codes import CommandError
from collectionstore.report.items import ReportPlan

GROUP: Final = "collectionstore.report"
NAME: Final = "local"
"""The one entry point of GROUP; a PlanReport."""


class PlanReport(Protocol):
    """Opens the plan of a report; its items can be read until the context ends.

    `cluster` is None for the only cluster of the state directory. Raises CommandError.
    """

    def __call__(self, state_dir: Path, cluster: str | None) -> AbstractAsyncContextManager[ReportPlan]: ...


class PluginMissing(CommandError):
    """The package for local clusters is not installed, or cannot be imported; the text says what to install."""


def load_local_plugin() -> PlanReport:
    """Return the function that plans the report of a local cluster. Raises PluginMissing."""
    for point in entry_points(group=GROUP, name=NAME):
        try:
            return cast(PlanReport, point.load())
        except ModuleNotFoundError as error:
            missing = (error.name or "a module").partition(".")[0]
            raise PluginMissing(
                f"a report of a local cluster needs {missing}, which is not installed. "
                "Install it with all that it needs: pip install collectionstore-local"
            ) from error
    raise PluginMissing(
        "a report of a local cluster needs the package collectionstore-local, which is not installed. "
        "Install it: pip install collectionstore-local\n"
        "A report of a cluster on Kubernetes: csctl report NAME -k -n NAMESPACE"
    )
