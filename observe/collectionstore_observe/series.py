"""The series that the programs export, and whether a dashboard or rule uses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric, and the names under which its samples are stored: a histogram has three."""

    name: str
    kind: str
    samples: frozenset[str]


def exported(exposition: str) -> dict[str, Family]:
    """Return the families in what a /metrics answers, by name; also those that have no sample yet."""
    found = {}
    for metric in text_string_to_metric_families(exposition):
        full = f"{metric.name}_total" if metric.type == "counter" else metric.name
        samples = frozenset(sample.name for sample in metric.samples) or _expected(full, metric.type)
        found[full] = Family(full, metric.type, samples)
    return found


def _expected(name: str, kind: str) -> frozenset[str]:
    return (
        frozenset(f"{name}{part}" for part in ("_bucket", "_count", "_sum"))
        if kind == "histogram"
        else frozenset({name})
    )


def names(expressions: Iterable[str]) -> frozenset[str]:
    """Return every word in PromQL expressions that may name a series; text in quotes names none."""
    return frozenset(word for one in expressions for word in _NAME.findall(_STRING.sub("", one)))


@dataclass(frozen=True, slots=True)
class Use:
    """Unused families, and errors in the list of those that may be unused."""

    exported: int
    unused: tuple[str, ...]
    excused: tuple[str, ...]
    stale: tuple[str, ...]
    """On the list, but used after all or not exported."""


def compare(families: Mapping[str, Family], used: frozenset[str], reasons: Mapping[str, str]) -> Use:
    """Compare what is exported with what expressions name; `reasons` excuses families, by name."""
    idle = {name for name, family in families.items() if not family.samples & used}
    return Use(
        exported=len(families),
        unused=tuple(sorted(idle - reasons.keys())),
        excused=tuple(sorted(idle & reasons.keys())),
        stale=tuple(sorted(reasons.keys() - idle)),
    )
