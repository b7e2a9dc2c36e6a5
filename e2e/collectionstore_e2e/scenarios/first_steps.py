"""A user's first steps: install, apply, inspect, apply again; and what the API server rejects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import yaml

from collectionstore_e2e.clients.pod import clients, of_secret
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import command_refusal
from collectionstore_e2e.harness.kinds import CERTIFICATE_REQUEST, LEASE, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.helm import helm
from collectionstore_e2e.product.installation import LEASE_NAME, Operator, operator
from collectionstore_e2e.product.store import READY_S, Store
from collectionstore_e2e.product.users import User
from collectionstore_testkit.places import REPOSITORY

EXAMPLE: Final = REPOSITORY / "examples" / "kubernetes" / "small.yaml"
CLUSTER_CHART: Final = REPOSITORY / "charts" / "collectionstore-cluster"
FIRST_READY_S: Final = 60.0
IDLE_S: Final = 20.0
WATCHES: Final = 3
LARGE: Final = {"size": "128Mi"}
LEASE_KIND: Final = "leases.coordination.k8s.io"
NOT_COUNTED: Final = (LEASE_KIND, "pods.metrics.k8s.io")
"""Not compared: the Lease is renewed continuously, pod metrics are samples."""


@scenario(timeout_s=300, exclusive=True)
async def a_first_cluster_is_ready_within_a_minute(context: Context) -> None:
    """helm install with the CustomResourceDefinition, kubectl apply of the example: Ready within 60 s, and usable."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    # The definition exists if another scenario ran before; this release then takes ownership of it.
    taken = ("--set=crds.install=true", "--take-ownership", "--force-conflicts")
    async with operator(context, *taken):
        context.say(f"helm install --wait: {loop.time() - began:.1f} s")
        example = yaml.safe_load(EXAMPLE.read_text())
        store, began = Store(context, example["metadata"]["name"]), loop.time()
        # The unchanged example, except for the image, which is this checkout's. Its access control is on.
        example["spec"]["image"] = context.images.node
        await context.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(example))
        await store.until_settled(3, timeout_s=FIRST_READY_S)
        context.say(f"Ready {loop.time() - began:.1f} s after kubectl apply")
        for line in (await context.kubectl("get", "csc")).splitlines():
            context.say(line)
        user = User(context, "first", cluster=store.name)
        await user.apply(roles=["writer"])
        await user.until_ready()
        async with clients(context, store.name, token=of_secret(user.secret)) as load:
            await load.working(writes=100)


@scenario(timeout_s=300)
async def a_cluster_chart_passes_helm_test(context: Context) -> None:
    """helm install of a cluster chart, then helm test: a pod writes and reads through the Service over TLS."""
    async with operator(context):
        await helm(context)("install", "demo", str(CLUSTER_CHART), f"--set=image={context.images.node}")
        await Store(context).until_settled(3, timeout_s=READY_S)
        user = User(context, "load")
        await user.apply(roles=["writer"])
        await user.until_ready()
        async with clients(context, token=of_secret(user.secret)) as load:
            context.say((await helm(context)("test", "demo", "--logs")).splitlines()[-1])
            await load.working()


@scenario(timeout_s=300)
async def an_idle_operator_writes_nothing(context: Context) -> None:
    """Applying the same manifest again keeps resourceVersion, and an idle operator sends no writing request."""
    async with operator(context) as product:
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context):
            before = await store.read()
            await store.apply()
            again = await store.read()
            assert again["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], (
                f"kubectl apply of the same manifest changed the resource:\n{before}\n{again}"
            )
            # A disk stall longer than the election timeout causes an election, and then the status must change.
            for _ in range(WATCHES):
                term = (await store.read())["status"]["term"]
                found = await _watched(context, product)
                if (await store.read())["status"]["term"] == term:
                    break
                context.say(f"the leader changed meanwhile, observing again: {', '.join(found.changed)}")
            else:
                raise AssertionError(f"the leader changed in each of {WATCHES} observations of {IDLE_S:.0f} s")
            assert not found.changed, f"written while idle for {IDLE_S:.0f} s: {', '.join(found.changed)}"
            assert not found.sent, f"writing requests sent while idle for {IDLE_S:.0f} s: {found.sent}"
            assert found.rounds > 0, "the operator has not reconciled the cluster once"
            context.say(
                f"{IDLE_S:.0f} s: {found.rounds:.0f} reconcile rounds, no writing request except for the Lease, "
                f"{found.objects} objects unchanged"
            )


@dataclass(frozen=True, slots=True)
class _Watched:
    """What was written within `IDLE_S`: objects that changed, and the operator's requests by kind."""

    changed: list[str]
    sent: dict[str, float]
    rounds: float
    objects: int


async def _watched(context: Context, product: Operator) -> _Watched:
    versions, writes, rounds = await _versions(context), await _writes(product), await _rounds(product)
    await _until_lease_is_older(context, IDLE_S)
    rounds = await _rounds(product) - rounds
    changed = _changes(versions, await _versions(context))
    sent = {key: after for key, after in (await _writes(product)).items() if after != writes.get(key)}
    return _Watched(changed, sent, rounds, len(versions))


async def _writes(product: Operator) -> dict[str, float]:
    """Return how many writing requests the operator has sent, by method, resource and response."""
    calls = await product.counters("collectionstore_operator_api_requests_total")
    return {key: count for key, count in calls.items() if 'method="GET"' not in key and 'resource="leases' not in key}


async def _rounds(product: Operator) -> float:
    return sum((await product.counters("collectionstore_operator_reconciles_total")).values())


async def _versions(context: Context) -> dict[str, str]:
    """Return the resourceVersion of every object of the namespace, and of the requests for certificates."""
    known = await context.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name")
    kinds = ",".join(kind for kind in known.split() if kind not in NOT_COUNTED)
    template = "{range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}\n{end}"
    listed = await context.kubectl("get", kinds, "--ignore-not-found", f"--output=jsonpath={template}")
    versions = dict(line.rpartition("=")[::2] for line in listed.split())
    asked = f"system:serviceaccount:{context.namespace}:"
    for one in await context.client.list_all(CERTIFICATE_REQUEST):
        if one["spec"].get("username", "").startswith(asked):
            versions[f"CertificateSigningRequest/{one['metadata']['name']}"] = one["metadata"]["resourceVersion"]
    return versions


def _changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [
        f"{name} {before.get(name)} -> {after.get(name)}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


async def _until_lease_is_older(context: Context, seconds: float) -> None:
    """Wait until the operator's Lease was renewed `seconds` later than now, by the times in the Lease."""
    first = _renewed(await context.client.get(LEASE, LEASE_NAME))
    await context.client.until_one(
        LEASE, LEASE_NAME, lambda one: _renewed(one) - first >= seconds, what="be renewed", timeout_s=3 * seconds
    )


def _renewed(lease: Object) -> float:
    return datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()


@scenario(timeout_s=240)
async def invalid_specs_are_rejected_with_a_reason(context: Context) -> None:
    """The API server rejects even replicas, a shrinking volume and an unknown field, and says what is allowed."""
    async with operator(context):
        store = Store(context)
        await store.apply(storage=LARGE)
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            before = await store.read()
            await _rejected(context, "kubectl scale to 4", store.scale(4), "replicas", "3, 5, 7 or 9")
            for what, spec, words in (
                ("4 replicas", {"replicas": 4}, ("spec.replicas", "3, 5, 7 or 9")),
                ("a smaller volume", {"storage": {"size": "64Mi"}}, ("spec.storage.size", "cannot shrink")),
                ("another class", {"storage": {**LARGE, "class": "other"}}, ("spec.storage", "class")),
            ):
                await _rejected(context, what, store.apply(**{"storage": LARGE, **spec}), *words)
            unknown = Store(context, "other").apply(replcas=3)
            await _rejected(context, "an unknown field", unknown, "unknown field", "spec.replcas")
            after = await store.read()
            assert after["metadata"]["generation"] == before["metadata"]["generation"], f"{before}\n{after}"
            await load.working()


async def _rejected(context: Context, what: str, attempt: Awaitable[None], *words: str) -> None:
    output = (await command_refusal(attempt)).output
    context.say(f"{what}: {output.splitlines()[-1]}")
    assert all(word in output for word in words), f"{what}: none of {words} in {output}"
