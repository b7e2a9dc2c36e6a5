"""The port through which connections between members are secured; `tls.TlsContexts` is the one of production."""

from __future__ import annotations

import ssl
from datetime import datetime
from typing import Protocol


class PeerSecurity(Protocol):
    """The contexts of both sides of a connection. Neither is ever None: nothing can ask for a plain connection."""

    @property
    def listening(self) -> ssl.SSLContext:
        """The context of the listening side, for as long as it listens."""

    @property
    def client(self) -> ssl.SSLContext:
        """The context for the next dial."""

    @property
    def not_after(self) -> datetime:
        """When this node's certificate ends, UTC."""

    def reload(self) -> bool:
        """Use what has changed for new connections and return whether anything did; blocks.

        Raises `TlsFilesRefused`; what was in use before then stays in use.
        """
