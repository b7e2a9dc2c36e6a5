"""What is promised to clients, and alerts on how fast the promise is used up.

Of 1000 writes (reads) within 30 days, at most one fails with 5xx or takes longer than 500 ms (250 ms). A burn rate of
1 uses exactly this budget in 30 days. An alert evaluates two windows: the long one shows that it matters, the short one
that it is still happening. Factors and windows: Google's SRE Workbook, chapter 5.

A request that is slow and fails counts twice: latencies are not separated by status. Fractions of nothing are no
number, so that a cluster without requests raises no alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collectionstore_alerts.rules import Alert, Group, Recording, Severity

TARGET: Final = 0.999
_REQUESTS: Final = "collectionstore_http_requests_total"
_DURATION: Final = "collectionstore_http_request_duration_seconds"
_DATA: Final = 'route=~"/api/v1/(collections|kv|transactions).*"'


@dataclass(frozen=True)
class Objective:
    """A kind of request, and how long one may take."""

    kind: str
    selector: str
    seconds: str
    """As the bound of a bucket is written."""


@dataclass(frozen=True)
class Speed:
    """How fast is too fast: more than `factor` times over both windows."""

    long: str
    short: str
    factor: float
    hold: str
    severity: Severity
    spends: str


OBJECTIVES: Final = (
    Objective("writes", f'{_DATA}, method!~"GET|HEAD"', "0.5"),
    Objective("reads", f'{_DATA}, method=~"GET|HEAD"', "0.25"),
)
SPEEDS: Final = (
    Speed("1h", "5m", 14.4, "2m", "critical", "2 % of the budget within an hour"),
    Speed("6h", "30m", 6, "15m", "critical", "5 % of the budget within six hours"),
    Speed("1d", "2h", 3, "1h", "warning", "10 % of the budget within a day"),
    Speed("3d", "6h", 1, "3h", "warning", "10 % of the budget within three days"),
)
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def burn(objective: Objective, window: str) -> str:
    """Return the name of the recorded burn rate."""
    return f"cluster:collectionstore_{objective.kind}:burn{window}"


def _recording(objective: Objective, window: str) -> Recording:
    def rate(series: str, further: str = "") -> str:
        labels = ", ".join(part for part in (objective.selector, further) if part)
        return f"sum by (namespace, cluster) (rate({series}{{{labels}}}[{window}]))"

    every = rate(f"{_DURATION}_count")
    fast = rate(f"{_DURATION}_bucket", f'le="{objective.seconds}"')
    failed = rate(_REQUESTS, 'code=~"5.."')
    # No request has failed yet: then there is no series with 5xx, and a sum with nothing would be nothing.
    bad = f"({every} - {fast} + ({failed} or 0 * {every}))"
    return Recording(burn(objective, window), f"{bad} / {every} / {1 - TARGET:.3f}")


def _alert(objective: Objective, speed: Speed) -> Alert:
    long, short = burn(objective, speed.long), burn(objective, speed.short)
    kind = objective.kind.removesuffix("s")
    limit = f"{float(objective.seconds) * 1000:.0f} ms"
    return Alert(
        f"{kind.capitalize()}BudgetBurn",
        f"{long} > {speed.factor:g} and {short} > {speed.factor:g}",
        speed.hold,
        speed.severity,
        f"{kind.capitalize()}s of {{{{ $labels.namespace }}}}/{{{{ $labels.cluster }}}} fail or are slow: "
        f"{speed.spends}.",
        f"Over {speed.long} the budget of {kind}s that fail or take longer than {limit} is used "
        "{{ $value | humanize }} times as fast as the objective allows.",
        "overview",
        {"long": speed.long, "short": speed.short},
    )


# One group: its rules are evaluated in order, so that an alert sees the burn rate of the same moment.
GROUPS: Final = (
    Group(
        "collectionstore-objectives",
        (
            *(_recording(objective, window) for objective in OBJECTIVES for window in WINDOWS),
            *(_alert(objective, speed) for objective in OBJECTIVES for speed in SPEEDS),
        ),
    ),
)
