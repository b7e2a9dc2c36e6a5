"""A stand-in for a storage node, run as a process: speaks the node's settings, exit codes, /status and cluster API.

Fakes of one cluster share a JSON file instead of a log, guarded by a file lock: who votes, in which term, at which
index. The leader is the one in the file while its process runs, else the first voter that runs.
"""

import asyncio
import contextlib
import fcntl
import functools
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Body = dict[str, Any]
Answer = tuple[int, Body]

PREFIX = "COLLECTIONSTORE_"
STARTED = time.monotonic()
EMPTY: dict[str, Any] = {
    "index": 0,
    "term": 0,
    "epoch": 0,
    "leader": None,
    "voters": [],
    "learners": [],
    "removed": [],
    "known": {},
}


def setting(name: str) -> str:
    value = os.environ.get(PREFIX + name)
    if not value:
        sys.stderr.write(f"{PREFIX}{name} is not set" + "\n")
        raise SystemExit(64)
    return value


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


class FakeNode:
    def __init__(self) -> None:
        self.name = setting("NAME")
        self.cluster_id = setting("CLUSTER_ID")
        self.data = Path(setting("DATA_DIR"))
        self.client = setting("CLIENT_ADDRESS")
        self.peer = setting("PEER_ADDRESS")
        self.metrics = setting("METRICS_ADDRESS")
        self.shared = self.data.parent.parent.parent / f"fake-{self.cluster_id}.json"
        for file in ("ca.crt", "tls.crt", "tls.key"):
            (Path(setting("TLS_DIR")) / file).read_text()
        self.node_id = self.identity()

    def identity(self) -> str:
        self.data.mkdir(parents=True, exist_ok=True)
        path = self.data / "IDENTITY"
        if path.exists():
            found = json.loads(path.read_text())
            if (found["cluster_id"], found["name"]) != (self.cluster_id, self.name):
                sys.stderr.write(f"data directory {self.data} belongs to {found}" + "\n")
                raise SystemExit(65)
            return str(found["node_id"])
        node_id = secrets.token_hex(8)
        path.write_text(json.dumps({"cluster_id": self.cluster_id, "name": self.name, "node_id": node_id}))
        return node_id

    @contextlib.contextmanager
    def state(self) -> Iterator[dict[str, Any]]:
        """Read the shared state, let the caller change it, write it back."""
        with open(self.shared.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self.shared.read_text()) if self.shared.exists() else json.loads(json.dumps(EMPTY))
            state["known"][self.node_id] = {
                "name": self.name,
                "pid": os.getpid(),
                "address": self.peer,
                "http_address": f"http://{self.client}",
            }
            self.elect(state)
            yield state
            self.shared.write_text(json.dumps(state))

    def elect(self, state: dict[str, Any]) -> None:
        living = [one for one in state["voters"] if alive(state["known"].get(one, {}).get("pid", 0))]
        if 2 * len(living) <= len(state["voters"]):
            state["leader"] = None
        elif state["leader"] not in living:
            state["leader"] = living[0]
            state["term"] += 1

    def describe(self, state: dict[str, Any]) -> dict[str, Any]:
        member = self.node_id in state["voters"] or self.node_id in state["learners"]
        role = "Leader" if state["leader"] == self.node_id else "Follower"
        if self.node_id in state["learners"]:
            role = "Learner"
        leads = role == "Leader"
        everyone = state["voters"] + state["learners"]
        index = state["index"]
        return {
            "cluster_id": self.cluster_id,
            "node_id": self.node_id,
            "name": self.name,
            "version": "0.1.0",
            "state": "Member" if member else "Removed" if self.node_id in state["removed"] else "Uninitialized",
            "role": role,
            "term": state["term"] if member else 0,
            "leader": self.hint(state) if member else None,
            "commit_index": index if member else 0,
            "applied_index": index if member else 0,
            "first_index": 1 if member else 0,
            "last_index": index if member else 0,
            "revision": index if member else 0,
            "epoch": state["epoch"],
            "configuration": self.configuration(state) if member else {"index": 0},
            "members": [self.row(state, one, leads=leads) for one in everyone] if member else [],
            "peers": [],
            "transferring_to": None,
            "data_bytes": 4096,
            "uptime_s": time.monotonic() - STARTED,
            "pid": os.getpid(),
            "client_address": self.client,
            "peer_address": self.peer,
            "metrics_address": self.metrics,
        }

    def configuration(self, state: dict[str, Any]) -> dict[str, Any]:
        return {
            "index": state["index"],
            "voters": sorted(state["voters"]),
            "outgoing": [],
            "learners": sorted(state["learners"]),
            "learners_next": [],
            "joint": False,
        }

    def hint(self, state: dict[str, Any]) -> dict[str, Any] | None:
        leader = state["leader"]
        known = state["known"].get(leader)
        return {"node_id": leader, "name": known["name"], "http_address": known["http_address"]} if known else None

    def row(self, state: dict[str, Any], node_id: str, *, leads: bool) -> dict[str, Any]:
        known = state["known"].get(node_id, {"name": "", "address": "", "http_address": "", "pid": 0})
        up = alive(known["pid"])
        row = {key: known[key] for key in ("name", "address", "http_address")}
        row |= {"node_id": node_id, "role": "Voter" if node_id in state["voters"] else "Learner", "snapshot": False}
        if leads:
            row |= {"match_index": state["index"], "lag": 0, "active": up, "silent_ms": 10 if up else 5000}
        return row

    def is_ready(self, _: Body) -> Answer:
        with self.state() as state:
            member = self.node_id in state["voters"] + state["learners"]
            return (200 if member and state["leader"] else 503), {}

    def get_status(self, _: Body) -> Answer:
        with self.state() as state:
            return 200, self.describe(state)

    def bootstrap(self, _: Body) -> Answer:
        with self.state() as state:
            if state["voters"]:
                return problem("already_bootstrapped")
            state.update(voters=[self.node_id], index=1, term=1, leader=self.node_id)
            return 200, self.describe(state)

    def members(self, body: Body) -> Answer:
        with self.state() as state:
            if state["leader"] is None:
                return problem("no_leader", retryable=True)
            if body["expected_index"] != state["index"]:
                return problem("configuration_changed")
            if body["epoch"] < state["epoch"]:
                return problem("stale_epoch")
            for change in body.get("changes") or [body]:
                self.change(state, change)
            state.update(index=state["index"] + 1, epoch=body["epoch"])
            self.elect(state)
            return 200, {"configuration": self.configuration(state)}

    def transfer(self, body: Body) -> Answer:
        with self.state() as state:
            others = [one for one in state["voters"] if one != state["leader"]]
            state["leader"] = body["node_id"] or others[0]
            state["term"] += 1
            return 200, self.describe(state)

    def change(self, state: dict[str, Any], change: dict[str, Any]) -> None:
        node_id, action = change["node_id"], change["action"]
        gone = {"remove": node_id, "replace": change.get("replaces")}.get(action)
        for group in ("voters", "learners"):
            state[group] = [one for one in state[group] if one not in (node_id, gone)]
        if action == "add":
            state["learners"].append(node_id)
        elif action in ("promote", "replace"):
            state["voters"].append(node_id)
        if gone:
            state["removed"].append(gone)


ROUTES = {
    "GET /status": FakeNode.get_status,
    "GET /readyz": FakeNode.is_ready,
    "POST /api/v1/cluster/bootstrap": FakeNode.bootstrap,
    "POST /api/v1/cluster/members": FakeNode.members,
    "POST /api/v1/cluster/transfer-leadership": FakeNode.transfer,
}


ACCESS = "GET /api/v1/access"


def problem(code: str, *, retryable: bool = False) -> Answer:
    return 409, {"title": code, "status": 409, "code": code, "retryable": retryable, "outcome": "not_applied"}


def say(event: str, node: FakeNode) -> None:
    line = {"event": event, "level": "info", "timestamp": datetime.now(UTC).isoformat(), "name": node.name}
    sys.stderr.write(json.dumps(line) + "\n")


async def answer(node: FakeNode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one HTTP request and close: no framework, since a dozen of these start in a test."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    route = head[0].rpartition(" ")[0]
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if route == ACCESS:
        # As a version that knows no access control.
        status, content = 404, {"code": "unknown_route", "status": 404, "retryable": False, "outcome": "not_applied"}
    else:
        status, content = ROUTES[route](node, json.loads(body or b"{}"))
    payload = json.dumps(content).encode()
    writer.write(
        f"HTTP/1.1 {status} -\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n".encode() + payload
    )
    await writer.drain()
    writer.close()


async def main() -> None:
    node = FakeNode()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for address in (node.client, node.peer, node.metrics):
        await asyncio.start_server(functools.partial(answer, node), *address.split(":"))
    say("node.started", node)
    await stop.wait()
    say("node.stopped", node)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(69) from error
