"""Write docs/limits.md from `limits_table.py` and the constants in the code, or check that it is current.

A bound is read from the code, the place that enforces it must exist, and a metric must be in the tables of node or
operator: the page cannot name what is not there.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from limits_table import HEAD, SECTIONS, Limit

from collectionstore_node.metrics import CHAPTERS as NODE
from collectionstore_operator.observability.metrics import CHAPTERS as OPERATOR

PAGE = Path(__file__).parent / "limits.md"
RULE = "| --- | --- | --- | --- | --- |\n"
COMMAND = "python docs/generate_limits.py --write"
ROOTS = {"node": "collectionstore_node", "operator": "collectionstore_operator"}
_CONSTANT = re.compile(r"\{(?P<name>[\w.:]+)(?:\|(?P<unit>\w+))?\}")


def page() -> str:
    """Return the page. Raises ValueError for a row that does not fit the code."""
    parts = [HEAD]
    for title, root, rows in SECTIONS:
        parts.append(
            f"\n## {title}\n\n| what | bound | enforced in | beyond it | metric |\n| --- | --- | --- | --- | --- |\n"
        )
        parts += [_row(row, root) for row in rows]
    return "".join(parts)


def _row(row: Limit, root: str) -> str:
    bound, beyond = (
        _CONSTANT.sub(lambda match: _shown(_resolve(match["name"], root), match["unit"]), text)
        for text in (row.bound, row.beyond)
    )
    places = ", ".join(f"`{_checked(place, root)}`" for place in row.where)
    metrics = ", ".join(f"`{_known(name)}`" for name in row.metrics) or "-"
    return f"| {row.what} | {bound} | {places} | {beyond} | {metrics} |\n"


def _resolve(name: str, root: str) -> Any:
    """Return what `module:Name` or `module:Class.field`, the default of a field, is in the package of `root`."""
    module, _, path = name.partition(":")
    value: Any = importlib.import_module(f"{ROOTS[root]}.{module}")
    for part in path.split("."):
        value = _default(value, part) if isinstance(value, type) else getattr(value, part)
    if not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}, and no number")
    return value


def _default(kind: type, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return {field.name: field.default for field in dataclasses.fields(kind)}[name]
    return {field.name: field.default for field in msgspec.structs.fields(kind)}[name]


def _checked(place: str, root: str) -> str:
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(f"{ROOTS[root]}.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    return place


def _known(name: str) -> str:
    names = {series.name for chapters in (NODE, OPERATOR) for _, many in chapters for series in many}
    found = [one for one in (name, f"collectionstore_{name}") if one in names]
    if not found and not name.startswith("process_"):
        raise ValueError(f"there is no metric {name}")
    return found[0] if found else name


def _shown(value: Any, unit: str | None) -> str:
    if unit == "bytes":
        return _bytes(int(value))
    if unit == "percent":
        return f"{value:.0%}"
    if unit == "ms":
        return f"{value / 60_000:g} min" if value >= 60_000 else f"{value:g} ms"
    text = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return f"{text} {unit}" if unit else text


def _bytes(value: int) -> str:
    for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size and value % size == 0:
            return f"{value // size} {name}"
    return f"{value:,} B"


def main(arguments: Iterable[str] | None = None) -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write docs/limits.md")
    action.add_argument("--check", action="store_true", help="exit with 1 unless it is current")
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    text = page()
    if options.write:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        print(f"docs/limits.md is not current: {COMMAND}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
