"""The operator is killed during each kind of change, and its successor completes the change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from collectionstore_e2e.clients.pod import Clients, clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import Operator, operator
from collectionstore_e2e.product.store import READY_S, Store, member_ids

PAUSE_S: Final = 8.0
REPLACE: Final = "collectionstore.io/replace"
VICTIM: Final = "demo-1"


@scenario(timeout_s=600)
async def a_killed_operator_resumes_every_change(context: Context) -> None:
    """The operator is killed during an upgrade, a replacement, a scale-up and a scale-down; each completes."""
    async with operator(context) as product:
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members = await store.members()
            interruption = _Interruption(context, product, store, load)

            await store.apply(image=context.images.node_next)
            await interruption.of("upgrade", lambda one: _updated(one) in (1, 2), 3)
            assert await store.members() == members, "a member has another node ID"

            await context.kubectl("annotate", "pod", VICTIM, f"{REPLACE}=now")
            await interruption.of("replacement", lambda one: members[VICTIM] != member_ids(one).get(VICTIM), 3)
            replaced = await store.members()
            assert replaced[VICTIM] != members[VICTIM], "the member was not replaced"
            assert {name for name in members if replaced[name] == members[name]} == set(members) - {VICTIM}

            await store.scale(5)
            await interruption.of("scale-up", _joins, 5)
            await store.scale(3)
            await interruption.of("scale-down", lambda one: len(_voters(one)) == 3, 3)
            assert await store.members() == replaced, "a member has another node ID"


class _Interruption:
    def __init__(self, context: Context, product: Operator, store: Store, load: Clients) -> None:
        self._context, self._product, self._store, self._load = context, product, store, load

    async def of(self, what: str, midway: Callable[[Object], bool], replicas: int) -> None:
        """Kill the operator as soon as `midway` holds, and wait until the change is complete."""
        loop, began = asyncio.get_running_loop(), self._load.now
        found = await self._store.until(midway, what=f"{what} in progress")
        left = [step["step"] for step in found["status"].get("plan", ())]
        killed = loop.time()
        await self._product.kill()
        await self._store.until_settled(replicas)
        self._context.say(
            f"{what}: operator killed with {', '.join(left) or 'nothing'} left, "
            f"complete {loop.time() - killed:.0f} s later"
        )
        await self._load.say_pauses(what, began, longest_s=PAUSE_S)


def _updated(found: Object) -> int:
    return sum(bool(one.get("updated")) for one in found["status"]["members"])


def _voters(found: Object) -> tuple[str, ...]:
    return tuple(found["status"]["configuration"]["voters"])


def _joins(found: Object) -> bool:
    return bool(found["status"]["configuration"]["learners"]) or len(_voters(found)) > 3
