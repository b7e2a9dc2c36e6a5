"""The port through which connections between members are secured; `tls.TlsContexts` is the one of production."""

from __future__ import annotations

import ssl
from typing import Protocol

from collectionstore_node.transport.security.certificate import CertificateFacts


class PeerSecurity(Protocol):
    """The contexts of both sides of a connection. Neither is ever None: nothing can ask for a plain connection."""

    @property
    def listening(self) -> ssl.SSLContext:
        """The context of the listening side, for as long as it listens."""

    @property
    def client(self) -> ssl.SSLContext:
        """The context for the next dial."""

    @property
    def certificate(self) -> CertificateFacts:
        """This node's certificate, as new handshakes show it."""

    @property
    def authority(self) -> CertificateFacts:
        """The certificate of the authority that signs: the first of those trusted."""

    @property
    def trusted(self) -> tuple[str, ...]:
        """Key identifiers of the authorities that new handshakes trust."""

    def reload(self) -> bool:
        """Use what has changed for new connections and return whether anything did; blocks.

        Raises `TlsFilesRefused`; what was in use before then stays in use.
        """
