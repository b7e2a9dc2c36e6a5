"""The clients' pod: started beside a cluster, followed by its log, stopped, and checked."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import DeadlinePassed, Refused
from collectionstore_e2e.harness.kinds import CONFIG_MAP, POD, Object
from collectionstore_e2e.harness.objects import container, pod, pod_spec
from collectionstore_testkit.clients.archive import client_archive
from collectionstore_testkit.clients.recorded import Recorded, summary

NAME: Final = "clients"
PROGRAM: Final = "/clients/clients.pyz"
TRUST: Final = "/trust/ca.crt"
AGAIN_S: Final = 0.5
START_S: Final = 90.0
END_S: Final = 90.0
WORKING_WRITES: Final = 20
"""A cluster that has taken so many more writes works."""
WORKING_S: Final = 60.0


class Clients:
    """Clients at work; `recorded` grows while they are followed."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._changed = asyncio.Condition()
        self.recorded = Recorded()

    @property
    def now(self) -> float:
        """The time of the clients' clock, as reported last."""
        return self.recorded.standing.at

    @property
    def retries(self) -> int:
        """How often a request was sent again so far."""
        return self.recorded.standing.retries

    async def follow(self) -> None:
        """Read the log until the clients have ended. A connection that breaks is made anew, from the beginning."""
        while self.recorded.ended is None:
            try:
                async for line in self._context.client.follow(self._name):
                    self.recorded.take(line)
                    await self._tell()
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # the API server or the way to it: again
            except Refused as refused:
                if refused.status < 500:
                    self.recorded.other.append(f"its log cannot be read: {refused}")
                    await self._tell()
                    return
            await asyncio.sleep(AGAIN_S)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[Recorded], bool], *, what: str, timeout_s: float) -> None:
        """Wait until something is true of what was recorded.

        Raises `DeadlinePassed`, and AssertionError at once when the clients fail or an answer is not allowed.
        """
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: bool(self.recorded.problem()) or holds(self.recorded))
        except TimeoutError:
            told = self.recorded.unreached or f"{self.recorded.standing}"
            raise DeadlinePassed(f"{what}: not within {timeout_s:.0f} s. The clients: {told}") from None
        assert not self.recorded.problem(), self.recorded.problem()

    async def working(self, *, writes: int = WORKING_WRITES, timeout_s: float = WORKING_S) -> None:
        """Wait until so many more writes were acknowledged."""
        goal = self.recorded.standing.writes + writes
        await self.until(lambda seen: seen.standing.writes >= goal, what=f"{writes} writes", timeout_s=timeout_s)

    async def say_pauses(self, what: str, since: float, *, longest_s: float) -> None:
        """Wait until they write again, print how long they could not, and require that to be within the bound."""
        await self.working()
        pauses = self.recorded.pauses(since)
        self._context.say(f"{what}: {summary(pauses)}")
        assert max(pauses) <= longest_s, f"{what}: {summary(pauses)}; allowed: {longest_s:g} s"

    async def end(self) -> None:
        """Have them finish, read every key once more, and judge everything that they have seen."""
        await self._context.kubectl.exec(self._name, "/bin/sh", "-c", "kill -TERM 1")
        await self.until(lambda seen: seen.ended is not None, what="the clients' end", timeout_s=END_S)
        faults = await asyncio.to_thread(self.recorded.faults)
        assert not faults, "\n".join(faults)
        standing, history = self.recorded.standing, self.recorded.history
        self._context.say(
            f"clients: {len(history):,} operations are linearizable, {standing.failed} failed, {standing.unknown} "
            f"unknown, {standing.retries} sent again; {summary(self.recorded.pauses(history[0].invoked))}"
        )


@asynccontextmanager
async def clients(
    context: Context, cluster: str = "demo", *, node: str = "", rate: float = 40.0
) -> AsyncIterator[Clients]:
    """Have clients at work for the time of the block, on a node if one is named; at its end they are judged."""
    record = f"{cluster}-record"
    await context.client.until_one(
        CONFIG_MAP, record, lambda one: "ca.crt" in (one.get("data") or {}), what="an authority", timeout_s=START_S
    )
    await context.client.apply(_program())
    await context.client.apply(_pod(context, cluster, record, node=node, rate=rate))
    await context.client.until_one(
        POD, NAME, lambda one: one["status"].get("phase") == "Running", what="run", timeout_s=START_S
    )
    made = Clients(context, NAME)
    following = asyncio.create_task(made.follow())
    try:
        await made.until(lambda seen: seen.started is not None, what="the clients' first answer", timeout_s=START_S)
        await made.working()
        yield made
        await made.end()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _program() -> Object:
    """Return the archive of the client program, which no image contains."""
    archive = base64.b64encode(client_archive()).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "binaryData": {Path(PROGRAM).name: archive},
    }


def _pod(context: Context, cluster: str, record: str, *, node: str, rate: float) -> Object:
    url = f"https://{cluster}.{context.namespace}.svc:7400"
    arguments = [url, "--trust", TRUST, "--rate", f"{rate:g}"]
    main = container(
        "clients",
        context.images.node,
        ["python3", "-P", PROGRAM, *arguments],
        volumeMounts=[
            {"name": "program", "mountPath": str(Path(PROGRAM).parent), "readOnly": True},
            {"name": "trust", "mountPath": "/trust", "readOnly": True},
        ],
    )
    spec = pod_spec(
        main,
        restartPolicy="Never",
        volumes=[
            {"name": "program", "configMap": {"name": NAME}},
            {"name": "trust", "configMap": {"name": record, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ],
        **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
    )
    return pod(NAME, spec, labels={"app": NAME})
