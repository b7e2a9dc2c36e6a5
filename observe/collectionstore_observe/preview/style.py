"""How a panel wants its values shown: text in a unit, colours by thresholds and mappings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

PALETTE: Final = ("#3274d9", "#d9822b", "#2f9e63", "#b0419a", "#c9a500", "#14a3b8", "#d44a3a", "#7a5fd0", "#6b7280")
COLOURS: Final = {
    "green": "#2f9e63",
    "red": "#d44a3a",
    "orange": "#e08a1e",
    "yellow": "#d9b400",
    "blue": "#3274d9",
    "purple": "#7a5fd0",
    "text": "#8a93a3",
    "transparent": "#ffffff",
    "gray": "#8a93a3",
}
_SI: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_IEC: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_TIME: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_RATES: Final = {"reqps": "req/s", "ops": "ops/s", "cps": "c/s", "wps": "writes/s", "rps": "reads/s", "eps": "events/s"}


@dataclass(frozen=True, slots=True)
class Look:
    """A value's text and colour."""

    text: str
    colour: str


class Style:
    """The field configuration of a panel, with the overrides for one series."""

    def __init__(self, definition: Mapping[str, Any], series: str = "") -> None:
        configuration = definition.get("fieldConfig", {})
        fields: dict[str, Any] = dict(configuration.get("defaults", {}))
        for override in configuration.get("overrides", []):
            if _matches(override["matcher"], series):
                fields |= {one["id"]: one["value"] for one in override["properties"]}
        self._fields = fields
        self.custom: Mapping[str, Any] = fields.get("custom", {})

    @property
    def unit(self) -> str:
        return str(self._fields.get("unit", "short"))

    @property
    def missing(self) -> str:
        return str(self._fields.get("noValue", "no data"))

    @property
    def least(self) -> float | None:
        return self._fields.get("min")

    @property
    def most(self) -> float | None:
        return self._fields.get("max")

    @property
    def fixed_colour(self) -> str | None:
        """The colour that the series has whatever its values are."""
        wanted = self._fields.get("color", {})
        return colour(wanted["fixedColor"]) if wanted.get("mode") == "fixed" and "fixedColor" in wanted else None

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """The thresholds, rising; the first has no value."""
        steps: Sequence[Mapping[str, Any]] = self._fields.get("thresholds", {}).get("steps", [])
        return steps

    def look(self, value: float) -> Look:
        """Return how a value is shown."""
        mapped = self._mapped(value)
        text = mapped.get("text") or format_value(value, self.unit, self._fields.get("decimals"))
        return Look(text, colour(mapped["color"]) if mapped.get("color") else self._by_threshold(value))

    def _mapped(self, value: float) -> Mapping[str, Any]:
        for mapping in self._fields.get("mappings", []):
            options: Mapping[str, Any] = mapping["options"]
            if mapping["type"] == "value":
                found = options.get(f"{value:g}")
            elif mapping["type"] == "range":
                low, high = options.get("from"), options.get("to")
                inside = (low is None or value >= low) and (high is None or value <= high)
                found = options["result"] if inside else None
            else:
                found = None
            if found is not None:
                result: Mapping[str, Any] = found
                return result
        return {}

    def _by_threshold(self, value: float) -> str:
        reached = [step for step in self.steps if step.get("value") is None or value >= step["value"]]
        return colour(reached[-1]["color"]) if reached else PALETTE[0]


def colour(name: str) -> str:
    """Return a colour of Grafana's as CSS; shades such as `dark-red` are those of their name."""
    return COLOURS.get(name.rpartition("-")[2], name)


def format_value(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit, scaled so that it has few digits."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit == "s":
        return _scaled(value, _TIME, decimals) if value else "0 s"
    if unit in ("bytes", "decbytes"):
        return _scaled(value, _IEC, decimals) if abs(value) >= 1024 else f"{value:.0f} B"
    if unit in ("Bps", "binBps"):
        return f"{format_value(value, 'bytes', decimals)}/s"
    if unit == "percentunit":
        return f"{_digits(100 * value, decimals)} %"
    if unit == "percent":
        return f"{_digits(value, decimals)} %"
    if unit.startswith("dateTime"):
        moment = datetime.fromtimestamp(value / 1000, UTC)
        return moment.strftime("%Y-%m-%d %H:%M")
    text = _scaled(value, _SI, decimals).replace(" ", "") if abs(value) >= 1000 else _digits(value, decimals)
    return f"{text} {_RATES[unit]}" if unit in _RATES else text


def _scaled(value: float, scales: Sequence[tuple[float, str]], decimals: int | None) -> str:
    size, name = next((one for one in scales if abs(value) >= one[0]), scales[-1])
    return f"{_digits(value / size, decimals)} {name}"


def _digits(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _matches(matcher: Mapping[str, Any], series: str) -> bool:
    return bool(matcher["id"] == "byName" and matcher["options"] == series)
