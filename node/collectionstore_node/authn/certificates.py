"""Who the holder of a client certificate is. Pure: a certificate in DER, the authorities trusted, and the time.

A name counts by who signed it. The cluster's authority for clients names, in a URI, the operator
(`collectionstore://<cluster>/operator`) and users (`collectionstore://<cluster>/users/<user>`). What else it signs is
of members, which are no clients. An authority of the user's own names users alone, by the same URI or by the common
name of the subject: whatever it signs, nobody becomes the operator by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collectionstore_node.access.bodies import USER_NAME
from collectionstore_node.access.builtin import OPERATOR
from collectionstore_node.authn.refusals import Reason, Refused
from collectionstore_node.transport.security.certificate import signed_by

SCHEME: Final = "collectionstore://"
NODE_SCHEME: Final = "collectionstore-node:"
USERS: Final = "users/"
CERTIFICATE_BYTES_MAX: Final = 64 << 10


class Authorities(NamedTuple):
    """Whose signatures count now."""

    cluster: Sequence[x509.Certificate]
    users: Sequence[x509.Certificate] = ()
    """Of the user's own, which name users alone."""


class Holder(NamedTuple):
    """Who holds a certificate."""

    user: str
    roles: tuple[str, ...]
    serial: str
    """Hexadecimal, in lower case."""
    expires_s: float


def holder_of(der: bytes, cluster_id: str, authorities: Authorities, now: datetime) -> Holder:
    """Return who holds a certificate whose private key was shown in a handshake. Raises `Refused`."""
    try:
        if len(der) > CERTIFICATE_BYTES_MAX:
            raise Refused(Reason.CERTIFICATE)
        found = x509.load_der_x509_certificate(der)
        uris, for_clients = _uris(found), _for_clients(found)
    except ValueError:  # of which what parsers raise is a part
        raise Refused(Reason.CERTIFICATE) from None
    own = [uri for uri in uris if uri.startswith(SCHEME)]
    by_cluster = any(signed_by(found, one) for one in authorities.cluster)
    if by_cluster and (any(uri.startswith(NODE_SCHEME) for uri in uris) or _is_member(own, cluster_id)):
        raise Refused(Reason.MEMBER)
    if not for_clients or not (by_cluster or any(signed_by(found, one) for one in authorities.users)):
        raise Refused(Reason.CERTIFICATE)
    if now < found.not_valid_before_utc:
        raise Refused(Reason.NOT_YET)
    if now >= found.not_valid_after_utc:
        raise Refused(Reason.EXPIRED)
    user, roles = _named(found, own, cluster_id, by_cluster=by_cluster)
    return Holder(user, roles, f"{found.serial_number:x}", found.not_valid_after_utc.timestamp())


def refuse_member(der: bytes, cluster_id: str) -> None:
    """Refuse a certificate that names a member, whoever signed it. Raises `Refused`."""
    try:
        uris = _uris(x509.load_der_x509_certificate(der))
    except ValueError:
        raise Refused(Reason.CERTIFICATE) from None
    own = [uri for uri in uris if uri.startswith(SCHEME)]
    if any(uri.startswith(NODE_SCHEME) for uri in uris) or _is_member(own, cluster_id):
        raise Refused(Reason.MEMBER)


def _named(
    certificate: x509.Certificate, own: Sequence[str], cluster_id: str, *, by_cluster: bool
) -> tuple[str, tuple[str, ...]]:
    base = f"{SCHEME}{cluster_id}/"
    if len(own) > 1:
        raise Refused(Reason.CERTIFICATE)  # which of them is meant is not for us to choose
    if by_cluster and own == [base + OPERATOR]:
        return OPERATOR, (OPERATOR,)
    if own:
        user = own[0].removeprefix(base + USERS) if own[0].startswith(base + USERS) else ""
    elif by_cluster:
        user = ""
    else:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        user = str(names[0].value) if len(names) == 1 else ""
    # The operator is no user, whatever another authority calls its users.
    if USER_NAME.fullmatch(user) is None or user == OPERATOR:
        raise Refused(Reason.CERTIFICATE)
    return user, ()


def _is_member(own: Sequence[str], cluster_id: str) -> bool:
    """Return whether a certificate names what is neither the operator nor a user of this cluster."""
    base = f"{SCHEME}{cluster_id}/"
    return any(uri != base + OPERATOR and not uri.startswith(base + USERS) for uri in own)


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _for_clients(certificate: x509.Certificate) -> bool:
    """Return whether the certificate may be shown by a client: one that says nothing of its use may."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage
