"""How long requests hold the event loop of a node: `python -m collectionstore_node.tests.api.loop_hold [--only TEXT]`.

Starts one node, the real one on RocksDB, in this process, and the client of each row in a process of its own. Measured
is the processor time that the loop's thread spent between two turns of the loop, which other processes of the machine
change little; `wall` is the same by the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import uvloop

from collectionstore_node import app
from collectionstore_node.part_settings import peer_security
from collectionstore_node.settings import PREFIX, Settings
from collectionstore_node.storage import Database
from collectionstore_node.tests.api.large_bodies import LEGAL, REFUSED
from collectionstore_node.tests.transport.doubles import Authority
from collectionstore_telemetry import logs

HOST: Final = "127.0.0.1"
JSON: Final = {"Content-Type": "application/json"}
DELETED: Final = 60_000
COLLECTIONS: Final = 2_000


class Client:
    """What a row does to the node."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.statuses: dict[int, int] = {}

    async def send(self, method: str, path: str, body: bytes | None = None) -> None:
        async with self._session.request(method, self._url + path, data=body, headers=JSON) as answer:
            await answer.read()
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1

    async def many(self, count: int, method: str, path: str, body: bytes | None = None) -> None:
        """Send `count` requests at once; `{}` in the path is the number of each."""
        await asyncio.gather(*(self.send(method, path.replace("{}", str(at)), body) for at in range(count)))


async def fill(client: Client) -> None:
    await client.send("PUT", "/api/v1/collections/c")
    for at in range(COLLECTIONS // 100):
        await client.many(100, "PUT", f"/api/v1/collections/m{at:03}-{{}}")
    # The 1 MiB values that lists of 4 MiB consist of.
    await client.many(8, "PUT", "/api/v1/kv/large/{}", b"x" * (1 << 20))
    await client.many(8, "PUT", "/api/v1/collections/c/documents/large{}", b'{"a":"%s"}' % (b"x" * (1_048_000)))
    for at in range(10):
        await client.many(100, "PUT", f"/api/v1/collections/c/documents/small{at}{{}}", b'{"a":1}')
    for op in ("put", "delete"):
        value = {"value": base64.b64encode(b"x" * 64).decode()} if op == "put" else {}
        for at in range(0, DELETED, 8 * 125):
            steps = [
                [{"op": op, "bucket": "deleted", "key": f"{at + 125 * part + one:07}", **value} for one in range(125)]
                for part in range(8)
            ]
            await asyncio.gather(
                *(client.send("POST", "/api/v1/transactions", json.dumps({"then": one}).encode()) for one in steps)
            )


def _rows() -> dict[str, Callable[[Client], Awaitable[None]]]:
    transactions = "/api/v1/transactions"
    rows: dict[str, Callable[[Client], Awaitable[None]]] = {"fill": fill}
    for name, body in (LEGAL | REFUSED).items():
        path = transactions if len(body) > 1 << 20 else "/api/v1/collections/c/documents/body"
        method = "POST" if path is transactions else "PUT"
        rows[f"1 body: {name}"] = partial(Client.send, method=method, path=path, body=body)
    rows["16 bodies: lists"] = lambda client: client.many(
        16, "PUT", "/api/v1/collections/c/documents/b{}", LEGAL["lists"]
    )
    rows["1 transaction: two documents of lists"] = lambda client: client.send(
        "POST",
        transactions,
        b'{"then":['
        + b",".join(
            b'{"op":"put","collection":"c","id":"t%d","document":{"a":[%s1]}}' % (at, b"[]," * 330_000) for at in (1, 2)
        )
        + b"]}",
    )
    value = base64.b64encode(b"x" * 12_000)
    rows["1 transaction: 128 values, 2 MiB"] = lambda client: client.send(
        "POST",
        transactions,
        b'{"then":[%s]}'
        % b",".join(b'{"op":"put","bucket":"t","key":"%d","value":"%s"}' % (at, value) for at in range(128)),
    )
    rows["1 transaction: 150,000 gets"] = lambda client: client.send(
        "POST", transactions, b'{"then":[' + b'{"op":"get"},' * 150_000 + b'{"op":"get"}]}'
    )
    documents = "/api/v1/collections/c/documents"
    rows["1 list, 4 MiB"] = lambda client: client.send("GET", f"{documents}?prefix=large")
    rows["30 lists, 4 MiB"] = lambda client: client.many(30, "GET", f"{documents}?prefix=large")
    rows["30 lists, 4 MiB in base64"] = lambda client: client.many(30, "GET", "/api/v1/kv/large?values=true")
    rows["30 lists, 1,000 items"] = lambda client: client.many(30, "GET", f"{documents}?prefix=small&limit=1000")
    rows["30 lists, 1,000 collections"] = lambda client: client.many(30, "GET", "/api/v1/collections?limit=1000")
    rows["1 list, all deleted"] = lambda client: client.send("GET", "/api/v1/kv/deleted")
    rows["64 reads, 1 MiB"] = lambda client: client.many(64, "GET", f"{documents}/large1")
    rows["32 writes, 1 MiB"] = lambda client: client.many(32, "PUT", "/api/v1/kv/large/{}", b"x" * (1 << 20))
    rows["200 reads, small"] = lambda client: client.many(200, "GET", f"{documents}/small11")
    rows["200 writes, small"] = lambda client: client.many(200, "PUT", f"{documents}/s{{}}", b'{"a":1}')
    for page in ("metrics", "status", "api/v1/cluster"):
        rows[f"10 times /{page}"] = partial(Client.many, count=10, method="GET", path=f"/{page}")
    return rows


@dataclass(slots=True)
class Held:
    """The longest turn of the loop since the last reset."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    _last: tuple[float, float] = field(default=(0.0, 0.0))

    def reset(self) -> None:
        self.cpu_s = self.wall_s = 0.0

    def watch(self) -> None:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        self.cpu_s = max(self.cpu_s, cpu_s - self._last[0])
        self.wall_s = max(self.wall_s, wall_s - self._last[1])
        self._last = time.thread_time(), time.perf_counter()
        # Again in the next turn: the loop never sleeps, which is what makes every turn visible.
        asyncio.get_running_loop().call_soon(self.watch)

    def start(self) -> None:
        self._last = time.thread_time(), time.perf_counter()
        self.watch()


async def _row(name: str, url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        client = Client(session, url)
        await _rows()[name](client)
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(client.statuses.items()))
        sys.stdout.write(statuses)


async def _measure(only: str) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        settings = _settings(Path(folder))
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            database = await loop.run_in_executor(
                None, lambda: Database.open(settings.data_dir, cluster_id=settings.cluster_id, name=settings.name)
            )
            stack.callback(database.close)
            levels = logs.configure(format_="json", level="error", member=settings.name)
            environment = app._host_environment(levels)
            member = await app.start(stack, settings, database, peer_security(settings), environment)
            await member.replica.bootstrap()
            # As `app.run` does.
            gc.collect()
            gc.freeze()
            gc.set_threshold(app.GC_THRESHOLD, 50, 100)
            held = Held()
            held.start()
            url = settings.client_advertise
            sys.stdout.write(f"{'request':<42} {'held, ms':>9} {'wall, ms':>9}  answers\n")
            for name in _rows():
                if name == "fill" or only in name:
                    await _one(name, url, held)


async def _one(name: str, url: str, held: Held) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, "--row", name, "--url", url, stdout=asyncio.subprocess.PIPE
    )
    await asyncio.sleep(0.1)
    held.reset()
    answers, _ = await client.communicate()
    if client.returncode:
        raise SystemExit(f"the client of {name!r} failed")
    row = f"{name:<42} {held.cpu_s * 1000:>9.1f} {held.wall_s * 1000:>9.1f}  {answers.decode()}"
    sys.stdout.write(row + "\n")
    sys.stdout.flush()


def _settings(folder: Path) -> Settings:
    files = Authority().issue(folder / "tls", "bench-0", cluster_id="bench")
    ports = []
    for _ in range(3):
        with socket.socket() as free:
            free.bind((HOST, 0))
            ports.append(free.getsockname()[1])
    values = {
        "NAME": "bench-0",
        "CLUSTER_ID": "bench",
        "DATA_DIR": str(folder / "data"),
        "TLS_DIR": str(Path(files.ca).parent),
        "CLIENT_TLS": "Disabled",
        "CLIENT_ADDRESS": f"{HOST}:{ports[0]}",
        "PEER_ADDRESS": f"{HOST}:{ports[1]}",
        "METRICS_ADDRESS": f"{HOST}:{ports[2]}",
    }
    return Settings.from_environment({PREFIX + name: value for name, value in values.items()} | dict(os.environ))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_row(options.row, options.url) if options.row else _measure(options.only))


if __name__ == "__main__":
    main()
