"""A client that changes users and roles while the cluster is in trouble, and what it must see of them.

One after the other: so what was acknowledged is there until the next change, at its revision. A name whose change may
or may not have been made is not used again, as the change may yet come.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import aiohttp
import orjson

from collectionstore_node.statemachine.access import access_revision, read_access, scan_roles, scan_users
from collectionstore_node.tests.simulation.checks import members
from collectionstore_node.tests.simulation.hosts import Host

TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 0.5
"""Longest pause between two requests."""
BODIES: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "users": ({}, {"roles": ["reader"]}, {"roles": ["admin"], "disabled": True}, {"limits": {"streams": 2}}),
    "roles": ({}, {"inherits": ["monitor"]}, {"rules": [{"verbs": ["read"], "buckets": ["b*"]}]}),
}


class Administrator:
    """Changes users and roles, and reads them."""

    def __init__(
        self,
        urls: Callable[[], Sequence[str]],
        session: aiohttp.ClientSession,
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._urls, self._session, self._now, self._random = urls, session, now, random
        self._made = self._asked = 0
        self._known: dict[str, int] = {}
        """Targets by the revision of their last change, 0 for those that do not exist."""
        self.answers: Counter[str] = Counter()
        """Requests by what they found."""

    async def run(self, until: float) -> None:
        """Change and read until `now()` is `until`. Raises `AssertionError` for what no correct store answers."""
        while self._now() < until:
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))
            if len(self._known) < 3:
                self._made += 1
                kind = self._random.choice(tuple(BODIES))
                self._known[f"{kind}/n{self._made}"] = 0
            target = self._random.choice(sorted(self._known))
            await self._random.choice((self._put, self._put, self._delete, self._read))(target)

    async def _put(self, target: str) -> None:
        body = self._random.choice(BODIES[target.partition("/")[0]])
        status, answer = await self._ask("PUT", target, body)
        if status in (200, 201):
            assert (status == 201) is (self._known[target] == 0), f"{target} was there, or not, against its revision"
            self._known[target] = answer["revision"]
            self.answers["put"] += 1
        else:
            self._unanswered(target, answer)

    async def _delete(self, target: str) -> None:
        status, answer = await self._ask("DELETE", target)
        if status in (200, 404):
            assert (status == 200) is bool(self._known[target]), f"{target} was there, or not, against its revision"
            self._known[target] = 0
            self.answers["deleted" if status == 200 else "absent"] += 1
        else:
            self._unanswered(target, answer)

    async def _read(self, target: str) -> None:
        status, answer = await self._ask("GET", target)
        if status in (200, 404):
            found = answer["revision"] if status == 200 else 0
            assert found == self._known[target], f"{target} is of {found}, and was acknowledged {self._known[target]}"
            self.answers["read"] += 1

    def _unanswered(self, target: str, answer: dict[str, Any]) -> None:
        self.answers["no answer"] += 1
        # A promise: what was not applied is as it was.
        if answer.get("outcome") != "not_applied":
            del self._known[target]

    async def _ask(self, method: str, target: str, body: object = None) -> tuple[int, dict[str, Any]]:
        url = f"{self._random.choice(self._urls())}/api/v1/{target}"
        self._asked += 1
        # The client library repeats a request when a connection ends: under a key it is made once.
        headers = {} if method == "GET" else {"Idempotency-Key": f"administrator-{self._asked}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            ) as reply:
                return reply.status, orjson.loads(await reply.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, {}


def check_access(hosts: list[Host]) -> None:
    """Raise `AssertionError` unless what is counted of users and roles on all `hosts` is what there is."""
    for one in members(hosts):
        view = one.database.state
        record = read_access(view)
        assert (record.users, record.roles) == (len(list(scan_users(view))), len(list(scan_roles(view))))
        changed = [user.revision for _, user in scan_users(view)] + [role.revision for _, role in scan_roles(view)]
        assert access_revision(view) >= max(changed, default=0)
