"""Runs scenarios in sequence, each in its own namespace, and prints the results.

Exit codes of `main`: 0 all passed, 1 at least one failed, 2 unknown scenario or no cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import textwrap
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.client import Client
from collectionstore_e2e.harness.context import Context, Images, find_kubeconfig
from collectionstore_e2e.harness.errors import DeadlinePassed, NoCluster, Refused
from collectionstore_e2e.harness.evidence import Evidence
from collectionstore_e2e.harness.kinds import NAMESPACE, VOLUME
from collectionstore_e2e.harness.kubectl import Kubectl, find_kubectl
from collectionstore_e2e.harness.machines import Machines, find_machines
from collectionstore_e2e.harness.scenario import Scenario
from collectionstore_e2e.scenarios import find_scenarios
from collectionstore_testkit.places import REPOSITORY

EVIDENCE: Final = REPOSITORY / "build" / "e2e"
NAMESPACE_GONE_S: Final = 120.0


class Runner:
    """Runs scenarios on one cluster."""

    def __init__(self, client: Client, kubeconfig: Path, machines: Machines | None, *, keep: bool) -> None:
        self._client = client
        self._kubeconfig = kubeconfig
        self._machines = machines
        self._keep = keep
        self._namespaces: list[str] = []

    async def run(self, scenario: Scenario) -> bool:
        """Run one scenario; return whether it passed. Its evidence is written when it did not."""
        print(f"run    {scenario.name}: {scenario.title}", flush=True)
        started = time.monotonic()
        error = await self._attempt(scenario)
        took = time.monotonic() - started
        print(f"{'FAIL  ' if error else 'ok    '} {scenario.name} {took:.1f} s", flush=True)
        return error is None

    async def _attempt(self, scenario: Scenario) -> Exception | None:
        """Return the first error, of the scenario or of the clean-up after it; all are printed."""
        context = await self._prepare(scenario)
        folder = EVIDENCE / f"{time.strftime('%Y%m%d-%H%M%S')}-{scenario.name}"
        error = await _caught(_in_time(scenario, context))
        if error is not None:
            await _report(error, folder, context)
        cleanup_error = await _caught(self._clear(context))
        if cleanup_error is not None:
            cleanup_error.add_note("raised during clean-up")
            await _report(cleanup_error, folder / "cleanup", context)
        return error or cleanup_error

    async def _prepare(self, scenario: Scenario) -> Context:
        name = f"e2e-{scenario.name[:40]}-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": scenario.pod_security, "app.kubernetes.io/part-of": "e2e"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        await self._client.create(manifest)
        self._namespaces.append(name)
        return Context(
            namespace=name,
            client=self._client.within(name),
            kubectl=Kubectl(find_kubectl(), self._kubeconfig, name),
            images=Images.from_environment(),
            machines=self._machines,
            say=lambda text: print(f"       {text}", flush=True),
            later=AsyncExitStack(),
        )

    async def _clear(self, context: Context) -> None:
        """Restore the nodes and delete the scenario's objects; its namespace terminates while the next one runs."""
        try:
            if self._machines is not None:
                await self._machines.restore()
        finally:
            if self._keep:
                print(f"       kept: namespace {context.namespace}", flush=True)
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
    print(textwrap.indent(f"{text}\nevidence: {folder}", " " * 7), flush=True)
    try:
        await Evidence(folder, context).collect(error)
    except Exception as second:  # the scenario's own failure is what counts, and the next one must run
        print(f"       evidence is incomplete: {second!r}", flush=True)


async def _run(names: Sequence[str], *, keep: bool) -> int:
    known = find_scenarios()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NoCluster(f"unknown scenario: {', '.join(unknown)}; allowed: {', '.join(known)}")
    kubeconfig = find_kubeconfig()
    client = await Client.connect(kubeconfig)
    try:
        machines = find_machines(client.server)
        runner = Runner(client, kubeconfig, machines, keep=keep)
        passed = failed = 0
        began = time.monotonic()
        for scenario in (known[name] for name in names or known):
            if scenario.needs_machines and machines is None:
                print(f"skip   {scenario.name}: it kills nodes, which only the cluster of `make kube-up` allows")
                continue
            good = await runner.run(scenario)
            passed, failed = passed + good, failed + (not good)
        failed += not await runner.finish()
    finally:
        await client.close()
    print(f"{passed} passed, {failed} failed, in {(time.monotonic() - began) / 60:.1f} minutes")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named scenarios, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_e2e", description="Run end-to-end scenarios on a Kubernetes cluster."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios to run; default: all")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--keep", action="store_true", help="do not delete the namespaces")
    options = parser.parse_args(arguments)
    if options.list:
        for scenario in find_scenarios().values():
            print(f"{scenario.name:48} {scenario.title}")
        return 0
    try:
        return asyncio.run(_run(options.names, keep=options.keep))
    except (NoCluster, Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
