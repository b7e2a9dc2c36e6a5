"""Asks every question of every dashboard, and says which panels would be empty or show an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collectionstore_observe.allowed import Silence
from collectionstore_observe.api import PrometheusApi, QueryFailed, Series, Window
from collectionstore_observe.dashboards import Dashboard, Panel, Target, substitute


@dataclass(frozen=True, slots=True)
class Answer:
    """A target and its series, or why there are none."""

    target: Target
    series: tuple[Series, ...]
    error: str = ""


@dataclass(slots=True)
class Verdict:
    """What the check of all panels found; every entry is a line of the report."""

    checked: int = 0
    silent: list[str] = field(default_factory=list)
    """Empty, and allowed to be."""
    empty: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard and the answers to its panels, in the same order, and to its annotations."""

    dashboard: Dashboard
    answers: tuple[tuple[Answer, ...], ...]
    annotations: tuple[Answer, ...]


async def ask(api: PrometheusApi, dashboard: Dashboard, values: Mapping[str, str], window: Window) -> Page:
    """Ask everything a dashboard asks. What Prometheus refuses is in the answers."""
    return Page(
        dashboard,
        tuple([await _all(api, panel.targets, values, window) for panel in dashboard.panels]),
        await _all(api, dashboard.annotations, values, window),
    )


@dataclass(frozen=True, slots=True)
class Excuses:
    """Panels that may be empty, as in `allowed.SILENT`, and the families that programs declare without a sample."""

    silent: Mapping[tuple[str, str], Silence]
    declared: frozenset[str]


async def check(api: PrometheusApi, pages: Sequence[Page], values: Mapping[str, str], excuses: Excuses) -> Verdict:
    """Judge pages."""
    verdict = Verdict()
    unneeded = {key for key, one in excuses.silent.items() if not one.chance}
    for page in pages:
        for panel, answers in zip(page.dashboard.panels, page.answers, strict=True):
            if panel.kind in ("row", "text"):
                continue
            verdict.checked += 1
            key = (page.dashboard.uid, panel.title)
            if not _judged(page, panel, answers, verdict):
                continue
            unneeded.discard(key)
            await _excuse(api, page, panel, excuses, verdict)
        _judge_annotations(page, verdict)
        await _judge_variables(api, page.dashboard, values, verdict)
    verdict.failed += [f"{uid}: {title}: has data, and need not be on the list" for uid, title in sorted(unneeded)]
    return verdict


def _judged(page: Page, panel: Panel, answers: Sequence[Answer], verdict: Verdict) -> bool:
    """Note errors; return whether a target of the panel has no data."""
    where = f"{page.dashboard.file}: {panel.title}"
    errors = [f"{where} {one.target.reference}: {one.error}" for one in answers if one.error]
    verdict.failed += errors
    if not answers:
        verdict.failed.append(f"{where}: asks nothing")
    return any(not one.series and not one.error for one in answers)


async def _excuse(api: PrometheusApi, page: Page, panel: Panel, excuses: Excuses, verdict: Verdict) -> None:
    where = f"{page.dashboard.file}: {panel.title}"
    silence = excuses.silent.get((page.dashboard.uid, panel.title))
    if silence is None:
        verdict.empty.append(where)
    elif silence.zero:
        found = await api.query(silence.zero)
        zero = bool(found) and all(one.points and one.last == 0 for one in found)
        texts = verdict.silent if zero else verdict.empty
        texts.append(f"{where}: {silence.reason}; {silence.zero} is {'' if zero else 'not '}there with the value 0")
    else:
        declared = silence.declared in excuses.declared
        texts = verdict.silent if declared else verdict.empty
        texts.append(f"{where}: {silence.reason}; {silence.declared} is {'' if declared else 'not '}declared")


def _judge_annotations(page: Page, verdict: Verdict) -> None:
    # An annotation marks what seldom happens: it may be empty, but not wrong.
    for one in page.annotations:
        if one.error:
            verdict.failed.append(f"{page.dashboard.file}: annotation {one.target.reference}: {one.error}")


async def _judge_variables(
    api: PrometheusApi, dashboard: Dashboard, values: Mapping[str, str], verdict: Verdict
) -> None:
    for one in dashboard.variables:
        if not await api.label_values(substitute(one.selector, values), one.label):
            verdict.empty.append(f"{dashboard.file}: the variable {one.name} has nothing to choose from")


async def _all(
    api: PrometheusApi, targets: Sequence[Target], values: Mapping[str, str], window: Window
) -> tuple[Answer, ...]:
    return tuple([await _answer(api, target, values, window) for target in targets])


async def _answer(api: PrometheusApi, target: Target, values: Mapping[str, str], window: Window) -> Answer:
    try:
        series = await api.query_range(substitute(target.expression, values), window)
    except QueryFailed as error:
        return Answer(target, (), str(error))
    return Answer(target, tuple(series))
