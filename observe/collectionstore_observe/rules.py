"""The alerting and recording rules, and the stated change that lets a run of minutes see an alert fire.

Only how long a condition must hold is shortened: `for` and `keep_firing_for` to at most `HELD_S`, and how often a
group is evaluated to the interval of the scrapes. Expressions, labels, annotations and names stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from collectionstore_observe.errors import ObserveFailed

HELD_S: Final = 4
"""Two scrapes: an alert still has to go through `pending`."""
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def load(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Return the content of rule files by name. Raises `ObserveFailed` when there is no rule in them."""
    files = {path.name: yaml.safe_load(path.read_text()) for path in sorted(paths)}
    if not any(True for _ in rules(files)):
        raise ObserveFailed("there are no rules to check")
    return files


def rules(files: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give every rule of files."""
    for content in files.values():
        for group in content["groups"]:
            yield from group["rules"]


def hurried(files: Mapping[str, Mapping[str, Any]], interval_s: float) -> dict[str, dict[str, Any]]:
    """Return rules that fire within seconds, changed as this module says."""
    return {name: {"groups": [_group(one, interval_s) for one in content["groups"]]} for name, content in files.items()}


def write(files: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write rule files and return where they are."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(dict(content), sort_keys=False))
    return [folder / name for name in files]


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as 1h30m. Raises ValueError for what is not one."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _group(group: Mapping[str, Any], interval_s: float) -> dict[str, Any]:
    return {
        **group,
        "interval": f"{round(interval_s * 1000)}ms",
        "rules": [_rule(one) for one in group["rules"]],
    }


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    shortened = {
        field: f"{HELD_S}s"
        for field in ("for", "keep_firing_for")
        if field in rule and seconds(str(rule[field])) > HELD_S
    }
    return {**rule, **shortened}
