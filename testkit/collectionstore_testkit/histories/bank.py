"""Clients whose interactive transactions would break the rules of a bank under anything less than serializability.

- Transfers between accounts keep their total; each reads two accounts and writes both.
- The two accounts of a person may not be below 0 together. A withdrawal reads both and writes one: write skew.
- Of a team one member at least stays on duty. Who leaves asks by a query how many there are: write skew of what a
  query finds.
- A slot is booked once. Who books asks by a query whether there is a booking, and inserts one: a phantom.

Some book in one request, with a filter as its condition, and some of these are answered early (`ack`). At the end the
fate of each is known, and what is there is what the transactions have made, to the revision.

All along others read every account in one
transaction. Reads no clock and draws no chance of its own, as `workload`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import aiohttp
import orjson

from collectionstore_testkit.histories.draft import Document, Draft, Name, QueryRead
from collectionstore_testkit.histories.http_store import BrokenPromise
from collectionstore_testkit.histories.serial import Committed, replay

ACCOUNTS: Final = "accounts"
DUTIES: Final = "duties"
BOOKINGS: Final = "bookings"
PEOPLE: Final = 4
BALANCE: Final = 100
TOTAL: Final = 2 * PEOPLE * BALANCE
TEAMS: Final = 2
TEAM: Final = 3
SLOTS: Final = 40
PINNED_SHARE: Final = 0.5
"""Of the transactions whose reads behind the first one are of its revision."""
EARLY_SHARE: Final = 0.5
"""Of the bookings in one request that are answered before their outcome is known."""
PAUSE_S: Final = 0.05
PENDING_S: Final = 0.5
_NO_PARAMETERS: Final[Mapping[str, str]] = {}
ATTEMPTS_MAX: Final = 4
"""Of a request whose fate is unknown; those that are left are asked again at the end."""


class _Again(Exception):
    """A request was not carried out, or its reads are too old: the transaction begins anew."""


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """A transaction whose fate is not known yet."""

    key: str
    path: str
    body: bytes
    draft: Draft | None
    """None for one that is a single request."""


def person(number: int) -> tuple[Name, Name]:
    """Return the accounts of a person."""
    return (ACCOUNTS, f"p{number}-checking"), (ACCOUNTS, f"p{number}-saving")


class Bank:
    """Clients of one cluster. Belongs to an event loop."""

    def __init__(
        self,
        *,
        urls: Callable[[], Sequence[str]],
        session: aiohttp.ClientSession,
        now: Callable[[], float],
        random: Random,
        clients: int = 4,
        timeout_s: float = 2.0,
        pause_s: float = 0.05,
    ) -> None:
        """`urls()` are the base URLs of all nodes as they are now; `now()` is monotonic, in seconds."""
        session._retry_connection = False  # see `Workload`
        self._urls, self._session, self._now, self._random = urls, session, now, random
        self._clients, self._timeout_s, self._pause_s = clients, timeout_s, pause_s
        self._begin: dict[Name, tuple[int, Document]] = {}
        self._doubtful: list[_Doubtful] = []
        self._tickets: list[tuple[str, Draft]] = []
        """Writes that were answered early."""
        self._keys = 0
        self._stopping = False
        self.committed: list[Committed] = []
        """Interactive transactions that were committed."""
        self.outcomes: Counter[str] = Counter()
        """Transactions by kind and result, such as `transfer committed` and `book conflict`."""

    async def prepare(self) -> None:
        """Make the collections and what is in them; keeps trying until it is done."""
        for name in (ACCOUNTS, DUTIES, BOOKINGS):
            await self._until_done("PUT", f"/collections/{name}", None)
        await self._until_done("POST", f"/collections/{DUTIES}/indexes", {"name": "by_team", "fields": {"team": 1}})
        documents: dict[Name, Document] = {
            name: {"balance": BALANCE} for number in range(PEOPLE) for name in person(number)
        }
        for team in range(TEAMS):
            for member in range(TEAM):
                documents[DUTIES, f"t{team}-m{member}"] = {"team": team, "on": True}
        for (collection, name), document in documents.items():
            # Created only: an attempt that was given up and comes late must not undo what clients have done.
            await self._until_done("PUT", f"/collections/{collection}/documents/{name}", document, new=True)
        self._begin = await self._everything(list(documents))

    async def run(self, *, until: float) -> None:
        """Run all clients until `now()` is `until`. Raises `BrokenPromise`."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._clients):
                group.create_task(self._client(Random(self._random.random()), until), name=f"bank-{number}")
            group.create_task(self._auditor(Random(self._random.random()), until), name="bank-auditor")

    def stop(self) -> None:
        """Have `run` end as if its time were over."""
        self._stopping = True

    async def check(self) -> None:
        """Learn the fate of all transactions, and check what the bank has become. Keeps trying. Raises `BrokenPromise`.

        To be called when the cluster works again.
        """
        while self._doubtful:
            doubtful = self._doubtful.pop()
            await self._send_keyed("late", doubtful, attempts=1)
            await asyncio.sleep(PAUSE_S)
        for ticket, draft in self._tickets:
            await self._settle(ticket, draft)
        wrong, left = replay(self._begin, self.committed)
        for collection in (ACCOUNTS, DUTIES, BOOKINGS):
            documents = await self._find_all(collection, {})
            found = {(collection, one["id"]): (one["revision"], one["document"]) for one in documents}
            expected = {name: pair for name, pair in left.items() if name[0] == collection}
            wrong += [
                f"{'/'.join(name)} is {found.get(name)}, and by the transactions {expected.get(name)}"
                for name in sorted(found.keys() | expected.keys())
                if found.get(name) != expected.get(name)
            ]
        accounts = await self._everything([name for number in range(PEOPLE) for name in person(number)])
        total = sum(document["balance"] for _, document in accounts.values())
        if total != TOTAL:
            wrong.append(f"the accounts hold {total}, and it was {TOTAL}")
        for number in range(PEOPLE):
            together = sum(accounts[name][1]["balance"] for name in person(number))
            if together < 0:
                wrong.append(f"the accounts of person {number} hold {together}")
        for team in range(TEAMS):
            if not await self._find_all(DUTIES, {"team": team, "on": True}):
                wrong.append(f"nothing is left of team {team}")
        slots = Counter(one["document"]["slot"] for one in await self._find_all(BOOKINGS, {}))
        wrong += [f"slot {slot} is booked {count} times" for slot, count in slots.items() if count > 1]
        if wrong:
            raise BrokenPromise("\n".join(wrong[:10]))

    # Clients

    async def _client(self, random: Random, until: float) -> None:
        kinds = (self._transfer, self._withdraw, self._leave, self._book, self._book_at_once, self._join)
        weights = (30, 25, 15, 15, 15, 10)
        while self._now() < until and not self._stopping:
            (kind,) = random.choices(kinds, weights)
            try:
                await kind(random)
            except _Again:
                self.outcomes[f"{kind.__name__.strip('_')} not carried out"] += 1
                await asyncio.sleep(PAUSE_S)
            await asyncio.sleep(random.random() * self._pause_s)

    async def _auditor(self, random: Random, until: float) -> None:
        """Read all accounts at one revision: at each of them the total is the same."""
        names = [name for number in range(PEOPLE) for name in person(number)]
        while self._now() < until and not self._stopping:
            try:
                accounts = await self._read_together(random, names)
            except _Again:
                await asyncio.sleep(PAUSE_S)
                continue
            total = sum(document["balance"] for _, document in accounts.values())
            if total != TOTAL:
                raise BrokenPromise(f"the accounts hold {total} at one revision, and it was {TOTAL}")
            self.outcomes["audit"] += 1
            await asyncio.sleep(random.random() * self._pause_s)

    async def _transfer(self, random: Random) -> None:
        names = [name for number in range(PEOPLE) for name in person(number)]
        source, target = random.sample(names, 2)
        draft = Draft()
        first, second = await self._read(random, draft, source), await self._read(random, draft, target)
        amount = random.randint(1, 20)
        before = draft.savepoint()
        draft.put(source, {"balance": first["balance"] - amount})
        draft.put(target, {"balance": second["balance"] + amount})
        other = next(name for name in person(_owner(source)) if name != source)
        if other != target:
            rest = await self._read(random, draft, other)
            if first["balance"] - amount + rest["balance"] < 0:
                draft.rollback(before)  # not covered: what was read is checked, and nothing written
        await self._commit(random, "transfer", draft)

    async def _withdraw(self, random: Random) -> None:
        """Move all that a person may from one of the accounts to another person: both are read, one is written."""
        giver, taker = random.sample(range(PEOPLE), 2)
        accounts = list(person(giver))
        random.shuffle(accounts)
        draft = Draft()
        held = [await self._read(random, draft, name) for name in accounts]
        target = person(taker)[0]
        received = await self._read(random, draft, target)
        together = sum(one["balance"] for one in held)
        if together <= 0:
            return
        draft.put(accounts[0], {"balance": held[0]["balance"] - together})
        draft.put(target, {"balance": received["balance"] + together})
        await self._commit(random, "withdraw", draft)

    async def _leave(self, random: Random) -> None:
        team = random.randrange(TEAMS)
        draft = Draft()
        on = await self._query(random, draft, DUTIES, {"team": team, "on": True})
        if len(on) > 1:
            name = random.choice(sorted(on))
            draft.put((DUTIES, name), {"team": team, "on": False})
        await self._commit(random, "leave", draft)

    async def _join(self, random: Random) -> None:
        team, member = random.randrange(TEAMS), random.randrange(TEAM)
        draft = Draft()
        await self._read(random, draft, (DUTIES, f"t{team}-m{member}"))
        draft.put((DUTIES, f"t{team}-m{member}"), {"team": team, "on": True})
        await self._commit(random, "join", draft)

    async def _book(self, random: Random) -> None:
        slot = random.randrange(SLOTS)
        draft = Draft()
        if await self._query(random, draft, BOOKINGS, {"slot": slot}):
            return
        self._keys += 1
        draft.put((BOOKINGS, f"b{self._keys}"), {"slot": slot})
        await self._commit(random, "book", draft)

    async def _book_at_once(self, random: Random) -> None:
        """Book a slot in one request, if none is booked: a query as its condition."""
        slot = random.randrange(SLOTS)
        self._keys += 1
        name = f"b{self._keys}"
        body = {
            "compare": [{"collection": BOOKINGS, "filter": {"slot": slot}, "field": "exists", "operand": False}],
            "then": [{"op": "put", "collection": BOOKINGS, "id": name, "document": {"slot": slot}}],
        }
        # As a draft it would read what only the store has read; it writes, and others must see that.
        draft = Draft()
        draft.put((BOOKINGS, name), {"slot": slot})
        doubtful = _Doubtful(self._key(), "/transactions", orjson.dumps(body), draft)
        if random.random() < EARLY_SHARE:
            await self._send_early(random, doubtful, draft)
        else:
            await self._send_keyed("book at once", doubtful, random=random)

    # Requests

    async def _read(self, random: Random, draft: Draft, name: Name) -> Document:
        collection, document_id = name
        status, headers, body = await self._request(
            random, "GET", f"/collections/{collection}/documents/{document_id}", None, at_revision=draft.pinned
        )
        if status != 200:
            raise _Again
        if draft.pinned is None and random.random() < PINNED_SHARE:
            draft.pinned = int(headers["X-Revision"])
        document: Document = orjson.loads(body)
        draft.saw(name, int(headers["ETag"].strip('"')), document)
        return document

    async def _query(
        self, random: Random, draft: Draft, collection: str, filter_: Document
    ) -> dict[str, tuple[int, Document]]:
        path = f"/collections/{collection}:find"
        status, _, body = await self._request(random, "POST", path, {"filter": filter_}, at_revision=draft.pinned)
        if status != 200:
            raise _Again
        page = orjson.loads(body)
        if page["next_cursor"] is not None:
            raise BrokenPromise("a page of a few documents has another one behind it")
        found = {one["id"]: (one["revision"], one["document"]) for one in page["documents"]}
        draft.found(QueryRead(collection, filter_, page["revision"], found, exact=random.random() < 0.5))
        return found

    async def _read_together(self, random: Random, names: Sequence[Name]) -> dict[Name, tuple[int, Document]]:
        body = {"then": [{"op": "get", "collection": collection, "id": name} for collection, name in names]}
        status, _, text = await self._request(random, "POST", "/transactions", body)
        if status != 200:
            raise _Again
        results = orjson.loads(text)["results"]
        return {name: (one["revision"], one["document"]) for name, one in zip(names, results, strict=True)}

    async def _commit(self, random: Random, kind: str, draft: Draft) -> None:
        doubtful = _Doubtful(self._key(), "/transactions:commit", orjson.dumps(draft.body()), draft)
        await self._send_keyed(kind, doubtful, random=random)

    async def _send_keyed(
        self, kind: str, doubtful: _Doubtful, *, random: Random | None = None, attempts: int = ATTEMPTS_MAX
    ) -> None:
        """Send a transaction until its fate is known; put it aside if that takes too many attempts."""
        unknown = False
        for _ in range(attempts):
            status, _, text = await self._request(
                random or self._random, "POST", doubtful.path, doubtful.body, key=doubtful.key
            )
            if status == 200:
                answer = orjson.loads(text)
                ran = answer.get("succeeded", True)
                self.outcomes[f"{kind} {'committed' if ran else 'declined'}"] += 1
                if ran and doubtful.draft is not None:
                    self.committed.append(Committed(answer["revision"], doubtful.draft))
                return
            problem = orjson.loads(text) if text else {}
            if problem.get("code") == "transaction_conflict":
                self.outcomes[f"{kind} conflict"] += 1
                return
            if status != 0 and status < 500:
                raise BrokenPromise(f"{status} {problem.get('code')}: {problem.get('detail')} for a {kind}")
            unknown = unknown or status == 0 or problem.get("outcome") != "not_applied"
            await asyncio.sleep(PAUSE_S)
        # Refused each time, and never in doubt: it was not applied. At the end all must be known.
        if unknown or kind == "late":
            self._doubtful.append(doubtful)

    async def _send_early(self, random: Random, doubtful: _Doubtful, draft: Draft) -> None:
        """Send a transaction that is answered before its outcome is known; its fate is asked at the end."""
        ack = random.choice(("leader", "queued"))
        status, _, text = await self._request(
            random, "POST", doubtful.path, doubtful.body, key=doubtful.key, parameters={"ack": ack}
        )
        answer = orjson.loads(text) if text else {}
        if "ticket" in answer:
            self._tickets.append((answer["ticket"], draft))
        elif status == 200:
            self.outcomes[f"book by {ack} {'committed' if answer['succeeded'] else 'declined'}"] += 1
            if answer["succeeded"]:
                self.committed.append(Committed(answer["revision"], draft))
        elif status == 0:
            # The answer was lost, and the ticket with it; the key is the client's own.
            self._doubtful.append(doubtful)
        elif answer.get("outcome") != "not_applied" or status < 500:
            raise BrokenPromise(f"{status} {answer.get('code')}: {answer.get('detail')} for a booking with ack={ack}")

    async def _settle(self, ticket: str, draft: Draft) -> None:
        """Learn what has become of a write that was answered early, in either way."""
        method = self._random.choice(("GET", "DELETE"))
        while True:
            answer = orjson.loads(await self._until_done(method, f"/tickets/{ticket}", None))
            if answer["state"] != "pending":
                break
            await asyncio.sleep(PENDING_S)
        if answer["state"] not in ("applied", "not_applied"):
            raise BrokenPromise(f"a booking that was answered early is {answer}")
        ran = answer["state"] == "applied" and answer["succeeded"]
        declined = "declined" if answer["state"] == "applied" else "not applied"
        self.outcomes[f"book early {'committed' if ran else declined}"] += 1
        if ran:
            self.committed.append(Committed(answer["revision"], draft))

    async def _request(
        self,
        random: Random,
        method: str,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        new: bool = False,
        at_revision: int | None = None,
        parameters: Mapping[str, str] = _NO_PARAMETERS,
    ) -> tuple[int, Any, bytes]:
        """Return status, headers and body; status 0 if there was no answer."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if new:
            headers["If-None-Match"] = "*"
        query = {"timeout": f"{round(self._timeout_s * 1000)}ms", **parameters}
        if at_revision is not None:
            query["at_revision"] = str(at_revision)
        try:
            async with self._session.request(
                method,
                f"{random.choice(list(self._urls()))}/api/v1{path}",
                params=query,
                data=body if body is None or isinstance(body, bytes) else orjson.dumps(body),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s * 1.5),
            ) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, {}, b""

    async def _until_done(self, method: str, path: str, body: Any, *, new: bool = False) -> bytes:
        while True:
            status, _, text = await self._request(self._random, method, path, body, new=new)
            # There already: by an attempt whose answer was lost.
            if status in (200, 201) or status == (412 if new else 409):
                return text
            await asyncio.sleep(PAUSE_S)

    async def _everything(self, names: Sequence[Name]) -> dict[Name, tuple[int, Document]]:
        return await self._keep_trying(lambda: self._read_together(self._random, names))

    async def _find_all(self, collection: str, filter_: Document) -> list[dict[str, Any]]:
        text = await self._until_done("POST", f"/collections/{collection}:find", {"filter": filter_, "limit": 1000})
        found: list[dict[str, Any]] = orjson.loads(text)["documents"]
        return found

    async def _keep_trying(
        self, ask: Callable[[], Awaitable[dict[Name, tuple[int, Document]]]]
    ) -> dict[Name, tuple[int, Document]]:
        while True:
            try:
                return await ask()
            except _Again:
                await asyncio.sleep(PAUSE_S)

    def _key(self) -> str:
        self._keys += 1
        return f"bank-{self._keys}"


def _owner(name: Name) -> int:
    return int(name[1][1:].partition("-")[0])
