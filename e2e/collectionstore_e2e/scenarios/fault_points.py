"""The operator dies at every fault point of every procedure, under load, and each procedure completes.

The operator runs below a process that starts it again whenever it has died: Kubernetes would wait longer each time, up
to five minutes. It dies at each point once per procedure (`every:kill`): one run of a procedure passes all its points.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from collectionstore_e2e.clients.pod import Clients, clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.points import Points, assert_met, faulty_operator
from collectionstore_e2e.product.store import Store, is_settled, member_ids

RESTARTER: Final = """\
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    subprocess.run(["collectionstore-operator"])
"""
"""Starts the operator again as long as it is not told to end; SystemExit within `run` kills the operator, too."""
PROCEDURE_S: Final = 400.0
"""Time limit for one procedure, with some thirty starts of the operator on a busy machine."""
PAUSE_S: Final = 8.0
REPLACE: Final = "collectionstore.io/replace"
ROTATE: Final = "collectionstore.io/rotate-authority"
REPLACES: Final = ("ChangeVoters", "AddLearners")
ROTATES: Final = ("PrepareAuthority", "PublishAuthority", "PromoteAuthority", "RetireAuthority")
"""Actions of which both points must be met."""

Procedure: TypeAlias = tuple[Callable[[], Awaitable[None]], Callable[[Object], bool]]


@scenario(timeout_s=1_400, long=True)
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
        await _through(context, deaths, "create", created, store.apply, settled(3))
        async with clients(context) as load:
            began = load.now
            up, down = (lambda: store.scale(5)), (lambda: store.scale(3))
            await _through(context, deaths, "scale up", ("EnsureWorkload", "ChangeVoters"), up, settled(5))
            await _through(context, deaths, "scale down", ("ChangeVoters", "EnsureWorkload"), down, settled(3))
            await load.say_pauses("scaled under a dying operator", began, longest_s=PAUSE_S)


@scenario(timeout_s=1_400, long=True)
async def an_operator_that_dies_everywhere_upgrades_replaces_and_rotates(context: Context) -> None:
    """Upgrade, replacement and rotation of the authority's key complete, with the operator killed at every point."""
    async with _dying_operator(context) as deaths:
        store = Store(context)
        await _through(context, deaths, "create", ("Bootstrap",), store.apply, settled(3))
        async with clients(context) as load:
            before = await store.members()
            await _upgrade(context, deaths, store, load)
            assert await store.members() == before, "a member has another node ID"
            await _replace(context, deaths, store, load, before)
            await _rotate(context, deaths, store, load)


async def _upgrade(context: Context, deaths: Points, store: Store, load: Clients) -> None:
    began = load.now
    await _through(
        context, deaths, "upgrade", ("RestartPod",), lambda: store.apply(image=context.images.node_next), settled(3)
    )
    await load.say_pauses("upgraded", began, longest_s=PAUSE_S)


async def _replace(context: Context, deaths: Points, store: Store, load: Clients, before: dict[str, str]) -> None:
    began, victim = load.now, f"{store.name}-1"
    begin, ended = replacement(context, victim, before)
    await _through(context, deaths, "replace", REPLACES, begin, ended)
    await load.say_pauses("replaced", began, longest_s=PAUSE_S)


async def _rotate(context: Context, deaths: Points, store: Store, load: Clients) -> None:
    began = load.now
    begin, ended = await rotation(context, store)
    await _through(context, deaths, "rotate certificates", ROTATES, begin, ended)
    await load.say_pauses("rotated", began, longest_s=PAUSE_S)


def replacement(context: Context, member: str, before: dict[str, str]) -> Procedure:
    """Return how the replacement of a member is asked for, and whether it is complete."""

    async def begin() -> None:
        await context.kubectl("annotate", "pod", member, f"{REPLACE}=now")

    def ended(found: Object) -> bool:
        return is_settled(found, 3) and member_ids(found).get(member) not in (None, before[member])

    return begin, ended


async def rotation(context: Context, store: Store) -> Procedure:
    """Return how the rotation of the authority's key is asked for, and whether it is complete."""
    key = (await store.read())["status"]["authority"]["key"]

    async def begin() -> None:
        await context.kubectl("annotate", "csc", store.name, "--overwrite", f"{ROTATE}=now")

    def ended(found: Object) -> bool:
        authority = found["status"]["authority"]
        return is_settled(found, 3) and authority["phase"] == "Steady" and authority["key"] != key

    return begin, ended


@asynccontextmanager
async def _dying_operator(context: Context) -> AsyncIterator[Points]:
    """Install the operator such that it dies at every point once, and is started again at once."""
    async with faulty_operator(context, "kill", RESTARTER) as deaths:
        yield deaths


async def _through(
    context: Context,
    deaths: Points,
    what: str,
    expected: tuple[str, ...],
    begin: Callable[[], Awaitable[None]],
    ended: Callable[[Object], bool],
) -> None:
    """Begin a procedure, wait for its end, and print where the operator died: at least around all `expected`."""
    await deaths.forget()
    await begin()
    await context.client.until_one(CLUSTER, "demo", ended, what=f"the end of: {what}", timeout_s=PROCEDURE_S)
    points = await deaths.met()
    context.say(f"{what}: complete, the operator died {len(points)} times: {', '.join(sorted(points))}")
    assert_met(what, points, expected)


def settled(replicas: int) -> Callable[[Object], bool]:
    """Return whether a cluster of so many members is settled."""
    return lambda found: is_settled(found, replicas)
