"""The kubectl plugin, called by kubectl: what it shows, what it changes, and that its plan is what then happens."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.commands import run
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import command_refusal
from collectionstore_e2e.harness.kinds import EVENT
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store

WIDTHS: Final = (80, 120)
PAUSE_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class _Plugin:
    context: Context

    async def __call__(self, *words: str, stdin: str = "", columns: int = 120, timeout_s: float = 240.0) -> str:
        """Run `kubectl collectionstore`, found on the PATH as a user's would be; return all that it printed."""
        kubectl = self.context.kubectl
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubectl.kubeconfig),
            "COLUMNS": str(columns),
        }
        verb, *rest = words
        return await run(
            kubectl.program,
            *("collectionstore", verb, "-n", kubectl.namespace, *rest),
            stdin=stdin,
            environment=environment,
            merged=True,
            timeout_s=timeout_s,
        )

    async def document(self, *words: str, stdin: str = "") -> Any:
        """Return what a verb prints as JSON."""
        return json.loads(await self(*words, "-o", "json", stdin=stdin))


@scenario(timeout_s=600)
async def the_kubectl_plugin_operates_a_cluster(context: Context) -> None:
    """status, members, certificates, logs, plan, restart, replace, rotate-authority and report, under load."""
    plugin = _Plugin(context)
    async with operator(context):
        store = Store(context)
        new = await plugin.document("plan", "-f", "-", stdin=msgspec.json.encode(store.manifest()).decode())
        assert new["outcome"] == "created", new
        assert "EnsureWorkload" in [one["step"] for one in new["steps"]], new
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            began = load.now
            await _look(context, plugin)
            await _plan_tells_what_happens(context, plugin, store)
            await _change(context, plugin, store)
            await load.say_pauses("operated by the plugin", began, longest_s=PAUSE_S)


async def _look(context: Context, plugin: _Plugin) -> None:
    for words in (("status", "demo"), ("members", "demo"), ("certificates", "demo")):
        for columns in WIDTHS:
            output = await plugin(*words, columns=columns)
            assert max(map(len, output.splitlines())) <= columns, output
            assert all(f"demo-{one}" in output for one in range(3)), output
        context.say(f"kubectl collectionstore {' '.join(words)}\n{output}")
    assert "demo-0 {" in await plugin("logs", "demo", "0", "--tail", "5")
    refused = await command_refusal(plugin("status", "absent"))
    assert refused.code == 5, refused
    assert "Traceback" not in refused.output, refused.output


async def _plan_tells_what_happens(context: Context, plugin: _Plugin, store: Store) -> None:
    """The steps that are shown before a scale-up are those that the operator records as Events."""
    manifest = msgspec.json.encode(store.manifest(replicas=5)).decode()
    before = (await store.read())["metadata"]["resourceVersion"]
    text = await plugin("plan", "-f", "-", stdin=manifest, columns=80)
    context.say(f"kubectl collectionstore plan -f five.yaml\n{text}")
    shown = await plugin.document("plan", "-f", "-", stdin=manifest)
    assert (await store.read())["spec"]["replicas"] == 3
    assert shown["changes"] == ["spec.replicas: 3 → 5"], shown
    steps = {one["step"] for one in shown["steps"]}
    assert {"EnsureWorkload", "AddLearners", "ChangeVoters"} <= steps, shown
    await store.apply(replicas=5)
    await store.until_settled(5)
    events = await context.client.list_all(EVENT)
    happened = {one["reason"] for one in events if one.get("involvedObject", {}).get("name") == "demo"}
    assert steps <= happened, (steps, happened, before)
    await store.apply(replicas=3)
    await store.until_settled(3)


async def _change(context: Context, plugin: _Plugin, store: Store) -> None:
    context.say(f"kubectl collectionstore restart demo\n{await plugin('restart', 'demo')}")
    before = await store.members()
    context.say(f"kubectl collectionstore replace demo 1\n{await plugin('replace', 'demo', '1', '--yes')}")
    after = await store.members()
    assert after["demo-1"] != before["demo-1"], "the member was not replaced"
    assert {name: after[name] for name in ("demo-0", "demo-2")} == {name: before[name] for name in ("demo-0", "demo-2")}
    key = (await store.read())["status"]["authority"]["key"]
    await plugin("rotate-authority", "demo")
    assert (await store.read())["status"]["authority"]["key"] != key
    await store.until_settled(3)
