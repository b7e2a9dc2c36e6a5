"""The sockets of dialed connections: their descriptors are closed by the event loop alone.

aiohttp connects a socket and hands it to the loop. When the peer resets the connection at that very moment, uvloop
closes the descriptor before it takes the socket, and so leaves it a number that is no longer its own (0.23,
`_attach_fileobj` of a closed handle). The garbage collector would close that number again: by then it may be another
connection, or a file of the log.
"""

from __future__ import annotations

import socket

from aiohttp import AddrInfoType


class DialedSocket(socket.socket):
    """A socket that does not close its descriptor when it is collected."""

    def __del__(self) -> None:
        self.detach()


def dialed_socket(address: AddrInfoType) -> DialedSocket:
    """Return a socket for an address of `getaddrinfo`, not connected yet."""
    family, kind, protocol = address[:3]
    return DialedSocket(family, kind, protocol)
