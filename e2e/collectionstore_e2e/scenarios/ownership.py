"""Objects under a cluster's names: those of others are left alone, its own are restored after every edit by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import (
    CLUSTER,
    CONFIG_MAP,
    DISRUPTION_BUDGET,
    EVENT,
    NETWORK_POLICY,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Object,
)
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import Store, condition_text

TOLD_S: Final = 30.0
ROUND_S: Final = 30.0
"""One round after the watch, or the next one without it, on a busy machine."""
SELECTOR: Final = {"app": "web"}


class Foreign(NamedTuple):
    """An object without our marks under a name that a cluster called `demo` needs."""

    kind: Kind
    name: str
    content: Object


FOREIGN: Final = (
    Foreign(SERVICE, "demo", {"spec": {"selector": SELECTOR, "ports": [{"port": 80}]}}),
    Foreign(SERVICE_ACCOUNT, "demo-node", {}),
    Foreign(DISRUPTION_BUDGET, "demo", {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": SELECTOR}}}),
    Foreign(SECRET, "demo-authority", {"stringData": {"tls.crt": "not ours", "tls.key": "not ours"}}),
    Foreign(CONFIG_MAP, "demo-record", {"data": {"cluster-id": "not ours"}}),
)


@scenario(timeout_s=420)
async def objects_of_others_are_neither_used_nor_changed(context: Context) -> None:
    """A cluster waits for each of five foreign objects, names it, deletes none, and starts once they are gone."""
    async with operator(context):
        store = Store(context)
        for one in FOREIGN:
            metadata = {"name": one.name, "namespace": context.namespace}
            made = await context.client.create(
                {"apiVersion": one.kind.api_version, "kind": one.kind.name, "metadata": metadata, **one.content}
            )
            await store.apply()
            found = await store.until(
                partial(_names, f"the {one.kind.name} {one.name} belongs to"),
                what=f"a condition that names {one.name}",
                timeout_s=TOLD_S,
            )
            context.say(condition_text(found, "ObjectsApplied"))
            assert "False" in condition_text(found, "Ready")
            assert await context.client.find(STATEFUL_SET, "demo") is None, "something was created beside it"
            await context.client.delete(CLUSTER, "demo")
            await context.client.until_gone(CLUSTER, "demo", timeout_s=TOLD_S)
            kept = await context.client.get(one.kind, one.name)
            assert _written(kept) == _written(made), "it was changed"
            await context.client.delete(one.kind, one.name)
        await store.apply()
        await store.until_settled(3)
        await context.client.create(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "second"}, **FOREIGN[0].content}
        )
        second = Store(context, "second")
        await second.apply()
        await second.until(
            partial(_names, "the Service second belongs to"), what="the second cluster's condition", timeout_s=TOLD_S
        )
        await context.client.delete(SERVICE, "second")
        await second.until_settled(3)


def _written(found: Object) -> Object:
    """Return an object without what controllers report about it."""
    reported = ("resourceVersion", "managedFields")
    metadata = {key: value for key, value in found["metadata"].items() if key not in reported}
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": metadata}


def _names(text: str, cluster: Object) -> bool:
    return text in condition_text(cluster, "ObjectsApplied")


class Edit(NamedTuple):
    """An edit by hand: arguments of kubectl, and the field that an Event must name."""

    kind: Kind
    name: str
    arguments: tuple[str, ...]
    field: str


def _patch(kind: str, name: str, change: str) -> tuple[str, ...]:
    return ("patch", kind, name, "--type=merge", f"--patch={change}")


EDITS: Final = (
    Edit(SERVICE, "demo", _patch("service", "demo", '{"spec":{"selector":{"tier":"other"}}}'), "spec.selector.tier"),
    Edit(
        SERVICE,
        "demo-peers",
        _patch("service", "demo-peers", '{"spec":{"publishNotReadyAddresses":false}}'),
        "spec.publishNotReadyAddresses",
    ),
    Edit(DISRUPTION_BUDGET, "demo", _patch("pdb", "demo", '{"spec":{"maxUnavailable":3}}'), "spec.maxUnavailable"),
    Edit(STATEFUL_SET, "demo", ("set", "image", "statefulset/demo", "node=localhost/no-such-image:1"), "].image"),
    Edit(STATEFUL_SET, "demo", ("set", "env", "statefulset/demo", "DEBUG=1"), ".env[DEBUG]"),
    Edit(
        SERVICE_ACCOUNT,
        "demo-node",
        ("label", "serviceaccount", "demo-node", "app.kubernetes.io/managed-by-"),
        "metadata.labels.app.kubernetes.io/managed-by",
    ),
    Edit(
        NETWORK_POLICY,
        "demo",
        _patch("networkpolicy", "demo", '{"spec":{"ingress":[{}],"egress":[{}]}}'),
        "spec.ingress",
    ),
)


@scenario(timeout_s=420)
async def edits_by_hand_are_taken_back(context: Context) -> None:
    """Selector, ports, budget, image, environment, labels and policy are restored within one round, with an Event."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3)
        pods = {name: pod["metadata"]["uid"] for name, pod in (await store.pods()).items()}
        for edit in EDITS:
            before = _content(await context.client.get(edit.kind, edit.name))
            began = asyncio.get_running_loop().time()
            await context.kubectl(*edit.arguments)
            await context.client.until_one(
                edit.kind, edit.name, partial(_says, before), what=f"{edit.name} as before", timeout_s=ROUND_S
            )
            seconds = asyncio.get_running_loop().time() - began
            await context.client.until(
                EVENT, partial(_told, edit.field), what=f"an Event about {edit.field}", timeout_s=ROUND_S
            )
            context.say(f"{edit.kind.name} {edit.name}, {edit.field}: restored after {seconds:.1f} s")
        await store.until_settled(3)
        after = {name: pod["metadata"]["uid"] for name, pod in (await store.pods()).items()}
        assert after == pods, "a pod was restarted though no pod had started from a changed template"


def _content(found: Object) -> Any:
    return found.get("spec"), found["metadata"].get("labels")


def _says(content: Any, found: Object) -> bool:
    return bool(_content(found) == content)


def _told(field: str, events: Mapping[str, Object]) -> bool:
    told = (one for one in events.values() if one.get("reason") == "DriftCorrected")
    return any(field in (one.get("message") or one.get("note") or "") for one in told)


@scenario(timeout_s=300)
async def a_cluster_forms_where_everything_is_denied(context: Context) -> None:
    """In a namespace that denies all traffic, policies for operator and members say what each needs."""
    await context.client.create(
        {
            "apiVersion": NETWORK_POLICY.api_version,
            "kind": NETWORK_POLICY.name,
            "metadata": {"name": "deny-all"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        }
    )
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3)
        policies = {one["metadata"]["name"]: one["spec"] for one in await context.client.list_all(NETWORK_POLICY)}
        members = next(iter((await store.pods()).values()))["metadata"]["labels"]
        covering = [
            name
            for name, spec in policies.items()
            if spec["podSelector"].get("matchLabels", {}).items() <= members.items() and name != "deny-all"
        ]
        assert covering == ["demo"], policies
        ingress = {port["port"]: rule for rule in policies["demo"]["ingress"] for port in rule["ports"]}
        assert ingress[7401]["from"] == [{"podSelector": policies["demo"]["podSelector"]}]
        context.say(f"policies: {', '.join(sorted(policies))}")
        await context.client.patch(CLUSTER, "demo", {"spec": {"networkPolicy": {"mode": "Disabled"}}})
        await context.client.until_gone(NETWORK_POLICY, "demo", timeout_s=TOLD_S)
        await store.until_settled(3)
