"""Reads the dashboards as Grafana does: their panels, queries and variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collectionstore_observe.errors import ObserveFailed

_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)\]\]")
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABEL_VALUES: Final = re.compile(r"label_values\((?:(.+),)?\s*(\w+)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """One question of a panel. `instant`: only the last answer is shown."""

    reference: str
    expression: str
    legend: str
    instant: bool

    def name(self, labels: Mapping[str, str]) -> str:
        """Return what a series with these labels is called in the legend."""
        if self.legend and self.legend != "__auto":
            return _LABEL.sub(lambda match: labels.get(match[1], ""), self.legend)
        return ", ".join(f"{name}={value}" for name, value in labels.items() if name != "__name__") or self.expression


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel is, in columns of 24 and rows."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel; `kind` is Grafana's type of it, a row has no targets. `definition` is its part of the file."""

    title: str
    kind: str
    description: str
    place: Place
    targets: tuple[Target, ...]
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that people choose from `label_values(selector, label)`."""

    name: str
    selector: str
    label: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard. Annotations are questions too: what they find is marked in every panel."""

    file: str
    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Target, ...]

    def expressions(self) -> Iterator[str]:
        """Give every expression anywhere on the page."""
        for panel in self.panels:
            yield from (target.expression for target in panel.targets)
        yield from (one.expression for one in self.annotations)


def load(paths: Iterable[Path]) -> list[Dashboard]:
    """Read dashboards. Raises `ObserveFailed` when there are none, or one is not a dashboard."""
    found = [_dashboard(path) for path in sorted(paths)]
    if not found:
        raise ObserveFailed("there are no dashboards to check")
    return found


def substitute(expression: str, values: Mapping[str, str]) -> str:
    """Put the variables' values into an expression. Raises `ObserveFailed` for a variable without one."""

    def value(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group is not None)
        if name not in values:
            raise ObserveFailed(f"${name} has no value, in {expression}")
        return values[name]

    return _VARIABLE.sub(value, expression)


def _dashboard(path: Path) -> Dashboard:
    try:
        content = json.loads(path.read_text())
        return Dashboard(
            path.name,
            content["uid"],
            content["title"],
            tuple(_panels(content["panels"])),
            tuple(_variables(content.get("templating", {}).get("list", []))),
            tuple(_annotation(one) for one in content.get("annotations", {}).get("list", []) if one.get("expr")),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ObserveFailed(f"{path} is not a dashboard: {error!r}") from error


def _panels(definitions: Iterable[Mapping[str, Any]]) -> Iterator[Panel]:
    for one in definitions:
        grid = one["gridPos"]
        yield Panel(
            one.get("title", ""),
            one["type"],
            one.get("description", ""),
            Place(grid["x"], grid["y"], grid["w"], grid["h"]),
            tuple(_target(target) for target in one.get("targets", [])),
            one,
        )
        yield from _panels(one.get("panels", []))


def _target(one: Mapping[str, Any]) -> Target:
    return Target(one["refId"], one["expr"], one.get("legendFormat", ""), one.get("instant", False))


def _annotation(one: Mapping[str, Any]) -> Target:
    return Target(one["name"], one["expr"], one.get("textFormat", ""), instant=False)


def _variables(definitions: Iterable[Mapping[str, Any]]) -> Iterator[Variable]:
    for one in definitions:
        if one["type"] != "query":
            continue
        query = one["query"]["query"] if isinstance(one["query"], dict) else one["query"]
        match = _LABEL_VALUES.fullmatch(query.strip())
        if match is None:
            raise ValueError(f"the variable {one['name']} is not asked for by label_values: {query}")
        yield Variable(one["name"], (match[1] or "").strip(), match[2])
