"""When certificates are due for renewal, overdue and expired. Pure arithmetic; times in Unix seconds."""

from __future__ import annotations

from collections.abc import Sequence

from collectionstore_operator.model.observed import Certificate, CertificateKind, ShownCertificate


def renew_at(certificate: Certificate) -> float:
    """Return when a certificate is due for renewal: after two thirds of its lifetime."""
    return certificate.not_before + (certificate.not_after - certificate.not_before) * 2 / 3


def renew_authority_at(certificate: Certificate) -> float:
    """Return when an authority whose key is not rotated yet is renewed with it: after three quarters of its lifetime.

    Between the time at which its rotation is due and the time at which it counts as overdue.
    """
    return certificate.not_before + (certificate.not_after - certificate.not_before) * 3 / 4


def overdue(certificates: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
    """Return the certificates whose renewal is overdue: five sixths of their lifetime have passed."""
    return tuple(one for one in certificates if overdue_at(one) <= now)


def in_time(certificates: Sequence[Certificate], now: float) -> frozenset[str]:
    """Return the names whose certificates are all signed by a newest CA and not overdue: they can wait for a renewal.

    There are two CAs where peers have one of their own; which of them signs what is decided in `planning.certificates`.
    """
    keys = set()
    for kind in (CertificateKind.AUTHORITY, CertificateKind.PEER_AUTHORITY):
        authorities = [one for one in certificates if one.kind is kind]
        keys.add(max(authorities, key=lambda one: one.not_after).authority if authorities else "")
    late = {one.name for one in certificates if one.authority not in keys or overdue_at(one) <= now}
    return frozenset(one.name for one in certificates) - late


def overdue_at(certificate: Certificate | ShownCertificate) -> float:
    """Return when the renewal of a certificate is overdue: after five sixths of its lifetime."""
    return certificate.not_before + (certificate.not_after - certificate.not_before) * 5 / 6


def first_expiry(certificates: Sequence[Certificate]) -> Certificate | None:
    """Return the certificate that expires first, or None when there is none."""
    return min(certificates, key=lambda one: one.not_after, default=None)
