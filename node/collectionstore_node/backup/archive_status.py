"""How far an archive is, served as JSON over HTTP: for the operator, which starts it and cannot read its output.

One value, no request body, one thread: a client that does not read is cut after `CLIENT_S`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

import msgspec

from collectionstore_node.backup.archive import Lag
from collectionstore_node.backup.errors import InvalidUse

CLIENT_S: Final = 2.0


class ArchiveStatus:
    """The last lag that was told, and when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: tuple[Lag, float] | None = None
        self.port = 0
        """Where it is served; 0 before."""

    def tell(self, lag: Lag) -> None:
        """Keep a lag; from any thread."""
        self._told = (lag, self._clock())

    def described(self) -> dict[str, object]:
        """Return the fields of the answer; without any lag before the first was told."""
        told = self._told
        if told is None:
            return {"started": False}
        lag, at = told
        return {"started": True, **lag.described(), "age_seconds": round(self._clock() - at, 3)}


@contextmanager
def served(address: str) -> Iterator[ArchiveStatus]:
    """Serve a status at `host:port` until the context ends. Raises `InvalidUse`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidUse(f"--status-address is {address!r}; allowed: HOST:PORT, such as 0.0.0.0:7403")
    status = ArchiveStatus()
    try:
        server = HTTPServer((host.strip("[]"), int(port)), _handler(status))
    except OSError as error:
        raise InvalidUse(f"--status-address {address}: {error.strerror}") from None
    status.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, name="status", daemon=True)
    thread.start()
    try:
        yield status
    finally:
        server.shutdown()
        server.server_close()


def _handler(status: ArchiveStatus) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_S

        def do_GET(self) -> None:
            """Answer any path."""
            body = msgspec.json.encode(status.described())
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Write no line for each request."""

    return Handler
