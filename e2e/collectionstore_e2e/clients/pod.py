"""The clients' pod: creates it beside a cluster, follows its log, stops it, and checks the recorded history."""

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
CREDENTIAL: Final = "/credential"
AGAIN_S: Final = 0.5
START_S: Final = 90.0
END_S: Final = 90.0
WORKING_WRITES: Final = 20
"""A cluster works when it has acknowledged this many more writes."""
WORKING_S: Final = 60.0


class Clients:
    """A running clients' pod; `recorded` grows while its log is followed."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._changed = asyncio.Condition()
        self.recorded = Recorded()

    @property
    def now(self) -> float:
        """Time of the clients' clock in the last report, in seconds."""
        return self.recorded.totals.at

    @property
    def retries(self) -> int:
        """Number of retried requests."""
        return self.recorded.totals.retries

    async def follow(self) -> None:
        """Read the log until the clients have ended. After a lost connection it is read again from the beginning."""
        while self.recorded.ended is None:
            try:
                async for line in self._context.client.follow(self._name):
                    self.recorded.take(line)
                    await self._notify()
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # the API server or the connection to it failed: retry
            except Refused as refused:
                if refused.status < 500:
                    self.recorded.other.append(f"its log cannot be read: {refused}")
                    await self._notify()
                    return
            await asyncio.sleep(AGAIN_S)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[Recorded], bool], *, what: str, timeout_s: float) -> None:
        """Wait until `holds` is true of the record.

        Raises `DeadlinePassed`, and AssertionError immediately if the clients fail or a response violates the API.
        """
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: bool(self.recorded.problem()) or holds(self.recorded))
        except TimeoutError:
            last = self.recorded.unreached or f"{self.recorded.totals}"
            raise DeadlinePassed(f"{what}: not within {timeout_s:.0f} s. The clients: {last}") from None
        assert not self.recorded.problem(), self.recorded.problem()

    async def working(self, *, writes: int = WORKING_WRITES, timeout_s: float = WORKING_S) -> None:
        """Wait until `writes` more writes were acknowledged."""
        goal = self.recorded.totals.writes + writes
        await self.until(lambda seen: seen.totals.writes >= goal, what=f"{writes} writes", timeout_s=timeout_s)

    async def say_pauses(self, what: str, since: float, *, longest_s: float) -> None:
        """Wait until writes succeed again, print the pauses since `since`, and assert that none exceeds the bound."""
        await self.working()
        pauses = self.recorded.pauses(since)
        self._context.say(f"{what}: {summary(pauses)}")
        assert max(pauses) <= longest_s, f"{what}: {summary(pauses)}; allowed: {longest_s:g} s"

    async def end(self) -> None:
        """Stop the clients, which read every key once more, and check the whole history."""
        await self._context.kubectl.exec(self._name, "/bin/sh", "-c", "kill -TERM 1")
        await self.until(lambda seen: seen.ended is not None, what="the clients' end", timeout_s=END_S)
        faults = await asyncio.to_thread(self.recorded.faults)
        assert not faults, "\n".join(faults)
        totals, history = self.recorded.totals, self.recorded.history
        self._context.say(
            f"clients: {len(history):,} operations are linearizable, {totals.failed} failed, {totals.unknown} "
            f"unknown, {totals.retries} retried; {summary(self.recorded.pauses(history[0].invoked))}"
        )


@asynccontextmanager
async def clients(
    context: Context, cluster: str = "demo", *, node: str = "", rate: float = 40.0, token: Object | None = None
) -> AsyncIterator[Clients]:
    """Run clients for the duration of the block, on `node` if given; their history is checked at its end.

    `token` is the source of a projected volume with a file `token`: of a Secret, or of the pod's ServiceAccount.
    Without it their requests have no credential.
    """
    record = f"{cluster}-record"
    await context.client.until_one(
        CONFIG_MAP, record, lambda one: "ca.crt" in (one.get("data") or {}), what="a CA certificate", timeout_s=START_S
    )
    await context.client.apply(_program())
    await context.client.apply(_pod(context, cluster, record, node=node, rate=rate, token=token))
    await context.client.until_one(
        POD, NAME, lambda one: one["status"].get("phase") == "Running", what="Running", timeout_s=START_S
    )
    made = Clients(context, NAME)
    following = asyncio.create_task(made.follow())
    try:
        await made.until(lambda seen: seen.started is not None, what="the clients' first response", timeout_s=START_S)
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


def of_secret(name: str) -> Object:
    """Return the token of a Secret, for `clients`."""
    return {"secret": {"name": name, "items": [{"key": "token", "path": "token"}]}}


def of_service_account(audience: str) -> Object:
    """Return a token of the pod's ServiceAccount, for `clients`; the shortest that an API server gives."""
    return {"serviceAccountToken": {"path": "token", "audience": audience, "expirationSeconds": 600}}


def _pod(context: Context, cluster: str, record: str, *, node: str, rate: float, token: Object | None = None) -> Object:
    url = f"https://{cluster}.{context.namespace}.svc:7400"
    arguments = [url, "--trust", TRUST, "--rate", f"{rate:g}"]
    mounts, volumes = [], []
    if token is not None:
        arguments += ["--token", f"{CREDENTIAL}/token"]
        mounts = [{"name": "credential", "mountPath": CREDENTIAL, "readOnly": True}]
        volumes = [{"name": "credential", "projected": {"sources": [token]}}]
    main = container(
        "clients",
        context.images.node,
        ["python3", "-P", PROGRAM, *arguments],
        volumeMounts=[
            {"name": "program", "mountPath": str(Path(PROGRAM).parent), "readOnly": True},
            {"name": "trust", "mountPath": "/trust", "readOnly": True},
            *mounts,
        ],
    )
    spec = pod_spec(
        main,
        restartPolicy="Never",
        volumes=[
            {"name": "program", "configMap": {"name": NAME}},
            {"name": "trust", "configMap": {"name": record, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            *volumes,
        ],
        **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
    )
    return pod(NAME, spec, labels={"app": NAME})
