"""The conventions of a dashboard, checked on its JSON: a list of faults in words, empty when it keeps them.

They are those of Grafana's dashboard-linter and of the well-kept mixins. Not taken over: `job` and `instance` on every
query. Series are distinguished by their names here, so that only those of no program in particular need a job; and the
operator's are of no cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from collectionstore_dashboards import promql
from collectionstore_dashboards.promql import COUNTER, RATE_INTERVAL, RISING, Use

Json: TypeAlias = Mapping[str, Any]

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
VARIABLES: Final = ("datasource", "namespace", "cluster", "instance")
ANNOTATIONS: Final = ("Leader changes", "Upgrades", "Operator actions")
COLUMNS: Final = 24
ON_TIME_RANGE_CHANGE: Final = 2
WINDOWED: Final = RISING | {"changes", "resets", "delta", "idelta"}
SHARED: Final = ("up", "process_", "python_")
"""Series that every program has, by the beginning of the name."""
TREND: Final = frozenset({"deriv", "predict_linear"})
"""Functions with a range of hours, independent of the time range shown."""


def faults(board: Json) -> list[str]:
    """Return what breaks the conventions, each with its place."""
    named = f"{board['uid']}"
    found = [*_frame(board), *_variables(board), *_annotations(board), *_layout(board)]
    for panel in panels(board):
        place = panel.get("title") or f"panel {panel['id']}"
        found += [f"{place}: {fault}" for fault in _panel(panel)]
    return [f"{named}: {fault}" for fault in found]


def panels(board: Json) -> list[Json]:
    """Return the panels that show something: no rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _frame(board: Json) -> Iterator[str]:
    if not board["uid"].startswith("collectionstore-"):
        yield "the uid does not begin with collectionstore-"
    if board.get("id") is not None or board.get("__inputs"):
        yield "it has an id or inputs of one Grafana"
    if board["editable"] or board["graphTooltip"] != 1 or not board["refresh"]:
        yield "it can be edited, shares no crosshair, or does not refresh"
    if "collectionstore" not in board["tags"] or not board["links"]:
        yield "it has no tag or no links to the other pages"
    if not board.get("description"):
        yield "it has no description"
    if board["panels"][0]["type"] != "row":
        yield "it does not begin with a row"


def _variables(board: Json) -> Iterator[str]:
    variables = board["templating"]["list"]
    if tuple(one["name"] for one in variables) != VARIABLES:
        yield f"the variables are not {', '.join(VARIABLES)}"
        return
    source, *choices = variables
    if (source["type"], source["query"]) != ("datasource", "prometheus"):
        yield "the variable datasource does not choose a Prometheus"
    for one in choices:
        yield from (f"variable {one['name']}: {fault}" for fault in _choice(one))


def _choice(variable: Json) -> Iterator[str]:
    if variable["datasource"] != DATASOURCE:
        yield "it does not ask ${datasource}"
    if variable["refresh"] != ON_TIME_RANGE_CHANGE:
        yield "it is not asked again when the time range changes"
    if variable["includeAll"] and variable.get("allValue") != ".*":
        yield "All is not .*"
    query = variable["query"]
    selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    if label != variable["name"]:
        yield f"it does not list the label {variable['name']}"
    try:
        used = promql.uses(selector)
    except promql.MalformedQuery as error:
        yield str(error)
        return
    if variable["name"] == "cluster" and "namespace" not in used[0].labels:
        yield "clusters are not filtered by namespace"


def _annotations(board: Json) -> Iterator[str]:
    found = board["annotations"]["list"]
    if tuple(one["name"] for one in found) != ANNOTATIONS:
        yield f"the annotations are not {', '.join(ANNOTATIONS)}"
    for one in found:
        if one["datasource"] != DATASOURCE or not one["enable"] or not one["textFormat"]:
            yield f"annotation {one['name']}: other data source, off, or without a text"
        yield from (f"annotation {one['name']}: {fault}" for fault in _query(one["expr"]))


def _layout(board: Json) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    seen: set[str] = set()
    section = ""
    for panel in board["panels"]:
        if panel["type"] == "row":
            section = panel["title"]
        title = f"{section} / {panel.get('title')}"
        if title in seen:
            yield f"two panels of a row are called {title}"
        seen.add(title)
        place = panel["gridPos"]
        if place["x"] + place["w"] > COLUMNS:
            yield f"{title} is wider than the page"
        for cell in _cells(place):
            if cell in taken:
                yield f"{title} covers {taken[cell]}"
                break
            taken[cell] = title
    numbers = [panel["id"] for panel in board["panels"]]
    if len(set(numbers)) != len(numbers):
        yield "two panels have the same id"


def _cells(place: Mapping[str, int]) -> list[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    return [(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])]


def _panel(panel: Json) -> Iterator[str]:
    if not panel.get("title"):
        yield "it has no title"
    if not panel.get("description", "").endswith("."):
        yield "it has no description that is a sentence"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "it has no unit"
    if not panel.get("targets"):
        yield "it has no query"
    if panel.get("datasource") != DATASOURCE:
        yield "it does not ask ${datasource}"
    letters = [target["refId"] for target in panel.get("targets", ())]
    if len(set(letters)) != len(letters):
        yield "two queries have the same letter"
    for target in panel.get("targets", ()):
        if target["datasource"] != DATASOURCE:
            yield "a query does not ask ${datasource}"
        if not target.get("legendFormat"):
            yield "a query has no legend"
        yield from _query(target["expr"])


def _query(query: str) -> Iterator[str]:
    try:
        found = promql.uses(query)
    except promql.MalformedQuery as error:
        yield str(error)
        return
    if promql.quantiles_without_le(query):
        yield f"a quantile of buckets without le: {query}"
    for use in found:
        yield from (f"{use.series} {fault}" for fault in (*_window(use), *_scope(use)))


def _window(use: Use) -> Iterator[str]:
    recorded = ":" in use.series
    if COUNTER.search(use.series) and not recorded and use.call not in RISING:
        yield "is a counter and shown raw"
    if use.call in RISING and not COUNTER.search(use.series):
        yield f"is no counter, but {use.call} is taken of it"
    if use.call in WINDOWED and use.window != RATE_INTERVAL:
        yield "is not looked at over $__rate_interval"
    if use.window is not None and use.call not in WINDOWED | TREND:
        yield f"has a window in {use.call or 'no function'}"


def _scope(use: Use) -> Iterator[str]:
    if use.series.startswith(SHARED) and not use.labels.get("job", "").startswith("=collectionstore-"):
        yield "belongs to every program and is not selected by job"
    if use.series.startswith("collectionstore_operator_") or use.labels.get("job") == "=collectionstore-operator":
        required = {"instance"} if use.labels.keys() & {"instance"} else set()
    else:
        required = {"namespace", "cluster"}
    for label in sorted(required):
        if use.labels.get(label) != f"=~${label}":
            yield f"is not selected by ${label}"
