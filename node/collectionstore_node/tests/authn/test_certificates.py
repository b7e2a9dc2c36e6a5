"""Client certificates: who signed a name decides what it is worth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collectionstore_node.authn.certificates import Authorities, Holder, holder_of, refuse_member
from collectionstore_node.authn.refusals import Reason, Refused

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Signer:
    """An authority."""

    def __init__(self, name: str = "authority") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.name, self.key.public_key(), NOW - timedelta(1), NOW + timedelta(365)).sign(
            self.key, hashes.SHA256()
        )

    def issue(
        self,
        *uris: str,
        name: str = "somebody",
        usage: Any = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        begins: datetime = NOW - timedelta(hours=1),
        ends: datetime = NOW + timedelta(hours=1),
    ) -> bytes:
        """Return a certificate in DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
        builder = self._build(subject, key.public_key(), begins, ends)
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def _build(self, subject: x509.Name, key: Any, begins: datetime, ends: datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(0xABC)
            .not_valid_before(begins)
            .not_valid_after(ends)
        )


CLUSTER = Signer("cluster")
USERS = Signer("users")
STRANGER = Signer("cluster")
"""Of the same name as the cluster's."""
TRUSTED = Authorities((CLUSTER.certificate,), (USERS.certificate,))


def holder(der: bytes, now: datetime = NOW) -> Holder:
    return holder_of(der, "shop", TRUSTED, now)


def refused(der: bytes, now: datetime = NOW) -> Reason:
    with pytest.raises(Refused) as caught:
        holder(der, now)
    return caught.value.reason


def test_the_operator_has_its_role_by_the_clusters_authority() -> None:
    found = holder(CLUSTER.issue("collectionstore://shop/operator"))
    assert (found.user, found.roles, found.serial) == ("operator", ("operator",), "abc")
    assert found.expires_s == (NOW + timedelta(hours=1)).timestamp()


def test_a_user_by_either_authority() -> None:
    assert holder(CLUSTER.issue("collectionstore://shop/users/ada")).user == "ada"
    assert holder(USERS.issue("collectionstore://shop/users/ada", name="other")).user == "ada"
    assert holder(USERS.issue(name="ada")).user == "ada"
    assert holder(USERS.issue("spiffe://example/ns/shop", name="ada", usage=())).roles == ()


@pytest.mark.parametrize(
    "uris",
    [
        ("collectionstore://shop/shop-0",),
        ("collectionstore://shop/shop-0", "collectionstore-node:00c0ffee00c0ffee"),
        ("collectionstore-node:00c0ffee00c0ffee",),
        ("collectionstore://shop/operator", "collectionstore-node:00c0ffee00c0ffee"),
        ("collectionstore://other/operator",),
        ("collectionstore://shop/users",),
    ],
)
def test_a_members_certificate_is_no_client(uris: tuple[str, ...]) -> None:
    der = CLUSTER.issue(*uris)
    assert refused(der) is Reason.MEMBER
    with pytest.raises(Refused):
        refuse_member(der, "shop")


@pytest.mark.parametrize("uri", ["collectionstore://shop/operator", "collectionstore://shop/users/ada"])
def test_who_may_be_a_client_is_not_refused_as_a_member(uri: str) -> None:
    refuse_member(CLUSTER.issue(uri), "shop")


@pytest.mark.parametrize(
    "der",
    [
        USERS.issue("collectionstore://shop/operator"),
        USERS.issue("collectionstore://shop/users/operator"),
        USERS.issue(name="operator"),
        USERS.issue("collectionstore://shop/shop-0", name="ada"),
        USERS.issue("collectionstore://other/users/ada", name="ada"),
        USERS.issue("collectionstore://shop/users/a b"),
        USERS.issue("collectionstore://shop/users/../operator"),
        USERS.issue("collectionstore://shop/users/ada", "collectionstore://shop/users/bob"),
        USERS.issue(name=""),
        USERS.issue(name="a b"),
        CLUSTER.issue(name="ada"),
        CLUSTER.issue("collectionstore://shop/users/operator"),
        CLUSTER.issue("collectionstore://shop/users/ada", "collectionstore://shop/operator"),
        STRANGER.issue("collectionstore://shop/users/ada"),
        STRANGER.issue("collectionstore://shop/operator"),
        CLUSTER.issue("collectionstore://shop/users/ada", usage=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        b"",
        b"\x30\x03abc",
        b"x" * 100_000,
    ],
)
def test_what_names_nobody_here_is_refused(der: bytes) -> None:
    assert refused(der) is Reason.CERTIFICATE


def test_a_certificate_counts_in_its_time_only() -> None:
    der = CLUSTER.issue("collectionstore://shop/users/ada")
    assert refused(der, NOW - timedelta(hours=2)) is Reason.NOT_YET
    assert refused(der, NOW + timedelta(hours=1)) is Reason.EXPIRED
