"""The tables of values in the charts' READMEs, made from `# --` comments in values.yaml and from the resource's spec.

The convention is that of helm-docs: the comment that begins with `# --` describes the key below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from collectionstore_charts import cluster_schema

_SECTION: Final = re.compile(r"(<!-- (?P<name>\w+): made by [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)


class Value(NamedTuple):
    """One row: the path of a value, its default as JSON, and what it is for."""

    path: str
    default: str
    description: str


class UndocumentedValue(Exception):
    """A value has no description; the text names it."""


def values(path: Path) -> list[Value]:
    """Return all values of a values.yaml in their order. Raises UndocumentedValue."""
    text = path.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return list(_values(root, text.splitlines(), ""))


def _values(node: yaml.MappingNode, lines: list[str], above: str) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{above}{key.value}"
        description = _comment(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not description:
            yield from _values(value, lines, f"{path}.")
        elif not description:
            raise UndocumentedValue(f"{path} has no comment that begins with '# --'")
        else:
            yield Value(path, json.dumps(_plain(value)), description)


def _comment(lines: list[str], line: int) -> str:
    """Return the description above a line; empty for a comment that is none."""
    found: list[str] = []
    for above in reversed(lines[:line]):
        stripped = above.strip()
        if not stripped.startswith("#"):
            break
        found.insert(0, stripped.removeprefix("#").strip())
        if stripped.startswith("# --"):
            return " ".join(found).removeprefix("-- ")
    return ""


def _plain(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def fields() -> list[Value]:
    """Return all fields of the resource's spec that the cluster chart passes on."""
    known = cluster_schema.spec()["properties"]
    return list(_fields({name: one for name, one in known.items() if name not in cluster_schema.NOT_IN_CHART}, ""))


def _fields(properties: Mapping[str, Any], above: str) -> Iterator[Value]:
    for name, schema in properties.items():
        path = f"{above}{name}"
        # Affinity and the like are what a pod has, and explained there.
        if "properties" in schema and path != "pod.affinity":
            yield from _fields(schema["properties"], f"{path}.")
        else:
            default = json.dumps(schema["default"]) if "default" in schema else ""
            yield Value(path, default, _sentence(schema["description"]) + _allowed(schema))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f" One of {', '.join(schema['enum'])}."
    if "minimum" in schema and "maximum" in schema and not schema.get("x-kubernetes-int-or-string"):
        return f" {schema['minimum']} to {schema['maximum']}."
    return ""


def table(rows: list[Value]) -> str:
    """Return a table of Markdown."""
    body = "".join(f"| `{one.path}` | {_code(one.default)} | {_cell(one.description)} |\n" for one in rows)
    return f"| value | default | what it is |\n| --- | --- | --- |\n{body}"


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """Return the README with its tables replaced: what is between `<!-- NAME: made by ... -->` and `<!-- end -->`."""
    return _SECTION.sub(lambda match: f"{match[1]}{tables[match['name']]}{match[3]}", text)
