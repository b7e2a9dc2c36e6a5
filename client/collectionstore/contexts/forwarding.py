"""A port of a pod on 127.0.0.1, as `kubectl port-forward` makes one, by the official client of Kubernetes.

Every connection to the local port is one WebSocket to the API server. Threads carry the bytes, so that it works beside
any event loop, and beside none.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

HOST: Final = "127.0.0.1"
CONNECTIONS_MAX: Final = 64
CHUNK_BYTES: Final = 1 << 16
ACCEPT_POLL_S: Final = 0.25
"""How long the end of a forward may wait for the thread that accepts."""
PUMP_POLL_S: Final = 1.0


class Duplex(Protocol):
    """What a forward carries bytes to: a socket, or what the client of Kubernetes gives for one."""

    def recv(self, size: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> None: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Forward:
    """A listening port, until it is closed; `dial` opens one connection to the pod, and may block and raise."""

    def __init__(self, dial: Callable[[], Duplex]) -> None:
        self._dial = dial
        self._closed = threading.Event()
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._listener = socket.create_server((HOST, 0), backlog=CONNECTIONS_MAX)
        self._listener.settimeout(ACCEPT_POLL_S)
        self.port: int = self._listener.getsockname()[1]
        self.error: Exception | None = None
        """Why the last connection could not be opened; None when it could."""
        self._accepting = threading.Thread(target=self._accept, name="port-forward", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """End the forward, and all connections over it."""
        self._closed.set()
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if not self._places.acquire(blocking=False):
                client.close()
                continue
            # Daemons: a connection that hangs in the API server must not keep the program alive.
            threading.Thread(target=self._carry, args=(client,), name="port-forward", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(None)
                try:
                    pod = self._dial()
                except Exception as error:  # whatever the official client raises, the connection cannot be opened
                    self.error = error
                    return
                self.error = None
                with contextlib.closing(pod):
                    self._pump(client, pod)
        finally:
            self._places.release()

    def _pump(self, client: socket.socket, pod: Duplex) -> None:
        others: dict[Duplex | socket.socket, Duplex | socket.socket] = {client: pod, pod: client}
        try:
            while not self._closed.is_set():
                ready, _, _ = select.select(list(others), [], [], PUMP_POLL_S)
                for one in ready:
                    data = one.recv(CHUNK_BYTES)
                    if not data:
                        return
                    others[one].sendall(data)
        except OSError:
            return  # one of both has hung up; closing the other tells it


@contextlib.contextmanager
def forwarded(dial: Callable[[], Duplex]) -> Iterator[Forward]:
    """Yield a forward, closed at the end."""
    forward = Forward(dial)
    try:
        yield forward
    finally:
        forward.close()
