"""The operator dies at every fault point of every procedure, under load, and each procedure completes.

The operator runs below a process that starts it again whenever it has died: Kubernetes would wait longer each time, up
to five minutes. It dies at each point once per procedure (`every:kill`): one run of a procedure passes all its points.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from collectionstore_e2e.clients.pod import Clients, clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER, POD, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import GONE_S, LABELS, NAME, operator
from collectionstore_e2e.product.store import Store, is_settled, member_ids
from collectionstore_operator import faults

RECORD: Final = "/faults/points"
RESTARTER: Final = """\
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    subprocess.run(["collectionstore-operator"])
"""
"""Starts the operator again as long as it is not told to end; SystemExit within `run` kills the operator, too."""
PROCEDURE_S: Final = 240.0
"""Time limit for one procedure, with some thirty starts of the operator on a busy machine."""
PAUSE_S: Final = 8.0
ROUND: Final = ("Round.observed", "Round.published")
REPLACE: Final = "collectionstore.io/replace"
ROTATE: Final = "collectionstore.io/rotate-authority"


@scenario(timeout_s=840)
async def an_operator_that_dies_everywhere_creates_and_scales(context: Context) -> None:
    """Create, scale up and scale down complete, with the operator killed at every fault point of each."""
    async with _dying_operator(context) as deaths:
        store = Store(context)
        created = (
            "EstablishIdentity",
            "IssueCertificate",
            "EnsureWorkload",
            "Bootstrap",
            "AddLearners",
            "ChangeVoters",
        )
        await _through(context, deaths, "create", created, store.apply, _settled(3))
        async with clients(context) as load:
            began = load.now
            up, down = (lambda: store.scale(5)), (lambda: store.scale(3))
            await _through(context, deaths, "scale up", ("EnsureWorkload", "ChangeVoters"), up, _settled(5))
            await _through(context, deaths, "scale down", ("ChangeVoters", "EnsureWorkload"), down, _settled(3))
            await load.say_pauses("scaled under a dying operator", began, longest_s=PAUSE_S)


@scenario(timeout_s=840)
async def an_operator_that_dies_everywhere_upgrades_replaces_and_rotates(context: Context) -> None:
    """Upgrade, replacement and rotation of the authority's key complete, with the operator killed at every point."""
    async with _dying_operator(context) as deaths:
        store = Store(context)
        await _through(context, deaths, "create", ("Bootstrap",), store.apply, _settled(3))
        async with clients(context) as load:
            before = await store.members()
            await _upgrade(context, deaths, store, load)
            assert await store.members() == before, "a member has another node ID"
            await _replace(context, deaths, store, load, before)
            await _rotate(context, deaths, store, load)


async def _upgrade(context: Context, deaths: _Deaths, store: Store, load: Clients) -> None:
    began = load.now
    await _through(
        context, deaths, "upgrade", ("RestartPod",), lambda: store.apply(image=context.images.node_next), _settled(3)
    )
    await load.say_pauses("upgraded", began, longest_s=PAUSE_S)


async def _replace(context: Context, deaths: _Deaths, store: Store, load: Clients, before: dict[str, str]) -> None:
    began, victim = load.now, f"{store.name}-1"

    async def ask() -> None:
        await context.kubectl("annotate", "pod", victim, f"{REPLACE}=now")

    def replaced(found: Object) -> bool:
        return is_settled(found, 3) and member_ids(found).get(victim) not in (None, before[victim])

    await _through(context, deaths, "replace", ("ChangeVoters", "AddLearners"), ask, replaced)
    await load.say_pauses("replaced", began, longest_s=PAUSE_S)


async def _rotate(context: Context, deaths: _Deaths, store: Store, load: Clients) -> None:
    began = load.now
    key = (await store.read())["status"]["authority"]["key"]

    async def ask() -> None:
        await context.kubectl("annotate", "csc", store.name, "--overwrite", f"{ROTATE}=now")

    def rotated(found: Object) -> bool:
        authority = found["status"]["authority"]
        return is_settled(found, 3) and authority["phase"] == "Steady" and authority["key"] != key

    expected = ("PrepareAuthority", "PublishAuthority", "PromoteAuthority", "RetireAuthority")
    await _through(context, deaths, "rotate certificates", expected, ask, rotated)
    await load.say_pauses("rotated", began, longest_s=PAUSE_S)


class _Deaths:
    """The record of the points at which the operator has died."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def points(self) -> frozenset[str]:
        """Return the points since `forget`."""
        return frozenset((await self._python(f"print(open({RECORD!r}).read())")).split())

    async def forget(self) -> None:
        """Let every point have its effect once more."""
        await self._python(f"open({RECORD!r}, 'w')")

    async def disarm(self) -> None:
        """Let no point have its effect any more."""
        await self._python(f"open({RECORD!r}, 'w').write({' '.join(faults.POINTS)!r})")

    async def _python(self, code: str) -> str:
        return await self._context.kubectl.exec(f"deployment/{NAME}", "python3", "-c", code)


@asynccontextmanager
async def _dying_operator(context: Context) -> AsyncIterator[_Deaths]:
    """Install the operator such that it dies at every point once, and is started again at once."""
    async with operator(context):
        patch = {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "operator",
                                "command": ["python3", "-c", RESTARTER],
                                "env": [
                                    {"name": "COLLECTIONSTORE_FAULT_POINT", "value": f"{faults.EVERY}:kill"},
                                    {"name": "COLLECTIONSTORE_FAULT_RECORD", "value": RECORD},
                                ],
                                "volumeMounts": [{"name": "faults", "mountPath": RECORD.rpartition("/")[0]}],
                            }
                        ],
                        "volumes": [{"name": "faults", "emptyDir": {}}],
                    }
                }
            }
        }
        await context.kubectl("patch", "deployment", NAME, "--type=strategic", f"--patch={json.dumps(patch)}")
        await context.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=90s", timeout_s=120)
        await context.client.until(
            POD, lambda found: len(found) == 1, what="one operator alone", timeout_s=GONE_S, labels=LABELS
        )
        deaths = _Deaths(context)
        try:
            yield deaths
        finally:
            # The operator must remove the finalizers at the end, whatever happened.
            await deaths.disarm()


async def _through(
    context: Context,
    deaths: _Deaths,
    what: str,
    expected: tuple[str, ...],
    begin: Callable[[], Awaitable[None]],
    ended: Callable[[Object], bool],
) -> None:
    """Begin a procedure, wait for its end, and print where the operator died: at least around all `expected`."""
    await deaths.forget()
    await begin()
    await context.client.until_one(CLUSTER, "demo", ended, what=f"the end of: {what}", timeout_s=PROCEDURE_S)
    points = await deaths.points()
    context.say(f"{what}: complete, the operator died {len(points)} times: {', '.join(sorted(points))}")
    # Death within an action comes before its end, and need not leave anything of it to repeat.
    within = {one.partition(".")[0] for one in points if one in faults.INNER}
    due = {*ROUND, *(f"{one}.before" for one in expected), *(f"{one}.after" for one in expected if one not in within)}
    assert points >= due, f"{what}: never reached: {sorted(due - points)}"


def _settled(replicas: int) -> Callable[[Object], bool]:
    return lambda found: is_settled(found, replicas)
