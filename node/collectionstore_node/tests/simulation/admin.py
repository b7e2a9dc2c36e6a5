"""The operator's part: it looks at all members and changes the membership through the HTTP API, one step at a time.

It may be wrong about everything it saw, and its requests may be lost or come twice. What keeps the cluster safe is the
members' own checks: `expected_index`, one change at a time, a majority that was heard from lately.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import aiohttp

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.tests.simulation.connector import MemoryConnector
from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.hosts import Host
from collectionstore_node.tests.simulation.member import CLIENT_PORT, PEER_PORT

LOOK_S: Final = 0.3
SETTLED_LOOK_S: Final = 0.8
ANSWER_S: Final = 1.0
CHANGE_S: Final = 4.0

Status = Mapping[str, Any]


class Admin:
    """Brings the voters to be `wanted`: bootstraps, adds, promotes, replaces and removes."""

    def __init__(self, hosts: list[Host], trace: Trace, random: Random) -> None:
        self.expected: list[Host] = []
        """Who should vote; in no particular hurry."""
        self.transfer_wanted = False
        """Whether to hand leadership over once."""
        self.settled = False
        """Whether everything was as wanted when it was looked at last."""
        self.changes = 0
        self._hosts = hosts
        self._trace = trace
        self._random = random
        self._newest_index = 0
        self._repairing: set[Host] = set()

    @property
    def repairing(self) -> bool:
        """Whether a member's disk is lost and it is not replaced yet."""
        return bool(self._repairing)

    def want(self, hosts: list[Host]) -> None:
        """Bring the voters to be `hosts`."""
        self._trace.tell("operator", f"wants {' '.join(host.name for host in hosts)}")
        self.expected = hosts
        self.settled = False

    def repair(self, host: Host) -> None:
        """A host's disk is about to be lost: replace its member when it has come back."""
        self._repairing.add(host)
        self.settled = False

    async def run(self) -> None:
        """Look and act until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(connector=MemoryConnector(), timeout=timeout) as session:
            while True:
                expected = self.expected
                done = await self._reconcile(session)
                self.settled = done and expected is self.expected and all(host.up for host in expected)
                if self.settled:
                    self._repairing.clear()
                await asyncio.sleep((SETTLED_LOOK_S if self.settled else LOOK_S) * (0.5 + self._random.random()))

    async def _reconcile(self, session: aiohttp.ClientSession) -> bool:
        """Do the next step, if there is one, and return whether there was nothing to do."""
        seen = await self._look(session)
        leaders = [status for status in seen.values() if status["role"] == "Leader"]
        if not leaders:
            await self._bootstrap(session, seen)
            return False
        leader = max(leaders, key=lambda one: one["term"])
        configuration = leader["configuration"]
        stale = configuration["index"] < self._newest_index
        self._newest_index = max(self._newest_index, configuration["index"])
        if stale or configuration["joint"]:
            return False
        address = next(host.address for host, status in seen.items() if status is leader)
        steps = self._steps(leader, seen)
        if steps:
            body = {"changes": steps, "expected_index": configuration["index"]}
            await self._post(session, address, "members", body)
            return False
        if self.transfer_wanted:
            self.transfer_wanted = False
            await self._post(session, address, "transfer-leadership", {})
        here = {status["node_id"] for host, status in seen.items() if host in self.expected}
        # Those that were not seen may come up before the next look: a cluster without them is not what is wanted.
        complete = len(here) == len(self.expected)
        return complete and here == set(configuration["voters"]) and len(leader["members"]) == len(here)

    def _steps(self, leader: Status, seen: Mapping[Host, Status]) -> list[dict[str, str]]:
        """Return the next change: learners come first, then one change of voters that does all the rest."""
        voters = set(leader["configuration"]["voters"])
        members = {one["node_id"]: one for one in leader["members"]}
        add, change = [], []
        for host in self.expected:
            status = seen.get(host)
            if status is None or status["node_id"] in voters:
                continue
            node_id = status["node_id"]
            if node_id not in members:
                add.append({"action": "add", **_place(host, node_id)})
                continue
            former = [one for one, info in members.items() if info["name"] == host.name and one != node_id]
            if len(former) == 1 and former[0] in voters:
                change.append({"action": "replace", "node_id": node_id, "replaces": former[0]})
            else:
                change.append({"action": "promote", "node_id": node_id})
        replaced = {step.get("replaces") for step in change}
        wanted_names = {host.name for host in self.expected}
        for node_id, info in members.items():
            gone = info["name"] not in wanted_names or (
                node_id not in voters and self._incarnation(seen, info["name"]) not in (None, node_id)
            )
            if gone and node_id not in replaced:
                change.append({"action": "remove", "node_id": node_id})
        return add or change

    def _incarnation(self, seen: Mapping[Host, Status], name: str) -> str | None:
        return next((status["node_id"] for host, status in seen.items() if host.name == name), None)

    async def _look(self, session: aiohttp.ClientSession) -> dict[Host, Status]:
        hosts = [host for host in self._hosts if host.up]
        found = await asyncio.gather(*(self._status(session, host) for host in hosts))
        return {host: status for host, status in zip(hosts, found, strict=True) if status is not None}

    async def _status(self, session: aiohttp.ClientSession, host: Host) -> Status | None:
        try:
            async with session.get(f"http://{host.address}:{CLIENT_PORT}/status") as answer:
                status: Status = await answer.json()
                return status if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _bootstrap(self, session: aiohttp.ClientSession, seen: Mapping[Host, Status]) -> None:
        """Form the cluster on its first host: when every host is there, and none has any history."""
        first = self._hosts[0]
        blank = all(status["state"] == "Uninitialized" for status in seen.values())
        if first in seen and blank and len(seen) == len(self._hosts):
            await self._post(session, first.address, "bootstrap", {})

    async def _post(self, session: aiohttp.ClientSession, address: str, what: str, body: Mapping[str, Any]) -> None:
        url = f"http://{address}:{CLIENT_PORT}/api/v1/cluster/{what}"
        parameters = {} if what == "bootstrap" else {"timeout": f"{CHANGE_S:g}s"}
        try:
            timeout = aiohttp.ClientTimeout(total=CHANGE_S + ANSWER_S)
            async with session.post(url, json=body, params=parameters, timeout=timeout) as answer:
                said = await answer.json(content_type=None)
                # Not the whole problem: it names the request by a number that is the process's own.
                result = "done" if answer.status == 200 else f"{said['code']}: {said['detail']}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            result = type(error).__name__
        self.changes += 1
        self._trace.tell("operator", f"{what} {_shown(body)}: {result}")


def _place(host: Host, node_id: str) -> dict[str, str]:
    return {
        "node_id": node_id,
        "name": host.name,
        "address": f"{host.address}:{PEER_PORT}",
        "http_address": f"http://{host.address}:{CLIENT_PORT}",
    }


def _shown(body: Mapping[str, Any]) -> str:
    steps = [f"{step['action']} {step.get('name', '')}{step['node_id'][:6]}" for step in body.get("changes", ())]
    return ", ".join(steps)


def shown_id(node_id: NodeId | None) -> str:
    """Return the short form of a node ID for the log."""
    return "nobody" if node_id is None else show_id(node_id)[:6]
