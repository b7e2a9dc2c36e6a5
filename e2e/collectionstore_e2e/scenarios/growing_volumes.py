"""Expansion of volumes on a class that expands: by a real API server and real kubelets, see `product.expander`."""

from __future__ import annotations

from typing import Any, Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLAIM, STATEFUL_SET, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.expander import ERROR, capacity, expanding, requested
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store

SMALL: Final = "64Mi"
LARGE: Final = "128Mi"
GROWN_S: Final = 300.0
"""Time limit for one volume: a kubelet looks at the claims of a running pod about once a minute."""
CLAIMS: Final = tuple(f"data-{name}" for name in MEMBERS)


@scenario(timeout_s=1_500, long=True)
async def volumes_grow_one_after_the_other(context: Context) -> None:
    """Under load, on a class that expands: no pod restarts. One that fails is named, and holds the one behind it; the
    size in the spec is never taken back, and new volumes have it as well.
    """
    async with operator(context), expanding(context) as storage:
        store = Store(context)
        await store.apply(storage={"size": SMALL, "class": storage.class_name})
        await store.until_settled(3, timeout_s=READY_S)
        before = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
        storage.refuse(CLAIMS[1])
        async with clients(context) as load:
            await store.change(storage={"size": LARGE})
            found = await store.until(lambda one: ERROR in _held(one, MEMBERS[1]), what="why", timeout_s=GROWN_S)
            context.say(_held(found, MEMBERS[1]))
            assert "one at a time" in _held(found, MEMBERS[2]), found["status"]["plan"]
            sizes = await _sizes(context)
            assert sizes == [(LARGE, LARGE), (LARGE, SMALL), (SMALL, SMALL)], sizes
            assert storage.expanded == [CLAIMS[0]]
            assert found["spec"]["storage"]["size"] == LARGE

            await storage.allow(CLAIMS[1])
            await context.client.until(
                CLAIM,
                lambda claims: all(capacity(claims[name]) == LARGE for name in CLAIMS),
                what="all volumes expanded",
                timeout_s=2 * GROWN_S,
            )
            await store.until_settled(3)
            await load.working()
        assert storage.expanded == list(CLAIMS), storage.expanded
        assert storage.under_way == 1, f"{storage.under_way} volumes were expanded at one time"
        assert {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()} == before, "a pod restarted"
        assert (await store.read())["spec"]["storage"]["size"] == LARGE
        (template,) = (await context.client.get(STATEFUL_SET, store.name))["spec"]["volumeClaimTemplates"]
        assert requested(template) == LARGE


def _held(found: Object, member: str) -> str:
    """Return what holds the expansion of a member's volume back; empty if nothing does, or none is planned."""
    plan: list[dict[str, Any]] = found.get("status", {}).get("plan") or []
    steps = (one for one in plan if one["step"] == "GrowVolume" and one.get("subject") == member)
    return next((str(one.get("blockedBy", "")) for one in steps), "")


async def _sizes(context: Context) -> list[tuple[str, str]]:
    found = [await context.client.get(CLAIM, name) for name in CLAIMS]
    return [(requested(one), capacity(one)) for one in found]
