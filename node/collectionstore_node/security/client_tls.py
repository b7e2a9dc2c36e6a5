"""TLS of the client port: a certificate that is exchanged while running, and who is the operator.

Clients need no certificate. Whoever changes the cluster shows one that the cluster's authority signed for its operator.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509

from collectionstore_node.transport import PeerName, Refused, peer_name

OPERATOR_NAME = "operator"
"""Name in the operator's certificate: `collectionstore://<cluster>/operator`."""

log = structlog.get_logger()


class ClientTls:
    """The context of the client port. New handshakes get the newest files; open connections keep theirs."""

    def __init__(self, folder: Path) -> None:
        """Load ca.crt, tls.crt and tls.key. Raises `OSError`, of which `ssl.SSLError` is a part, or `ValueError`."""
        self._files = tuple(folder / name for name in ("ca.crt", "tls.crt", "tls.key"))
        self._loaded = self._content()
        self._current = self._load()
        self.not_after = self._end()
        """When the certificate ends that new handshakes get, UTC."""
        self.listening = self._load()
        # A listening context cannot be exchanged, but it can hand every handshake to another one.
        self.listening.sni_callback = self._hand_over

    def reload(self) -> None:
        """Load the files when they changed; files that do not fit together are told once, the old ones stay in use."""
        try:
            content = self._content()
            if content == self._loaded:
                return
            self._loaded = content
            self._current, self.not_after = self._load(), self._end()
        except (OSError, ValueError) as error:
            log.error("certificate.refused", purpose="clients", reason=str(error))
            return
        log.info("certificate.reloaded", purpose="clients")

    def _hand_over(self, handshake: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _listening: object) -> None:
        handshake.context = self._current

    def _content(self) -> tuple[bytes, ...]:
        return tuple(path.read_bytes() for path in self._files)

    def _end(self) -> datetime:
        return x509.load_pem_x509_certificate(self._loaded[1]).not_valid_after_utc

    def _load(self) -> ssl.SSLContext:
        authority, certificate, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def is_operator(cluster_id: str, certificate: Mapping[str, Any] | None) -> bool:
    """Return whether a verified client certificate, as `getpeercert` gives it, is that of the cluster's operator."""
    if not certificate:
        return False
    try:
        return peer_name(certificate) == PeerName(cluster_id, OPERATOR_NAME)
    except Refused:
        return False
