"""The tables that `make bench` and `make bench-compare` print. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from collectionstore_bench.contest.summary import Results, Spread
from collectionstore_bench.contest.turns import Memory, Turn
from collectionstore_bench.tables import table


@dataclass(frozen=True, slots=True)
class Compared:
    """A case, the contender that is ours, and those that it is compared with; "" for ours if it cannot be measured."""

    case: str
    ours: str
    others: Sequence[str]


Value = Callable[[Turn], float]


def render(results: Results, compared: Sequence[Compared], memory: Mapping[str, tuple[Memory, Memory]]) -> str:
    """Return all tables; `memory` is that of each store before and after the load."""
    others = list(dict.fromkeys(other for one in compared for other in one.others))
    parts = [
        "REQUESTS PER SECOND, median; and how many times as many as the other's: median of the rounds (least-greatest)",
        _ratios(results, compared, others, attrgetter("per_second"), _whole),
        "",
        "MEDIAN LATENCY in ms; and how many times as long as the other's: below 1 is faster",
        _ratios(results, compared, others, attrgetter("p50_us"), _ms),
        "",
        "99TH PERCENTILE in ms; and how many times as long",
        _ratios(results, compared, others, attrgetter("p99_us"), _ms),
        "",
        "PROCESSOR TIME PER REQUEST in µs: leader / follower / generator; and how many times as much of the leader",
        _processor(results, compared, others),
        "",
        *_written(results, compared, others),
        "MEMORY OF A NODE in MB, and processor use of three idle nodes",
        _memory(memory),
    ]
    return "\n".join([*parts, *_troubles(results)])


def _ratios(
    results: Results, compared: Sequence[Compared], others: Sequence[str], value: Value, shown: Callable[[float], str]
) -> str:
    headings = ["work, clients", "ours", *others, *(f"to {other}" for other in others)]
    rows = []
    for one in compared:
        names = [one.ours, *(other if other in one.others else "" for other in others)]
        values = [results.spread(one.case, name, value) for name in names]
        ratios = [results.ratio(one.case, one.ours, name, value) for name in names[1:]]
        cells = [shown(spread.median) if spread else "-" for spread in values]
        rows.append([one.case, *cells, *map(_ratio, ratios)])
    return table(headings, rows, right=range(1, len(headings)))


def _processor(results: Results, compared: Sequence[Compared], others: Sequence[str]) -> str:
    headings = ["work, clients", "ours", *others, *(f"leader to {other}" for other in others)]
    rows = []
    for one in compared:
        names = [one.ours, *(other if other in one.others else "" for other in others)]
        ratios = [results.ratio(one.case, one.ours, name, attrgetter("leader_us")) for name in names[1:]]
        rows.append([one.case, *(_costs(results, one.case, name) for name in names), *map(_ratio, ratios)])
    return table(headings, rows, right=range(1, len(headings)))


def _costs(results: Results, case: str, name: str) -> str:
    spreads = [results.spread(case, name, attrgetter(f"{who}_us")) for who in ("leader", "follower", "generator")]
    return " / ".join(f"{spread.median:.0f}" for spread in spreads if spread) or "-"


def _written(results: Results, compared: Sequence[Compared], others: Sequence[str]) -> list[str]:
    rows = []
    for one in compared:
        names = [one.ours, *(other if other in one.others else "" for other in others)]
        spreads = [results.spread(one.case, name, attrgetter("written_per_byte")) for name in names]
        if any(spreads):
            rows.append([one.case, *map(_ratio, spreads)])
    if not rows:
        return []
    headings = ["work, clients", "ours", *others]
    written = table(headings, rows, right=range(1, len(headings)))
    return ["WRITTEN TO THE DISK OF A NODE per byte of documents", written, ""]


def _memory(memory: Mapping[str, tuple[Memory, Memory]]) -> str:
    rows = [
        [name, *(_mb(size) for one in pair for size in (one.leader, one.follower)), f"{pair[0].idle_cpu:.1%}"]
        for name, pair in memory.items()
    ]
    headings = ("store", "leader before", "follower before", "leader after", "follower after", "idle CPU")
    return table(headings, rows, right=range(1, 6))


def _troubles(results: Results) -> list[str]:
    """Return what happened during turns that makes them say less; nothing is left out of the medians for it."""
    lines = []
    for turn in results.troubled():
        said = ", ".join(f"{count} x {cause}" for cause, count in sorted(turn.errors.items()))
        said = said or ("the leader changed" if turn.leader_changed else "no answer")
        lines.append(f"  round {turn.round + 1}, {turn.case}, {turn.contender}: {said}")
    return ["", "ERRORS", *lines] if lines else ["", "No errors."]


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f}-{spread.greatest:.2f})" if spread else "-"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f}"


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f}"
