"""A queue of jobs on Collection Store: watches tell workers of jobs, leases give back those of dead workers.

    python jobs.py submit 'some text'            # prints the ID of the job
    python jobs.py work --command 'tr a-z A-Z'   # runs a command for each job: its payload in, its result out
    python jobs.py show ID

A worker claims a job by a value that hangs on its lease. If the worker dies, the lease ends, the claim is gone, and the
watch tells the other workers. A result is stored only while the claim is the one that the worker made: a worker that
was away for too long changes nothing any more. So a job may run twice, and has one result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from collectionstore import AsyncClient, AsyncWatch, Document

JOBS = "jobs"
CLAIMS = "claims"
BATCH = 20
Handler = Callable[[str], Awaitable[str]]


class JobFailed(Exception):
    """A handler has found that a job cannot be done: it is marked as failed, and not tried again."""


async def submit(client: AsyncClient, payload: str) -> str:
    """Add a job, and return its ID: UUIDv7, so that older ones come first."""
    await client.create_collection(JOBS, exist_ok=True)
    made = await client.collection(JOBS).insert_one({"state": "queued", "payload": payload})
    return made.inserted_id


class Worker:
    """Runs jobs, one at a time, until it is cancelled."""

    def __init__(self, client: AsyncClient, handle: Handler, *, lease_s: float = 10.0) -> None:
        self._client = client
        self._handle = handle
        self._lease_s = lease_s
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Work. Raises what the handler raises, and NotFound when the lease was lost; the job is free for others then.

        A watch that cannot go on raises, too: start the worker again, and it looks for itself.
        """
        await self._client.create_collection(JOBS, exist_ok=True)
        # BEFORE the first look: what is added or given back from then on is told.
        async with (
            self._client.collection(JOBS).watch(operations=["insert"]) as added,
            self._client.bucket(CLAIMS).watch(operations=["expire", "delete"]) as given_back,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._listen(added))
            group.create_task(self._listen(given_back))
            group.create_task(self._work())

    async def _listen(self, watch: AsyncWatch[Any]) -> None:
        async for _ in watch:
            self._news.set()

    async def _work(self) -> None:
        async with self._client.lease(self._lease_s) as lease:
            while True:
                self._news.clear()
                if not await self._look(lease.id):
                    await self._news.wait()

    async def _look(self, lease: int) -> bool:
        """Claim the first job that is free and run it. Returns whether there was one."""
        async for job in self._client.collection(JOBS).find({"state": "queued"}, sort={"_id": 1}, limit=BATCH):
            free = {"bucket": CLAIMS, "key": job.id, "field": "exists", "operand": False}
            claimed = await self._client.transact(
                # The list may be old by now: another worker may have claimed the job, and may even have done it.
                compare=[free, queued(job)],
                then=[{"op": "put", "bucket": CLAIMS, "key": job.id, "value": b"", "lease": lease}],
            )
            if claimed.succeeded:
                await self._run(job, claimed.revision)
                return True
        return False

    async def _run(self, job: Document, claim: int) -> None:
        try:
            outcome = {"state": "done", "result": await self._handle(job["payload"])}
        except JobFailed as error:
            outcome = {"state": "failed", "error": str(error)}
        mine = {"bucket": CLAIMS, "key": job.id, "field": "revision", "operand": claim}
        update = {"$set": outcome, "$inc": {"results": 1}}
        await self._client.transact(
            # Of a worker that has lost its claim this does nothing: another one has the job, or has done it.
            compare=[mine, queued(job)],
            then=[
                {"op": "update", "collection": JOBS, "id": job.id, "update": update},
                {"op": "delete", "bucket": CLAIMS, "key": job.id},
            ],
        )


def queued(job: Document) -> dict[str, Any]:
    """Return the guard that a job is queued."""
    return {"collection": JOBS, "id": job.id, "filter": {"state": "queued"}, "field": "exists", "operand": True}


def command(words: str) -> Handler:
    """Return a handler that runs a command of the shell: the payload is its input, its output the result."""

    async def handle(payload: str) -> str:
        process = await asyncio.create_subprocess_shell(
            words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate(payload.encode())
        if process.returncode:
            raise JobFailed(f"the command ended with {process.returncode}")
        return output.decode(errors="replace")

    return handle


async def main(arguments: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="A queue of jobs on Collection Store.")
    commands = parser.add_subparsers(dest="do", required=True)
    commands.add_parser("submit").add_argument("payload")
    commands.add_parser("show").add_argument("id")
    work = commands.add_parser("work")
    work.add_argument("--command", required=True)
    work.add_argument("--lease", type=float, default=10.0, help="seconds after which jobs of a dead worker are free")
    given = parser.parse_args(arguments)
    async with AsyncClient() as client:  # by COLLECTIONSTORE_URL
        if given.do == "submit":
            print(await submit(client, given.payload))
        elif given.do == "show":
            print(json.dumps(await client.collection(JOBS).find_one(given.id)))
        else:
            await Worker(client, command(given.command), lease_s=given.lease).run()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
