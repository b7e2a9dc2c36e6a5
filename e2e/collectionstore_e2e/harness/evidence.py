"""Diagnostics of a failed scenario: enough to understand the failure without running it again.

One folder per scenario: the error, every object of the namespace, events in order, the logs of all containers (also
the previous ones of restarted containers), the nodes, and the tails of the machines' logs. What could not be collected
is listed in `incomplete.txt`; it never hides the scenario's own failure.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import CommandRefused, Refused
from collectionstore_e2e.harness.kinds import EVENT, POD, Object

TAIL_BYTES: Final = 256 << 10
SECRET_KINDS: Final = ("secrets",)
CLUSTER_WIDE: Final = ("nodes", "persistentvolumes", "storageclasses", "certificatesigningrequests")


class Evidence:
    """Collects diagnostics into one folder, which is created with the first file."""

    def __init__(self, folder: Path, context: Context) -> None:
        self._folder = folder
        self._context = context
        self._incomplete: list[str] = []

    async def collect(self, error: BaseException) -> None:
        """Write everything that can be collected."""
        self._write("error.txt", "".join(traceback.format_exception(error)))
        await self._try("events.txt", self._events())
        await self._objects()
        await self._logs()
        for name, command in (
            ("nodes.txt", ("describe", "nodes")),
            ("pods.txt", ("get", "pods", "--all-namespaces", "--output=wide")),
            ("cluster.yaml", ("get", ",".join(CLUSTER_WIDE), "--output=yaml")),
        ):
            await self._try(name, self._context.kubectl(*command))
        self._machine_logs()
        if self._incomplete:
            self._write("incomplete.txt", "\n".join(self._incomplete) + "\n")

    async def _events(self) -> str:
        events = await self._context.client.list_all(EVENT)
        return "".join(f"{_line(event)}\n" for event in sorted(events, key=_timestamp))

    async def _objects(self) -> None:
        known = self._context.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name")
        listed = await self._try(None, known)
        for kind in (listed or "").split():
            # People attach this folder to reports, so it must contain no Secret.
            if kind in SECRET_KINDS or kind.startswith("events"):
                continue
            found = await self._try(None, self._context.kubectl("get", kind, "--output=yaml", "--ignore-not-found"))
            if found and "items: []" not in found:
                self._write(f"objects/{kind}.yaml", found)

    async def _logs(self) -> None:
        try:
            pods = await self._context.client.list_all(POD)
        except (Refused, aiohttp.ClientError, OSError) as error:
            self._incomplete.append(f"logs: {error}")
            return
        for pod in pods:
            name, status = pod["metadata"]["name"], pod.get("status", {})
            for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
                logs = self._context.client.logs(name, one["name"])
                await self._try(f"logs/{name}.{one['name']}.log", logs)
                if one.get("restartCount"):
                    logs = self._context.client.logs(name, one["name"], previous=True)
                    await self._try(f"logs/{name}.{one['name']}.previous.log", logs)

    def _machine_logs(self) -> None:
        folders = self._context.machines.logs() if self._context.machines is not None else {}
        for machine, folder in folders.items():
            for log in folder.glob("*.log"):
                content = log.read_bytes()[-TAIL_BYTES:]
                self._write(f"machines/{machine}/{log.name}", content.decode(errors="replace"))

    async def _try(self, name: str | None, source: Awaitable[str]) -> str | None:
        """Write the result of `source` to file `name`, if given, and return it; record its failure."""
        try:
            content = await source
        except (Refused, CommandRefused, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._incomplete.append(f"{name or 'objects'}: {error}")
            return None
        if name is not None:
            self._write(name, content)
        return content

    def _write(self, name: str, content: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _timestamp(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _line(event: Object) -> str:
    about = event["involvedObject"]
    count = f" (x{event['count']})" if event.get("count", 1) and event.get("count", 1) > 1 else ""
    subject = f"{about['kind']}/{about['name']}"
    return f"{_timestamp(event)}  {event['type']:8} {event['reason']:24} {subject}: {event.get('message', '')}{count}"
