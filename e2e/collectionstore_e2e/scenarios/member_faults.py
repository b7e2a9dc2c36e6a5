"""Members die or are cut off while the operator stands between two steps, at every fault point of every procedure.

The operator is stopped at each point once per procedure (`every:stop`); then the victim's pod is killed, or nothing of
what it sends reaches another pod for some seconds; then the operator goes on, with what it had observed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import Refused
from collectionstore_e2e.harness.kinds import CLUSTER, POD, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import LABELS
from collectionstore_e2e.product.points import FOLDER, RECORD, Points, assert_met, faulty_operator
from collectionstore_e2e.product.store import Store
from collectionstore_e2e.scenarios.fault_points import REPLACES, ROTATES, replacement, rotation, settled

GO: Final = f"{FOLDER}/go"
OVER: Final = f"{FOLDER}/over"
STANDS: Final = "stands at "
PAUSER: Final = f"""\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    child = subprocess.Popen(["collectionstore-operator"])
    while os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1]):
        print("{STANDS}" + (open("{RECORD}").read().split() or ["?"])[-1], flush=True)
        while not os.path.exists("{GO}") and not os.path.exists("{OVER}"):
            time.sleep(0.02)
        os.path.exists("{GO}") and os.remove("{GO}")
        os.kill(child.pid, signal.SIGCONT)
"""
"""Says at which point the operator stands, lets it go on once GO exists, and starts it again when it has ended: it must
end if it stood for longer than it may go without renewing its Lease. From OVER on it stands nowhere.
"""
CUT_S: Final = 6.0
"""Longer than an election timeout."""
PROCEDURE_S: Final = 300.0
PAUSE_S: Final = 60.0
"""Longest time without an acknowledged write: the victim and the member that the operator restarts are down at once if
the victim dies between the operator's look at it and the restart; the bound is that of a pod's start on a busy machine.
"""
VICTIM: Final = "demo-0"
REPLACED: Final = "demo-1"


@scenario(timeout_s=1_500, long=True)
async def members_that_die_at_every_point_stop_no_procedure(context: Context) -> None:
    """A member is killed at every fault point of scale, upgrade, replace and rotate; each completes all the same."""

    async def kill() -> None:
        try:
            await context.client.delete(POD, VICTIM, grace_s=0)
        except Refused as refused:
            # Its successor does not exist yet: the operator goes on while the member is gone.
            if refused.status != 404:
                raise

    async with _standing_operator(context, kill) as (points, strikes):
        await _all_procedures(context, points, strikes)


@scenario(timeout_s=1_500, needs_machines=True, exclusive=False, long=True)
async def members_cut_off_at_every_point_stop_no_procedure(context: Context) -> None:
    """A member is cut off for 6 s at every fault point of scale, upgrade, replace and rotate; each completes."""
    healing: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def heal(node: str, address: str) -> None:
        await asyncio.sleep(CUT_S)
        await context.own_machines.unmute(node, address)

    async def cut() -> None:
        found = await context.client.find(POD, VICTIM)
        node = str(found["spec"].get("nodeName", "")) if found is not None else ""
        address = str(found["status"].get("podIP", "")) if found is not None else ""
        if not node or not address:
            return  # it is being started: it reaches no other pod anyway
        if (node, address) not in healing or healing[node, address].done():
            await context.own_machines.mute(node, address)
            healing[node, address] = asyncio.create_task(heal(node, address))

    try:
        async with _standing_operator(context, cut) as (points, strikes):
            await _all_procedures(context, points, strikes)
    finally:
        await asyncio.gather(*healing.values())


async def _all_procedures(context: Context, points: Points, strikes: _Strikes) -> None:
    store = Store(context)
    await _through(context, points, strikes, "create", ("Bootstrap",), store.apply, settled(3))
    async with clients(context) as load:
        members = await store.members()

        async def through(
            what: str, expected: tuple[str, ...], begin: Callable[[], Awaitable[None]], ended: Callable[[Object], bool]
        ) -> None:
            began = load.now
            await _through(context, points, strikes, what, expected, begin, ended)
            await load.say_pauses(what, began, longest_s=PAUSE_S)

        await through("scale up", ("EnsureWorkload", "ChangeVoters"), lambda: store.scale(5), settled(5))
        await through("scale down", ("ChangeVoters", "EnsureWorkload"), lambda: store.scale(3), settled(3))
        await through("upgrade", ("RestartPod",), lambda: store.apply(image=context.images.node_next), settled(3))
        assert await store.members() == members, "a member has another node ID"
        await through("replace", REPLACES, *replacement(context, REPLACED, members))
        await through("rotate certificates", ROTATES, *await rotation(context, store))
        after = await store.members()
        assert {name for name in members if after[name] != members[name]} == {REPLACED}, (members, after)


class _Strikes:
    """Follows the operator's log, strikes at every point at which it stands, and lets it go on."""

    def __init__(self, context: Context, strike: Callable[[], Awaitable[None]]) -> None:
        self._context = context
        self._strike = strike
        self.struck: list[str] = []

    async def follow(self, pod: str) -> None:
        """Strike until cancelled. Raises what a strike raises."""
        done = 0
        while True:
            try:
                seen = 0
                async for line in self._context.client.follow(pod):
                    if not line.startswith(STANDS):
                        continue
                    seen += 1
                    if seen > done:  # a log that is followed anew is told from its beginning
                        done = seen
                        await self._strike()
                        self.struck.append(line.removeprefix(STANDS))
                        await self._context.kubectl.exec(pod, "sh", "-c", f": > {GO}")
            except (aiohttp.ClientError, TimeoutError):
                pass  # nothing was logged for a while, or the connection was lost: follow anew


@asynccontextmanager
async def _standing_operator(
    context: Context, strike: Callable[[], Awaitable[None]]
) -> AsyncIterator[tuple[Points, _Strikes]]:
    """Install the operator such that it stands still at every point once, until `strike` was called."""
    async with faulty_operator(context, "stop", PAUSER) as points:
        (pod,) = await context.client.list_all(POD, labels=LABELS)
        strikes = _Strikes(context, strike)
        following = asyncio.create_task(strikes.follow(pod["metadata"]["name"]))
        try:
            yield points, strikes
        finally:
            # The operator must remove the finalizers at the end, though nothing lets it go on any more.
            await points.disarm()
            await context.kubectl.exec(pod["metadata"]["name"], "sh", "-c", f": > {OVER}")
            following.cancel()
            (ended,) = await asyncio.gather(following, return_exceptions=True)
            if not isinstance(ended, asyncio.CancelledError):
                raise AssertionError("a strike failed") from ended


async def _through(
    context: Context,
    points: Points,
    strikes: _Strikes,
    what: str,
    expected: tuple[str, ...],
    begin: Callable[[], Awaitable[None]],
    ended: Callable[[Object], bool],
) -> None:
    """Begin a procedure, wait for its end, and print at which points members were struck: at least all `expected`."""
    strikes.struck.clear()
    await points.forget()
    await begin()
    await context.client.until_one(CLUSTER, "demo", ended, what=f"the end of: {what}", timeout_s=PROCEDURE_S)
    struck = frozenset(strikes.struck)
    context.say(f"{what}: complete, {VICTIM} was struck at {len(struck)} points: {', '.join(sorted(struck))}")
    assert_met(what, struck, expected)
