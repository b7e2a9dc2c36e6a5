"""Tables, as Grafana makes them of instant answers: merged by their labels, with the columns put in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from collectionstore_observe.panels import Answer
from collectionstore_observe.preview.style import Style


@dataclass(frozen=True, slots=True)
class Organised:
    """The columns of the transformation `organize`."""

    hidden: frozenset[str]
    order: Mapping[str, int]
    names: Mapping[str, str]


def table(definition: Mapping[str, Any], answers: Sequence[Answer]) -> str:
    """Return a table's HTML."""
    organised = _organised(definition)
    rows = _rows(answers, organised.hidden)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    columns.sort(key=lambda column: organised.order.get(column, len(organised.order)))
    names = [organised.names.get(column, column) for column in columns]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    styles = [Style(definition, name) for name in names]
    body = "".join(
        f"<tr>{''.join(_cell(row.get(column, ''), style) for column, style in zip(columns, styles, strict=True))}</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _rows(answers: Sequence[Answer], hidden: frozenset[str]) -> list[dict[str, str | float]]:
    merged: dict[tuple[tuple[str, str], ...], dict[str, str | float]] = {}
    for answer in answers:
        column = f"Value #{answer.target.reference}" if len(answers) > 1 else "Value"
        for series in answer.series:
            labels = {name: value for name, value in series.labels.items() if name != "__name__" and name not in hidden}
            row = merged.setdefault(tuple(sorted(labels.items())), dict(labels))
            if column not in hidden:
                row[column] = series.last
    return list(merged.values())


def _organised(definition: Mapping[str, Any]) -> Organised:
    options: Mapping[str, Any] = next(
        (one["options"] for one in definition.get("transformations", []) if one["id"] == "organize"), {}
    )
    hidden = frozenset(name for name, gone in options.get("excludeByName", {}).items() if gone)
    return Organised(hidden, options.get("indexByName", {}), options.get("renameByName", {}))


def _cell(value: str | float, style: Style) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    look = style.look(value)
    coloured = f' style="color:{look.colour};font-weight:600"' if len(style.steps) > 1 else ""
    return f"<td{coloured}>{escape(look.text)}</td>"
