"""Diagnosis: reports, and log levels changed at run time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.commands import run
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import SECRET
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store

CSCTL: Final = Path(sys.executable).with_name("csctl")
REPORT_S: Final = 60.0
CHANGED_S: Final = 30.0
EXPECTED: Final = (
    "cluster/resource.json",
    "cluster/record.json",
    "kubernetes/statefulsets.json",
    "kubernetes/persistentvolumeclaims.json",
    "kubernetes/events.json",
    "kubernetes/nodes.json",
    "operator/lease.json",
    "operator/pods.json",
    *(f"members/{name}/{file}" for name in MEMBERS for file in ("node.log", "status.json", "metrics.txt", "raft.json")),
)


@scenario(timeout_s=300)
async def a_report_is_complete_and_has_no_secrets(context: Context) -> None:
    """csctl report -k collects objects, logs and debug pages of every pod, and no key, document or Secret."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            await load.working()
            with tempfile.TemporaryDirectory() as folder:
                summary, files = await _report(context, Path(folder, "report.tar.gz"))
        context.say(
            f"{summary['included']} files, {summary['bytes'] / 1024:.0f} KiB, {summary['redactions']} redactions, "
            f"missing: {', '.join(one['path'] for one in summary['missing']) or 'nothing'}"
        )
        # The CustomResourceDefinitions of the Prometheus operator are not installed here.
        missing = [one for one in summary["missing"] if one["path"] != "kubernetes/podmonitors.json"]
        assert not missing, f"missing from the report: {missing}"
        names = {name.partition("/")[2] for name in files}
        assert set(EXPECTED) <= names, f"not in the report: {sorted(set(EXPECTED) - names)}"
        assert any(name.startswith("operator/op-") and name.endswith(".log") for name in names), sorted(names)
        resource = json.loads(next(text for name, text in files.items() if name.endswith("cluster/resource.json")))
        assert resource["status"]["leader"] in MEMBERS
        for secret in await context.client.list_all(SECRET):
            for key, value in (secret.get("data") or {}).items():
                found = [name for name, text in files.items() if key.endswith(".key") and value in text]
                assert not found, f"{key} of {secret['metadata']['name']} is in {found}"
        keys = [name for name, text in files.items() if "PRIVATE KEY" in text]
        assert not keys, f"a private key is in {keys}"


@scenario(timeout_s=240)
async def signals_change_the_log_level(context: Context) -> None:
    """SIGUSR1 and SIGUSR2 set members and operator to debug and back to info; nothing restarts."""
    async with operator(context) as product:
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        for pod in (MEMBERS[0], (await product.until_ready())["metadata"]["name"]):
            for number, level in (("USR1", "debug"), ("USR2", "info")):
                await context.kubectl.exec(pod, "sh", "-c", f"kill -{number} 1")
                changed = await _until_changed(context, pod, level)
                context.say(f"{pod}: {changed}")
        pods = [*(await store.pods()).values(), await product.until_ready()]
        restarts = sum(status["restartCount"] for one in pods for status in one["status"]["containerStatuses"])
        assert restarts == 0, f"{restarts} restarts"


async def _until_changed(context: Context, pod: str, level: str) -> str:
    """Wait until a pod logs that its level has changed to `level`, and return the line."""
    async with asyncio.timeout(CHANGED_S):
        async for line in context.client.follow(pod):
            if '"level.changed"' in line and f'"now": "{level}"' in line:
                return line
    raise AssertionError(f"the log of {pod} has ended")


async def _report(context: Context, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Run csctl as a user does; return its output, and the files of the archive by name."""
    said = await run(
        CSCTL,
        *("report", "demo", "-k", "-n", context.namespace, "-o", "json"),
        *("--operator-namespace", context.namespace, "--file", str(path)),
        environment={**os.environ, "KUBECONFIG": str(context.kubectl.kubeconfig)},
        timeout_s=REPORT_S,
    )
    with tarfile.open(path) as archive:
        contents = {one.name: archive.extractfile(one) for one in archive.getmembers()}
        return json.loads(said), {name: one.read().decode() for name, one in contents.items() if one is not None}
