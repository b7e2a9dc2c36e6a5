"""A forward carries bytes both ways, over many connections, and ends; a pod that refuses closes the connection."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from collectionstore.contexts.forwarding import HOST, Forward, forwarded

PATIENCE_S = 20.0


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it is sent; returns its port."""
    listener = socket.create_server((HOST, 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_bytes_are_carried_both_ways(echo: int) -> None:
    content = os.urandom(3 << 20)
    with forwarded(lambda: socket.create_connection((HOST, echo))) as forward:
        with socket.create_connection((HOST, forward.port), timeout=PATIENCE_S) as one:
            sender = threading.Thread(target=one.sendall, args=(content,))
            sender.start()
            digest, left = hashlib.sha256(), len(content)
            while left:
                data = one.recv(min(left, 1 << 16))
                assert data
                digest.update(data)
                left -= len(data)
            sender.join(PATIENCE_S)
        assert digest.digest() == hashlib.sha256(content).digest()
        others = [socket.create_connection((HOST, forward.port), timeout=PATIENCE_S) for _ in range(8)]
        for at, other in enumerate(others):
            other.sendall(b"%d" % at)
        assert [other.recv(16) for other in others] == [b"%d" % at for at in range(8)]
        for other in others:
            other.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, forward.port), timeout=PATIENCE_S)


def test_a_pod_that_cannot_be_reached_closes_the_connection() -> None:
    def refuse() -> socket.socket:
        raise RuntimeError("forbidden")

    forward = Forward(refuse)
    try:
        with socket.create_connection((HOST, forward.port), timeout=PATIENCE_S) as one:
            assert one.recv(16) == b""
        assert str(forward.error) == "forbidden"
    finally:
        forward.close()
