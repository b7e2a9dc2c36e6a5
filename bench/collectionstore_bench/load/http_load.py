"""A closed-loop HTTP/1.1 load generator that costs as little as Python allows.

It shares the machine with the nodes it measures, so every microsecond here is taken from them: raw protocols on
uvloop, requests encoded beforehand, one request in flight per connection, and of an answer only the status line and
Content-Length are read. Only 2xx answers that arrive whole inside the window count as throughput; everything else is
counted by cause. Answers are expected to be small: one that comes in many pieces is joined anew for each piece.

The loop is closed: a connection waits for its answer before it asks again, so a stall hides the requests that an open
system would have sent meanwhile. Read the worst latency beside the percentiles.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

REQUEST_TIMEOUT_S = 5.0
"""A request without an answer for this long is counted as `timeout` and its connection dropped."""
SILENCE_S = 1.0
"""A request that has waited this long when the window closes is counted as an error."""
REFUSED_PAUSE_S = 0.01
"""Wait after an error answer, so that a node that refuses at once is not measured by how fast it refuses."""
RECONNECT_PAUSE_S = 0.05
CONNECT_TIMEOUT_S = 5.0

Probe = Callable[[], Mapping[str, float]]
"""Returns ever-growing counters, such as CPU seconds by process; read when the window opens and when it closes."""


@dataclass(frozen=True, slots=True)
class Target:
    """One node as clients reach it."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Target:
        """Return the target of a base URL such as http://127.0.0.1:7400. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None or parts.path not in ("", "/"):
            raise ValueError(f"{url!r} is not a base URL like http://127.0.0.1:7400")
        return cls(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), parts.scheme == "https")

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one round measured; latencies in seconds, ascending, of the 2xx answers in the window."""

    seconds: float
    latencies: Sequence[float]
    errors: Mapping[str, int]
    spent: Mapping[str, float]
    """How much each counter of the probe grew during the window."""

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, fraction: float) -> float | None:
        """Return the latency that `fraction` of the answers did not exceed, in seconds; None without answers."""
        if not self.latencies:
            return None
        return self.latencies[min(len(self.latencies) - 1, int(fraction * len(self.latencies)))]


def encode_request(
    method: str, target: Target, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole keep-alive request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Round:
    """The state that all clients of one round share. While `open` is false nothing is counted."""

    def __init__(self) -> None:
        self.open = False
        self.ended = False
        self.latencies = array("d")
        self.errors: Counter[str] = Counter()

    def count_error(self, cause: str, count: int = 1) -> None:
        if self.open:
            self.errors[cause] += count


class Client(asyncio.Protocol):
    """One connection of a closed loop, which replaces itself when it is lost; subclasses say what is sent on it."""

    def __init__(self, state: Round, target: Target) -> None:
        self._round = state
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    async def connect(self) -> None:
        """Connect, again and again until it works or the round has ended."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._target.tls else None
        while not self._round.ended:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await loop.create_connection(lambda: self, self._target.host, self._target.port, ssl=context)
                return
            except (OSError, TimeoutError) as error:
                self._round.count_error(f"connect: {type(error).__name__}")
                await asyncio.sleep(RECONNECT_PAUSE_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by inheritance
        self._buffer = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._round.ended:
            asyncio.get_running_loop().call_later(RECONNECT_PAUSE_S, self._reconnect)

    def waits_longer(self, seconds: float, now: float) -> int:
        """Return how many requests have waited for longer."""
        raise NotImplementedError

    def time_out(self, late: int) -> None:
        """Drop the connection, on which `late` requests have waited for too long."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection; unless the round has ended, another one follows."""
        if self._transport is not None:
            self._transport.abort()

    def _reconnect(self) -> None:
        # Kept by the loop for as long as it is needed: it ends with the round at the latest.
        self._task = asyncio.get_running_loop().create_task(self.connect())


class _Connection(Client):
    """One keep-alive connection with one request in flight, which replaces itself when it is lost."""

    def __init__(self, state: Round, target: Target, requests: Sequence[bytes], position: int) -> None:
        super().__init__(state, target)
        self._requests = requests
        self._position = position
        self._waiting = False
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._waiting = False
            self._round.count_error("connection lost")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._buffer = data
            return
        length = content_length(data, head_end)
        if length is None:
            self._drop("answer without Content-Length")
            return
        if len(data) < head_end + 4 + length:
            self._buffer = data
            return
        self._buffer = b""
        self._waiting = False
        if data[9:10] == b"2":
            if self._round.open:
                self._round.latencies.append(time.perf_counter() - self._sent_at)
            self._send()
        else:
            self._round.count_error(describe_answer(data, head_end))
            asyncio.get_running_loop().call_later(REFUSED_PAUSE_S, self._send)

    def waits_longer(self, seconds: float, now: float) -> int:
        """Return 1 if the request in flight has waited for longer, else 0."""
        return int(self._waiting and now - self._sent_at > seconds)

    def time_out(self, late: int) -> None:
        """Abort the request in flight."""
        self._drop("timeout")

    def close(self) -> None:
        """Close without counting what is in flight."""
        self._waiting = False
        super().close()

    def _send(self) -> None:
        transport = self._transport
        if transport is None or self._waiting or self._round.ended:
            return
        request = self._requests[self._position]
        self._position = (self._position + 1) % len(self._requests)
        self._waiting = True
        self._sent_at = time.perf_counter()
        transport.write(request)

    def _drop(self, cause: str) -> None:
        self._waiting = False
        self._round.count_error(cause)
        if self._transport is not None:
            self._transport.abort()


async def run_round(
    targets: Sequence[Target],
    requests: Mapping[Target, Sequence[bytes]],
    *,
    connections: int,
    seconds: float,
    warm_up_s: float,
    probe: Probe = dict,
) -> Measured:
    """Load `targets` for `warm_up_s` + `seconds` and return what happened in the last `seconds`.

    Connection i talks to target i modulo their number; each walks `requests[target]` from a place of its own.
    """
    state = Round()
    clients = []
    for number in range(connections):
        target = targets[number % len(targets)]
        start = number * len(requests[target]) // connections
        clients.append(_Connection(state, target, requests[target], start))
    return await measure(state, clients, seconds=seconds, warm_up_s=warm_up_s, probe=probe)


async def measure(
    state: Round, clients: Sequence[Client], *, seconds: float, warm_up_s: float, probe: Probe
) -> Measured:
    """Let `clients` work for `warm_up_s` + `seconds` and return what happened in the last `seconds`."""
    sweeper = asyncio.create_task(_sweep(clients))
    connecting = [asyncio.create_task(client.connect()) for client in clients]
    try:
        await asyncio.sleep(warm_up_s)
        before = probe()
        opened_at = time.perf_counter()
        state.open = True
        await asyncio.sleep(seconds)
        closed_at = time.perf_counter()
        late = sum(client.waits_longer(SILENCE_S, closed_at) for client in clients)
        if late:
            state.count_error(f"no answer yet after {SILENCE_S:g} s", late)
        state.open = False
        after = probe()
    finally:
        state.ended = True
        sweeper.cancel()
        for task in connecting:
            task.cancel()
        for client in clients:
            client.close()
    spent = {name: after[name] - value for name, value in before.items() if name in after}
    return Measured(closed_at - opened_at, sorted(state.latencies), dict(state.errors), spent)


async def send_each_once(
    targets: Sequence[Target],
    requests: Mapping[Target, Sequence[bytes]],
    *,
    connections: int,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
) -> None:
    """Send every request once, request i to target i modulo their number, and return when all were answered with 2xx.

    Certificates are checked against the system's authorities, unless there is a `context`. Raises RuntimeError at the
    first other answer, OSError when a node cannot be reached, TimeoutError.
    """
    places = iter(range(len(requests[targets[0]])))

    async def client(target: Target) -> None:
        used = (context or ssl.create_default_context()) if target.tls else None
        reader, writer = await asyncio.open_connection(target.host, target.port, ssl=used)
        try:
            for place in places:
                writer.write(requests[target][place])
                head = await reader.readuntil(b"\r\n\r\n")
                length = content_length(head, len(head) - 4)
                body = await reader.readexactly(length or 0)
                if not head.startswith(b"HTTP/1.1 2"):
                    raise RuntimeError(f"{target.authority} answered {describe_answer(head + body, len(head) - 4)}")
        finally:
            writer.close()

    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            for number in range(connections):
                group.create_task(client(targets[number % len(targets)]))
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        if isinstance(first, asyncio.IncompleteReadError):
            raise ConnectionResetError("a node closed the connection") from first
        raise first from None


async def _sweep(clients: Sequence[Client]) -> None:
    while True:
        await asyncio.sleep(1.0)
        now = time.perf_counter()
        for client in clients:
            if late := client.waits_longer(REQUEST_TIMEOUT_S, now):
                client.time_out(late)


def content_length(data: bytes, head_end: int) -> int | None:
    at = data.find(b"Content-Length: ", 0, head_end)
    if at < 0:
        # Header names have no case; ours are written as above, so only a foreign server gets here.
        at = data[:head_end].lower().find(b"content-length: ")
    if at < 0:
        return 0 if data[9:12] in (b"204", b"304") else None
    return int(data[at + 16 : data.find(b"\r", at)])


def describe_answer(data: bytes, head_end: int) -> str:
    """Return the status and, of a problem document, its code: `503 overloaded`."""
    status = data[9:12].decode("ascii", "replace")
    try:
        code = json.loads(data[head_end + 4 :])["code"]
    except (ValueError, KeyError, TypeError):
        return status
    return f"{status} {code}"
