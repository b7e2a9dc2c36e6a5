"""Tests with a real Prometheus that scrapes a small page of metrics: panels, excuses, rules and alerts."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from collectionstore_observe import panels, rules
from collectionstore_observe.allowed import Silence
from collectionstore_observe.api import PrometheusApi, QueryFailed, Window
from collectionstore_observe.breaking import firing
from collectionstore_observe.errors import ObserveFailed
from collectionstore_observe.server import Job, configuration, running_prometheus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("prometheus")]

SCRAPE_S = 0.5
EXPOSITION = """\
good 1
failures_total{reason="a"} 0
failures_total{reason="b"} 0
missing_total 3
took_seconds_bucket{le="+Inf"} 0
"""
RULES = {
    "r.yaml": {
        "groups": [
            {
                "name": "g",
                "rules": [
                    {"alert": "Always", "expr": "vector(1)", "for": "10m"},
                    {"record": "twice", "expr": "2 * good"},
                ],
            }
        ]
    }
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Exposed:
    """The page of metrics: where it is, and when it is scraped."""

    def __init__(self) -> None:
        self.address = ""
        self._scraped = asyncio.Condition()

    async def answer(self, _: web.Request) -> web.Response:
        async with self._scraped:
            self._scraped.notify_all()
        return web.Response(text=EXPOSITION)

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Look at every scrape whether the condition holds."""
        async with asyncio.timeout(30):
            while not await condition():
                async with self._scraped:
                    await self._scraped.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exposed() -> AsyncIterator[Exposed]:
    page = Exposed()
    app = web.Application()
    app.router.add_get("/metrics", page.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    page.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield page
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    tmp_path_factory: pytest.TempPathFactory, exposed: Exposed, session: aiohttp.ClientSession
) -> AsyncIterator[PrometheusApi]:
    folder = tmp_path_factory.mktemp("prometheus")
    files = rules.write(rules.hurried(RULES, SCRAPE_S), folder / "rules")
    jobs = [Job("page", {exposed.address: {"cluster": "demo", "instance": "demo-0"}})]
    settings = configuration(jobs, files, SCRAPE_S)
    async with running_prometheus(folder, free_port(), settings, session) as made:
        await exposed.until(lambda: made.query("twice"))
        yield made


def lately() -> Window:
    now = time.time()
    return Window(now - 60, now, 0.2)


async def verdict(
    api: PrometheusApi, page: Any, silent: dict[tuple[str, str], Silence] | None = None, *declared: str
) -> panels.Verdict:
    values = {"cluster": "demo", "window": "2s"}
    asked = await panels.ask(api, page, values, lately())
    return await panels.check(api, [asked], values, panels.Excuses(silent or {}, frozenset(declared)))


async def test_a_panel_with_data_passes_and_one_without_is_named(api: PrometheusApi, made: Any) -> None:
    page = made({"full": 'good{cluster=~"$cluster"}', "bare": 'good{cluster="other"}'})
    found = await verdict(api, page)
    assert (found.checked, found.empty, found.failed) == (2, ["page.json: bare"], [])


async def test_a_panel_that_shows_only_what_is_no_number_is_empty(api: PrometheusApi, made: Any) -> None:
    page = made({"quantile": "histogram_quantile(0.9, rate(took_seconds_bucket[$window]))"})
    assert (await verdict(api, page)).empty == ["page.json: quantile"]


async def test_a_wrong_question_is_told_with_the_reason(api: PrometheusApi, made: Any) -> None:
    found = await verdict(api, made({"wrong": "sum(good"}))
    assert found.empty == []
    assert len(found.failed) == 1
    assert found.failed[0].startswith("page.json: wrong A: bad_data:")


async def test_silence_is_excused_only_by_series_that_are_zero(api: PrometheusApi, made: Any) -> None:
    page = made({"errors": "failures_total > 0"})
    key = ("page", "errors")
    assert (await verdict(api, page)).empty == ["page.json: errors"]
    proven = await verdict(api, page, {key: Silence("none", zero="failures_total")})
    assert (proven.empty, len(proven.silent)) == ([], 1)
    for untrue in ("missing_total", "nothing_total"):
        refused = await verdict(api, page, {key: Silence("none", zero=untrue)})
        assert (len(refused.empty), refused.silent) == (1, [])


async def test_silence_of_a_declared_family_is_excused(api: PrometheusApi, made: Any) -> None:
    page = made({"errors": "rare_total"})
    silent = {("page", "errors"): Silence("none", declared="rare_total")}
    assert (await verdict(api, page, silent, "rare_total")).empty == []
    assert len((await verdict(api, page, silent)).empty) == 1


async def test_an_excuse_for_a_panel_with_data_is_an_error(api: PrometheusApi, made: Any) -> None:
    found = await verdict(api, made({"full": "good"}), {("page", "full"): Silence("none", zero="failures_total")})
    assert found.failed == ["page: full: has data, and need not be on the list"]
    by_chance = Silence("none", zero="failures_total", chance=True)
    assert (await verdict(api, made({"full": "good"}), {("page", "full"): by_chance})).failed == []


async def test_a_variable_with_nothing_to_choose_is_named(api: PrometheusApi, made: Any) -> None:
    variables = [
        {"name": name, "type": "query", "query": f"label_values({selector}, cluster)"}
        for name, selector in (("cluster", "good"), ("other", 'good{cluster="other"}'))
    ]
    found = await verdict(api, made({"full": "good"}, templating={"list": variables}))
    assert found.empty == ["page.json: the variable other has nothing to choose from"]


async def test_an_alert_fires_once_its_condition_has_held_for_the_shortened_time(
    api: PrometheusApi, exposed: Exposed
) -> None:
    async def fires() -> bool:
        return "Always" in await firing(api)

    await exposed.until(fires)
    assert {rule["name"]: rule["health"] for rule in await api.rules()} == {"Always": "ok", "twice": "ok"}


async def test_what_prometheus_refuses_is_an_error_with_its_words(api: PrometheusApi) -> None:
    with pytest.raises(QueryFailed, match="parse error"):
        await api.query("sum(")


async def test_a_configuration_it_does_not_understand_is_told(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    with pytest.raises(ObserveFailed, match=r"(?s)ended with exit code.*nonsense"):
        async with running_prometheus(tmp_path, free_port(), {"nonsense": 1}, session):
            pytest.fail("it runs")
