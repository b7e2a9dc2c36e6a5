"""The certificate that the user gives for clients, instead of that of the cluster's authority.

It is a Secret of the user, of an issuer such as cert-manager, or files beside a node. A node serves without it: it may
be missing, damaged or half written, and then clients get the certificate of the cluster's authority, and the log says
why.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog
from cryptography import x509

from collectionstore_node.transport import CertificateFacts, read_facts

log = structlog.get_logger()


class Given(NamedTuple):
    """A certificate in use."""

    context: ssl.SSLContext
    facts: CertificateFacts
    names: frozenset[str]
    """DNS names, in lower case; the first label may be `*`."""


class GivenCertificate:
    """`tls.crt` and `tls.key` in a folder. Open connections keep the certificate they began with."""

    def __init__(self, folder: Path, load: Callable[[Path, Path], ssl.SSLContext]) -> None:
        """`load` makes a context of a certificate chain and its key. Nothing is raised: see `current`."""
        self._files = (folder / "tls.crt", folder / "tls.key")
        self._load = load
        self._seen: tuple[bytes, bytes] | None = None
        self._refused = ""
        self.current: Given | None = None
        """What new handshakes get; None as long as there was none that can be used."""
        self.reload()

    def reload(self, *, trust_changed: bool = False) -> None:
        """Load the files if they changed. Files that cannot be used are logged once, and the former stay in use."""
        certificate, key = self._files
        try:
            content = certificate.read_bytes(), key.read_bytes()
            if content == self._seen and not trust_changed:
                return
            # BEFORE they are tried: what is half written is tried again when its other half changes.
            self._seen = content
            found = Given(self._load(certificate, key), read_facts(content[0]), dns_names(content[0]))
            if (certificate.read_bytes(), key.read_bytes()) != content:
                self._seen = None
                raise ValueError("the files changed while they were read")
        except Exception as error:  # the user's file: parsers raise more than they document, and a member must go on
            if str(error) != self._refused:
                log.error("certificate.refused", purpose="given", reason=str(error))
            self._refused = str(error)
            return
        self._refused = ""
        self.current = found
        log.info("certificate.reloaded", purpose="given")


def dns_names(pem: bytes) -> frozenset[str]:
    """Return the DNS names of the first certificate in `pem`. Raises `ValueError`."""
    try:
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(one.lower() for one in names.value.get_values_for_type(x509.DNSName))


def covers(names: frozenset[str], name: str) -> bool:
    """Return whether a certificate with these DNS names is for `name` (RFC 6125, 6.4.3: `*` is one whole label)."""
    name = name.lower()
    return name in names or f"*.{name.partition('.')[2]}" in names
