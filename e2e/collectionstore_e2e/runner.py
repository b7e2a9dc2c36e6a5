"""Runs scenarios, each in its own namespace, and prints the results: several at a time, unless one must run alone.

Exit codes of `main`: 0 all passed, 1 at least one failed, 2 unknown scenario or no cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_e2e.harness.client import Client
from collectionstore_e2e.harness.context import Context, Images, find_kubeconfig
from collectionstore_e2e.harness.errors import DeadlinePassed, NoCluster, Refused
from collectionstore_e2e.harness.evidence import Evidence
from collectionstore_e2e.harness.kinds import NAMESPACE, VOLUME
from collectionstore_e2e.harness.kubectl import NODE_VERBS, Kubectl, find_kubectl
from collectionstore_e2e.harness.machines import Machines, find_machines
from collectionstore_e2e.harness.scenario import Scenario
from collectionstore_e2e.order import Order, Outcome
from collectionstore_e2e.printed import Printed
from collectionstore_e2e.scenarios import find_scenarios
from collectionstore_testkit.places import REPOSITORY

EVIDENCE: Final = REPOSITORY / "build" / "e2e"
TIMES: Final = "times.json"
"""File of EVIDENCE with the times of the last run."""
AT_ONCE: Final = 2
"""Scenarios that run side by side: most of them wait most of the time, so that two cores are enough for two."""
NAMESPACE_GONE_S: Final = 120.0


class Runner:
    """Runs scenarios on one cluster."""

    def __init__(self, client: Client, kubeconfig: Path, machines: Machines | None, *, keep: bool) -> None:
        self._client = client
        self._kubeconfig = kubeconfig
        self._machines = machines
        self._keep = keep
        self._began = time.monotonic()
        self._namespaces: list[str] = []
        self._running: set[str] = set()

    async def run(self, scenario: Scenario, *, alone: bool = True) -> Outcome:
        """Run one scenario and print its result; `alone` prints its lines as they come.

        Its evidence is written when it did not pass.
        """
        print(f"run    {scenario.name}: {scenario.title}", flush=True)
        printed, started = Printed(at_once=alone), time.monotonic()
        passed = False
        result = "STOP  "
        self._running.add(scenario.name)
        try:
            passed = await self._attempt(scenario, printed) is None
            result = "ok    " if passed else "FAIL  "
        finally:
            self._running.discard(scenario.name)
            # Also when the run is interrupted: what was kept back tells how far it came.
            took = time.monotonic() - started
            printed.end(f"{result} {scenario.name} {took:.1f} s")
        return Outcome(scenario.name, passed, started - self._began, took)

    async def _attempt(self, scenario: Scenario, printed: Printed) -> Exception | None:
        """Return the first error, of the scenario or of the clean-up after it; all are printed."""
        try:
            context = await self._prepare(scenario, printed)
        except (Refused, aiohttp.ClientError, OSError) as refused:  # the others must run
            printed.say(f"it could not begin: {refused}")
            return refused
        folder = EVIDENCE / f"{time.strftime('%Y%m%d-%H%M%S')}-{scenario.name}"
        error = await _caught(_in_time(scenario, context))
        if error is not None:
            beside = sorted(self._running - {scenario.name})
            context.say(f"beside it ran {', '.join(beside) or 'nothing'}")
            await _report(error, folder, context)
        cleanup_error = await _caught(self._clear(scenario, context))
        if cleanup_error is not None:
            cleanup_error.add_note("raised during clean-up")
            await _report(cleanup_error, folder / "cleanup", context)
        return error or cleanup_error

    async def _prepare(self, scenario: Scenario, printed: Printed) -> Context:
        name = f"e2e-{scenario.name[:40]}-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": scenario.pod_security, "app.kubernetes.io/part-of": "e2e"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        await self._client.create(manifest)
        self._namespaces.append(name)
        refused = frozenset() if scenario.exclusive else NODE_VERBS
        return Context(
            namespace=name,
            client=self._client.within(name),
            kubectl=Kubectl(find_kubectl(), self._kubeconfig, name, refused),
            images=Images.from_environment(),
            machines=self._machines and self._machines.of(exclusive=scenario.exclusive),
            say=printed.say,
            later=AsyncExitStack(),
        )

    async def _clear(self, scenario: Scenario, context: Context) -> None:
        """Restore the nodes and delete the scenario's objects; its namespace terminates while the next one runs."""
        try:
            if context.machines is not None and scenario.exclusive:
                await context.machines.restore()
        finally:
            if self._keep:
                context.say(f"kept: namespace {context.namespace}")
                self._namespaces.remove(context.namespace)
            else:
                try:
                    await context.later.aclose()
                finally:
                    await self._client.delete(NAMESPACE, context.namespace)

    async def finish(self) -> bool:
        """Wait until all namespaces are deleted; return whether they are. A finalizer may keep one."""
        try:
            for name in self._namespaces:
                await self._client.until_gone(NAMESPACE, name, timeout_s=NAMESPACE_GONE_S)
            await self._discard_volumes()
        except DeadlinePassed as passed:
            print(f"FAIL   {passed}", flush=True)
            return False
        return True

    async def _discard_volumes(self) -> None:
        """Delete the volumes that the product retained; their data are of finished scenarios."""
        for one in await self._client.list_all(VOLUME):
            namespace = (one["spec"].get("claimRef") or {}).get("namespace", "")
            if one["status"].get("phase") == "Released" and namespace.startswith(tuple(self._namespaces)):
                policy = {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}
                await self._client.patch(VOLUME, one["metadata"]["name"], policy)


async def _in_time(scenario: Scenario, context: Context) -> None:
    try:
        async with asyncio.timeout(scenario.timeout_s) as deadline:
            await scenario.body(context)
    except TimeoutError as error:
        if deadline.expired():
            raise DeadlinePassed(f"{scenario.name} did not finish within {scenario.timeout_s:.0f} s") from error
        raise


async def _caught(work: Awaitable[None]) -> Exception | None:
    try:
        await work
    except Exception as error:  # any exception fails this scenario, and the next one must run
        return error
    return None


async def _report(error: Exception, folder: Path, context: Context) -> None:
    text = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
    text = "\n".join([text, *getattr(error, "__notes__", [])])
    context.say(f"{text}\nevidence: {folder}")
    try:
        await Evidence(folder, context).collect(error)
    except Exception as second:  # the scenario's own failure is what counts, and the next one must run
        context.say(f"evidence is incomplete: {second!r}")


async def _run(names: Sequence[str], *, keep: bool, at_once: int, long: bool) -> int:
    known = find_scenarios()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NoCluster(f"unknown scenario: {', '.join(unknown)}; allowed: {', '.join(known)}")
    kubeconfig = find_kubeconfig()
    client = await Client.connect(kubeconfig)
    try:
        machines = find_machines(client.server)
        runner = Runner(client, kubeconfig, machines, keep=keep)
        every = [name for name, one in known.items() if long or not one.long]
        chosen = [known[name] for name in dict.fromkeys(names or every)]
        for one in chosen:
            if one.needs_machines and machines is None:
                print(f"skip   {one.name}: it needs the machines, which only the cluster of `make kube-up` has")
        order = Order.of([one for one in chosen if machines is not None or not one.needs_machines])
        began = time.monotonic()
        single = at_once == 1 or len(order.together) == 1
        outcomes = await order.run(lambda one: runner.run(one, alone=single or one.exclusive), at_once)
        clean = await runner.finish()
    finally:
        await client.close()
    _sum_up(outcomes, time.monotonic() - began)
    return 0 if clean and all(one.passed for one in outcomes) else 1


def _sum_up(outcomes: Sequence[Outcome], took_s: float) -> None:
    """Print the sums and the scenarios that failed, and write the times of all, slowest first."""
    failed = sorted(one.name for one in outcomes if not one.passed)
    times = [asdict(one) for one in sorted(outcomes, key=lambda one: -one.took_s)]
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    (EVIDENCE / TIMES).write_text(json.dumps(times, indent=1) + "\n")
    for name in failed:
        print(f"failed: {name}")
    each = sum(one.took_s for one in outcomes)
    print(
        f"{len(outcomes) - len(failed)} passed, {len(failed)} failed, in {took_s / 60:.1f} minutes "
        f"({each / 60:.1f} one after the other; times of each: {EVIDENCE / TIMES})"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named scenarios, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_e2e", description="Run end-to-end scenarios on a Kubernetes cluster."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios to run; default: all")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument(
        "-j",
        "--at-once",
        type=int,
        default=AT_ONCE,
        choices=range(1, 9),
        metavar="N",
        help=f"scenarios to run side by side, 1 to 8; default: {AT_ONCE}. Those that break nodes run alone",
    )
    parser.add_argument("--long", action="store_true", help="run those that take many minutes, too")
    parser.add_argument("--keep", action="store_true", help="do not delete the namespaces")
    options = parser.parse_args(arguments)
    if options.list:
        for scenario in find_scenarios().values():
            kind = "alone" if scenario.exclusive else "long" if scenario.long else ""
            print(f"{scenario.name:48} {kind:6} {scenario.title}")
        return 0
    try:
        return asyncio.run(_run(options.names, keep=options.keep, at_once=options.at_once, long=options.long))
    except (NoCluster, Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
