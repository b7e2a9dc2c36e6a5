"""Measure what access control costs: one cluster asks for a token and goes by a role, the other one asks for nothing.

Both are loaded in turns within one run, writes first, then reads of all members. The role allows reads and writes of
one collection, so every request is evaluated. "nodes µs" is the processor time of all three nodes for one request.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp

from collectionstore_bench.comparison.on_and_off import OFF, ON, load_of, measure, parse_options, render
from collectionstore_bench.comparison.turns import APART, Side, without_collecting
from collectionstore_bench.load.bench import Bench
from collectionstore_bench.load.documents import COLLECTION
from collectionstore_bench.machine import describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import STATE_PARENT, LocalCluster, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

REPLICAS: Final = 3
ROLE: Final[dict[str, Any]] = {
    "rules": [
        {"effect": "allow", "verbs": ["read", "write", "create"], "collections": [COLLECTION]},
        {"effect": "allow", "verbs": ["monitor"], "cluster": True},
    ]
}


async def token_of(cluster: LocalCluster, url: str) -> str:
    """Create a role, a user and its token by the owner's token; return the token. Raises ClusterFailed."""
    owner = (cluster.state / cluster.name / "admin.token").read_text().strip()
    async with aiohttp.ClientSession(base_url=url, headers={"Authorization": f"Bearer {owner}"}) as session:
        await _ask(session, "PUT", "/api/v1/roles/bench?missing=allow", ROLE)
        await _ask(session, "PUT", "/api/v1/users/bench", {"roles": ["bench"]})
        made = await _ask(session, "POST", "/api/v1/tokens", {"user": "bench", "ttl": "1d"})
    return str(made["token"])


async def _ask(session: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any]) -> Any:
    async with session.request(method, path, json=body) as response:
        if response.status >= 300:
            raise ClusterFailed(f"{method} {path} was answered with {response.status}: {await response.text()}")
        return await response.json()


async def check_closed(url: str) -> None:
    """Raise ClusterFailed if a request without a token is served: nothing would be measured."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/collections") as response:
        if response.status != 401:
            raise ClusterFailed(f"without a token the answer is {response.status}, not 401")


@asynccontextmanager
async def sides_of(options: argparse.Namespace) -> AsyncIterator[dict[str, Side]]:
    """Start both clusters, and write every document."""
    load = load_of(options)
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for number, (side, spec) in enumerate({OFF: {}, ON: {"access": {"mode": "Enforced"}}}.items()):
            say(f"starting three nodes with access control {side}")
            cluster = await stack.enter_async_context(
                local_cluster(replicas=REPLICAS, base_port=options.base_port + APART * number, spec=spec)
            )
            urls = cluster.urls(REPLICAS)
            headers: dict[str, str] = {}
            if spec:
                await check_closed(urls[0])
                headers["Authorization"] = f"Bearer {await token_of(cluster, urls[0])}"
            session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
            sides[side] = Side(Bench(load, urls, Nodes(session), headers), urls)
            await sides[side].bench.prepare()
        without_collecting()
        yield sides


async def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    machine = describe(STATE_PARENT)
    async with sides_of(options) as sides:
        rows = await measure(sides, options)
    print("\n".join([*machine.lines(), *render(rows, options, "access control", "on to off")]))


def main() -> int:
    """Run; return the exit code: 0 measured, 1 a cluster failed, 130 interrupted."""
    options = parse_options("access", __doc__, 21_800)

    def work() -> int:
        on_uvloop(run(options))
        return 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
