"""One run: a cluster, its Prometheus and its clients; then the questions, the broken parts and the pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from collectionstore_observe import allowed, breaking, dashboards, panels, rules, series
from collectionstore_observe.api import PrometheusApi, Window
from collectionstore_observe.breaking import Lab
from collectionstore_observe.errors import ObserveFailed
from collectionstore_observe.findings import Findings
from collectionstore_observe.options import Options
from collectionstore_observe.preview import browser, page
from collectionstore_observe.server import Job, configuration, running_prometheus
from collectionstore_observe.workload import Workload
from collectionstore_testkit.clusters.local import HOST, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes
from collectionstore_testkit.tools import chromium

NAME: Final = "demo"
SIZE: Final = 3
SPEC: Final = {"snapshot": {"commands": 1_000}}
"""The least that is allowed, so that there are snapshots within a minute."""
NAMESPACE: Final = "local"
STEP_S: Final = 4.0
CALM_S: Final = 5 * STEP_S
"""How long all is well again before pictures are drawn."""
_UP_TIMEOUT_S: Final = 60.0
_CHANGE_TIMEOUT_S: Final = 240.0
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Session:
    """What runs while questions are asked."""

    lab: Lab
    api: PrometheusApi
    http: aiohttp.ClientSession
    workload: Workload
    exposed: Sequence[str]
    """Addresses that answer /metrics."""
    started: float
    options: Options

    def window(self) -> Window:
        """Return the time from the first scrape until now."""
        return Window(self.started, time.time(), STEP_S)

    def variables(self) -> dict[str, str]:
        """Return the values of Grafana's variables: the whole cluster, and windows as Grafana computes them."""
        scrape = self.options.scrape_s
        return {
            "datasource": "prometheus",
            "namespace": NAMESPACE,
            "cluster": NAME,
            "instance": ".*",
            "__rate_interval": f"{round(max(4 * scrape, STEP_S + scrape))}s",
            "__interval": f"{round(STEP_S)}s",
            "__range": f"{round(time.time() - self.started)}s",
        }


def say(text: str) -> None:
    """Tell people what happens now."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


async def run(options: Options) -> Findings:
    """Run everything that the options request. Raises `ObserveFailed` or `ClusterFailed` when that is impossible."""
    pages = dashboards.load(options.dashboards.glob("*.json"))
    files = rules.load(options.alerts.glob("*.yaml"))
    if options.draw:
        chromium.program()
    findings = Findings(dashboards=len(pages), rules=sum(1 for _ in rules.rules(files)))
    async with _started(options, files) as session:
        async with session.workload.running():
            await _lively(session, findings)
            await _look(session, pages, files, findings)
            if options.break_it:
                await _break(session, findings)
            if options.draw:
                await _draw(session, pages)
        findings.answers = session.workload.answers.total()
        if options.stay:
            print("\n".join(findings.lines()))
            say(f"Prometheus: http://{HOST}:{options.prometheus_port}; Ctrl-C ends all")
            await asyncio.Event().wait()
    return findings


@asynccontextmanager
async def _started(options: Options, files: dict[str, dict[str, Any]]) -> AsyncIterator[Session]:
    """Start the cluster and its Prometheus, and wait until every target is scraped."""
    say(f"starting a cluster of {SIZE} members")
    async with (
        local_cluster(replicas=SIZE, base_port=options.base_port, spec=SPEC, name=NAME) as cluster,
        aiohttp.ClientSession() as http,
    ):
        lab = Lab(cluster, Nodes(http), SIZE)
        urls = cluster.urls(SIZE)
        statuses = await lab.nodes.statuses(urls)
        members = {one.metrics_address: one.name for one in statuses.values()}
        operator = f"{HOST}:{options.base_port - 1}"
        jobs = [
            Job(
                "collectionstore-node",
                {at: {"namespace": NAMESPACE, "cluster": NAME, "instance": name} for at, name in members.items()},
            ),
            Job(
                "collectionstore-operator",
                {operator: {"namespace": NAMESPACE, "instance": f"{NAME}-supervisor"}},
                honour_labels=True,
            ),
        ]
        folder = cluster.folder / "prometheus"
        folder.mkdir()
        say(f"`for` of every alert is at most {rules.HELD_S} s in this run; expressions are as they are")
        hurried = rules.write(rules.hurried(files, options.scrape_s), folder / "rules")
        settings = configuration(jobs, hurried, options.scrape_s)
        async with running_prometheus(folder, options.prometheus_port, settings, http) as api:
            started = time.time()
            await _scraped(api, SIZE + 1)
            exposed = [*members, operator]
            yield Session(lab, api, http, Workload(http, urls), exposed, started, options)


async def _scraped(api: PrometheusApi, wanted: int) -> None:
    """Wait until every target answers. Raises `ObserveFailed` with the state of the other targets."""
    deadline = time.monotonic() + _UP_TIMEOUT_S
    while True:
        targets = await api.targets()
        if len(targets) == wanted and all(one["health"] == "up" for one in targets):
            return
        if time.monotonic() > deadline:
            said = [f"{one['scrapeUrl']}: {one['health']} {one['lastError']}" for one in targets]
            raise ObserveFailed("not every target is scraped:\n" + "\n".join(said))
        await asyncio.sleep(_POLL_S)


async def _lively(session: Session, findings: Findings) -> None:
    """Let the cluster go through what a life has: work, a member replaced by an empty one, a new leader, a timeout."""
    spare = session.options.load_s / 3
    say(f"clients work for {session.options.load_s:g} s")
    await asyncio.sleep(spare)
    await _compacted(session)
    # From here on members are away at times, and what clients see of that is theirs to see.
    findings.faults += [f"{count} unexpected: {what}" for what, count in session.workload.unexpected.items()]
    _, others = await session.lab.names()
    say(f"{others[0]} is replaced by an empty member")
    await session.lab.cluster.csctl("replace", others[0], timeout_s=_CHANGE_TIMEOUT_S)
    await asyncio.sleep(spare)
    url, _ = await session.lab.nodes.leader(session.lab.cluster.urls(SIZE))
    say("leadership is handed over")
    async with session.http.get(f"{url}/api/v1/cluster") as response:
        epoch = (await response.json())["epoch"]
    body = {"node_id": None, "epoch": epoch}
    headers = session.lab.cluster.admin_headers
    async with session.http.post(f"{url}/api/v1/cluster/transfer-leadership", json=body, headers=headers) as response:
        if response.status != 200:
            raise ObserveFailed(f"handing leadership over was answered with {response.status}: {await response.text()}")
    await session.workload.impatient()
    await asyncio.sleep(spare)


async def _compacted(session: Session) -> None:
    """Wait until the log begins later than at its start, so that an empty member needs a snapshot."""
    deadline = time.monotonic() + _CHANGE_TIMEOUT_S
    while (await session.lab.nodes.leader(session.lab.cluster.urls(SIZE)))[1].first_index <= 1:
        if time.monotonic() > deadline:
            raise ObserveFailed(f"no log was compacted within {_CHANGE_TIMEOUT_S:g} s of work")
        await asyncio.sleep(_POLL_S)


async def _look(
    session: Session,
    pages: Sequence[dashboards.Dashboard],
    files: dict[str, dict[str, Any]],
    findings: Findings,
) -> None:
    """Check panels, series and rules, with the cluster well and at work."""
    say("asking what every panel asks")
    values, window = session.variables(), session.window()
    asked = [await panels.ask(session.api, one, values, window) for one in pages]
    families: dict[str, series.Family] = {}
    for address in session.exposed:
        async with session.http.get(f"http://{address}/metrics") as response:
            families |= series.exported(await response.text())
    excuses = panels.Excuses(allowed.SILENT, frozenset(families))
    findings.panels = await panels.check(session.api, asked, values, excuses)
    expressions = [expression for one in pages for expression in one.expressions()]
    expressions += [rule["expr"] for rule in rules.rules(files)]
    findings.series = series.compare(families, series.names(expressions), allowed.UNSEEN)
    findings.faults += [
        f"the rule {one['name']} is {one['health']}: {one.get('lastError', '')}"
        for one in await session.api.rules()
        if one["health"] != "ok"
    ]


async def _break(session: Session, findings: Findings) -> None:
    findings.firing = tuple(sorted(await breaking.firing(session.api)))
    for one in breaking.BREAKS:
        say(f"{one.what}: waiting for {one.alert}")
        findings.fired.append(await breaking.provoke(session.api, session.lab, one))
        say(f"{one.alert} fired, and cleared")


async def _draw(session: Session, pages: Sequence[dashboards.Dashboard]) -> None:
    # Stats show the present: the operator that has just come back is to be in it.
    await _scraped(session.api, SIZE + 1)
    await asyncio.sleep(CALM_S)
    values, window = session.variables(), session.window()
    for one in pages:
        asked = await panels.ask(session.api, one, values, window)
        picture = _picture(session.options.pictures, one)
        await asyncio.to_thread(browser.draw, page.html(asked, window), page.WIDTH, page.height(asked), picture)
        say(f"drew {picture}")


def _picture(folder: Path, dashboard: dashboards.Dashboard) -> Path:
    return folder.resolve() / Path(dashboard.file).with_suffix(".png").name
