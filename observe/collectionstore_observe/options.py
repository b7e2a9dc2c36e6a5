"""The command line of run.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_EXAMPLES: Final = """examples:
  make observe                                              everything, about five minutes
  .venv/bin/python -m collectionstore_observe --no-alerts               panels and series alone, about two minutes
  .venv/bin/python -m collectionstore_observe --pictures docs/pictures  ... and draw the dashboards there
  .venv/bin/python -m collectionstore_observe --stay                    keep cluster and Prometheus running until Ctrl-C

What the lines of the result mean: observe/README.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be run, and where."""

    base_port: int
    load_s: float
    scrape_s: float
    dashboards: Path
    alerts: Path
    pictures: Path
    draw: bool
    break_it: bool
    stay: bool

    @property
    def prometheus_port(self) -> int:
        """Above the ports of the members, of which there are never more than nine."""
        return self.base_port + 99


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_observe",
        description=description,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--base-port", type=int, default=21_800, metavar="PORT", help="of the cluster; Prometheus is 99 above it")
    add("--load", type=float, default=60.0, metavar="SECONDS", help="how long clients work before the look (60)")
    add("--scrape", type=float, default=2.0, metavar="SECONDS", help="between two scrapes (2)")
    add("--dashboards", type=Path, default=REPOSITORY / "dashboards", metavar="DIR", help="where the JSON files are")
    add("--alerts", type=Path, default=REPOSITORY / "alerts", metavar="DIR", help="where the YAML files are")
    add("--pictures", type=Path, default=REPOSITORY / "build" / "observe", metavar="DIR", help="where PNGs go")
    add("--no-pictures", dest="draw", action="store_false", help="draw nothing, which needs no browser")
    add("--no-alerts", dest="break_it", action="store_false", help="break nothing")
    add("--stay", action="store_true", help="keep all running at the end, until Ctrl-C")
    given = parser.parse_args(arguments)
    return Options(
        base_port=given.base_port,
        load_s=given.load,
        scrape_s=given.scrape,
        dashboards=given.dashboards,
        alerts=given.alerts,
        pictures=given.pictures,
        draw=given.draw,
        break_it=given.break_it,
        stay=given.stay,
    )
