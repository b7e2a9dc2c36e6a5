"""Conditions hold still in healthy changes: what an operator on call would be woken by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import EVENT, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, READY_S, Store, is_settled

PROGRESS: Final = frozenset({"Ready=False", "Ready=True", "Progressing=True", "Progressing=False"})
"""What every change shows."""
RESTARTS: Final = frozenset({"QuorumSafe=False", "QuorumSafe=True"})
"""While one of three members restarts, no other may fail."""
ROLLOUT: Final = frozenset({"MembersUpdated=False", "MembersUpdated=True"})
RECORDED_S: Final = 30.0


@scenario(timeout_s=600)
async def conditions_hold_still_in_healthy_changes(context: Context) -> None:
    """Scaled to 5 and to 3, restarted one by one, a pod deleted: no Degraded=True, Available stays True all along."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        seen = _Seen(context, store, await store.read())

        await store.scale(5)
        await seen.settle("scale-up", 5, PROGRESS)
        await store.scale(3)
        await seen.settle("scale-down", 3, PROGRESS)
        await store.change(snapshot={"commands": 20_000})
        await seen.settle("rolling restart", 3, PROGRESS | RESTARTS | ROLLOUT, needed=ROLLOUT)
        leader = await store.leader()
        follower = next(name for name in sorted(await store.pods()) if name != leader)
        await store.delete_pod(follower)
        await seen.settle("restart of a follower", 3, PROGRESS | RESTARTS)

        recorded = await context.client.until(
            EVENT,
            lambda events: {"MembersUpdatedFalse", "MembersUpdatedTrue"} <= _reasons(events),
            what="Events of the changes of conditions",
            timeout_s=RECORDED_S,
            fields=f"involvedObject.kind=CollectionStoreCluster,involvedObject.name={store.name}",
        )
        bad = _reasons(recorded) & {"DegradedTrue", "AvailableFalse", "AvailableUnknown", "CertificatesReadyFalse"}
        assert not bad, f"Events that call for action in a healthy change: {bad}"


class _Seen:
    """The changes of conditions of one cluster, as a watch shows them."""

    def __init__(self, context: Context, store: Store, found: Object) -> None:
        self._context, self._store = context, store
        self._states = _states(found)
        self._changes: list[str] = []

    async def settle(
        self, what: str, replicas: int, allowed: frozenset[str], *, needed: frozenset[str] = frozenset()
    ) -> None:
        """Watch until a change is complete, and assert which conditions changed meanwhile."""
        self._changes.clear()
        await self._store.until(
            lambda found: self._note(found) and is_settled(found, replicas) and needed <= set(self._changes),
            what=f"{what}, settled, after {', '.join(sorted(needed)) or 'it'}",
            timeout_s=CHANGE_S,
        )
        self._context.say(f"{what}: {', '.join(self._changes)}")
        assert set(self._changes) <= allowed, f"{what}: {sorted(set(self._changes) - allowed)}"

    def _note(self, found: Object) -> bool:
        states = _states(found)
        self._changes += [f"{kind}={state}" for kind, state in states.items() if self._states.get(kind) != state]
        self._states = states
        return True


def _states(found: Object) -> dict[str, str]:
    return {one["type"]: one["status"] for one in found.get("status", {}).get("conditions") or ()}


def _reasons(events: Mapping[str, Object]) -> set[str]:
    return {str(one["reason"]) for one in events.values()}
