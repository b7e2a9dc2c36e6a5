"""The keys of a cluster: its authority and the operator's own pair in Secrets, and the signing of nodes' requests.

A member's private key is never here: the node generates it and sends only a certificate signing request. The Secrets
outlive the resource as long as the volumes do, since those hold certificates signed by this authority.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, InvariantViolated
from collectionstore_operator.kubernetes import trust as trusts
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.api.reader import Reader
from collectionstore_operator.kubernetes.certificate_requests import read_request, unproved
from collectionstore_operator.kubernetes.ownership import foreign, preconditions, require_ours
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.kubernetes.trust import Stored
from collectionstore_operator.model import observed as model
from collectionstore_operator.model.actions import (
    DenyRequest,
    IssueCertificate,
    PrepareAuthority,
    PromoteAuthority,
    RetireAuthority,
    SignRequest,
)
from collectionstore_operator.model.observed import Certificate, CertificateKind, ForeignObject, RequestPurpose
from collectionstore_operator.reconcile import pki, stored_authority
from collectionstore_operator.reconcile.pki import KeyPair
from collectionstore_operator.reconcile.stored_authority import StoredAuthority
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

CERTIFICATE: Final = "tls.crt"
"""In the Secret of the authority: every trusted certificate, the one that signs first."""
KEY: Final = "tls.key"
NEXT_KEY: Final = "next.key"
"""The key that is to sign next, while a rotation is prepared."""
REQUEST: Final = "rotation-request"
REQUESTED: Final = "rotation-requested"


class Keys(NamedTuple):
    """What the Secrets hold, without the private keys."""

    certificates: tuple[Certificate, ...]
    context: ssl.SSLContext | None
    """For calls to members; None while one of the pairs is missing."""
    authority_pem: str
    """The authorities' certificates, as pods are to trust them; empty while there is none."""
    authority: model.Authority | None = None
    """The authority as the planner sees it; None while there is none that may be used."""
    conflict: str = ""
    """Why the authority must be neither used nor replaced."""
    foreign: tuple[ForeignObject, ...] = ()
    """Secrets of others under these names: they are neither trusted nor changed."""


class PeerKeys(NamedTuple):
    """What the Secret of the authority of peers holds, without the private keys; nothing where there is no such one."""

    certificates: tuple[Certificate, ...] = ()
    authority_pem: str = ""
    authority: model.Authority | None = None
    conflict: str = ""
    foreign: tuple[ForeignObject, ...] = ()


class Authority:
    """The Secrets of one cluster. Caches the TLS context, so that an unchanged pair is not parsed again."""

    def __init__(self, kube: Kube, record: Record, reads: Reader | None = None) -> None:
        """`reads` is for observations; writes begin with the newest state."""
        self._kube = kube
        self._reads = reads or kube
        self._record = record
        self._loaded: tuple[bytes, bytes] | None = None
        self._context: ssl.SSLContext | None = None

    async def read(self, desired: Desired, *, anchor_pem: str = "", has_data: bool = False) -> Keys:
        """Return the certificates that exist and may be used, and the TLS context for calls to members.

        `anchor_pem` is what pods mount as their trust anchor, `has_data` whether there are members that trust it.
        """
        bodies = [await self._reads.find(Kind.SECRET, name, desired.namespace) for name in _names(desired)]
        others = [one for body in bodies if body is not None and (one := foreign("Secret", body, desired))]
        if others:
            # One of the two is not ours: nothing shows that the other still is the members'.
            return Keys((), None, "", foreign=tuple(others))
        authority, own = bodies
        stored = Stored(authority=_stored(authority), own=_pair(own), anchor_pem=anchor_pem)
        trust = trusts.judge(stored, secret=labels.authority_secret(desired.name), has_data=has_data)
        found = []
        for pem, kind, name in (
            (trust.authority.bundle_pem if trust.authority else b"", CertificateKind.AUTHORITY, desired.name),
            (trust.own.certificate_pem if trust.own else b"", CertificateKind.OPERATOR, labels.ADMINISTRATOR),
        ):
            if pem:
                found.append(pki.read_certificate(pem, kind, name))
        if trust.anchor_pem and trust.own is not None:
            loaded = (trust.anchor_pem.encode(), trust.own.certificate_pem)
            if loaded != self._loaded:
                self._context = _client_context(trust.anchor_pem, trust.own)
                self._loaded = loaded
        if trust.authority is None:
            return Keys(tuple(found), self._context, "", conflict=trust.conflict)
        described = stored_authority.describe(trust.authority)
        return Keys(tuple(found), self._context, trust.authority.bundle_pem.decode(), described, trust.conflict)

    async def read_peers(
        self, desired: Desired, keys: Keys, *, anchor_pem: str, reported: frozenset[str], has_data: bool
    ) -> PeerKeys:
        """Return the authority of peers, if it is or is to be another one than that in `keys`.

        `anchor_pem` is what pods mount as their trust anchor for peers, `reported` the keys that members say
        they trust.
        """
        if not (desired.spec.tls.separate or anchor_pem):
            return PeerKeys()
        name = labels.peer_authority_secret(desired.name)
        found = await self._reads.find(Kind.SECRET, name, desired.namespace)
        other = foreign("Secret", found, desired) if found is not None else None
        if other is not None:
            return PeerKeys(foreign=(other,), conflict=f"the Secret {name} is not ours")
        stored, conflict = trusts.judge_peers(
            _stored(found),
            secret=name,
            anchor_pem=anchor_pem,
            reported=reported,
            shared=frozenset(stored_authority.identifiers(keys.authority_pem.encode())),
            has_data=has_data,
        )
        if stored is None:
            return PeerKeys(conflict=conflict)
        shown = pki.read_certificate(
            stored.bundle_pem, CertificateKind.PEER_AUTHORITY, labels.peer_authority(desired.name)
        )
        return PeerKeys((shown,), stored.bundle_pem.decode(), stored_authority.describe(stored))

    async def issue(self, action: IssueCertificate, desired: Desired, *, cluster_id: str, now: float) -> None:
        """Create or renew the authority or the operator's pair; the authority keeps its key."""
        if action.kind in (CertificateKind.AUTHORITY, CertificateKind.PEER_AUTHORITY):
            secret = _secret(desired, peers=action.kind is CertificateKind.PEER_AUTHORITY)
            found = await self._find_ours(desired, secret)
            if action.kind is CertificateKind.PEER_AUTHORITY and _stored(found) is None:
                await self._require_no_trust_of_peers(desired)
            # One subject for all authorities of a cluster: that of peers begins as a copy of the other one.
            made = stored_authority.renewed(
                _stored(found), desired.name, cluster_id, lifetime_s=action.lifetime_s, now=now
            )
            await self._store_authority(desired, secret, made, found)
            return
        pair = pki.make_leaf(
            await self._signing(desired, peers=False),
            kind=action.kind,
            name=action.name,
            names=action.names,
            lifetime_s=action.lifetime_s,
            now=now,
        )
        name = labels.operator_secret(desired.name)
        content = {CERTIFICATE: pair.certificate_pem, KEY: pair.key_pem}
        await self._store(desired, name, content, await self._find_ours(desired, name))

    async def issue_user(self, desired: Desired, user: str, *, cluster_id: str, lifetime_s: int, now: float) -> KeyPair:
        """Return a key and a client certificate for a user of the cluster. Raises ActionRefused; nothing is stored."""
        return pki.make_leaf(
            await self._signing(desired, peers=False),
            kind=CertificateKind.USER,
            name=user,
            names=(f"URI:{labels.user_identity(cluster_id, user)}",),
            lifetime_s=lifetime_s,
            now=now,
        )

    async def rotate(
        self,
        action: PrepareAuthority | PromoteAuthority | RetireAuthority,
        desired: Desired,
        *,
        cluster_id: str,
        now: float,
    ) -> None:
        """Take one step of a rotation of the key, in one write of the Secret. Raises ActionRefused."""
        secret = _secret(desired, peers=action.peers)
        found = await self._find_ours(desired, secret)
        stored = await self._stored_or_shared(desired, action, found)
        match action:
            case PrepareAuthority():
                made = stored_authority.prepared(
                    stored,
                    action.name,
                    cluster_id,
                    key=action.key,
                    lifetime_s=action.lifetime_s,
                    request=action.request,
                    now=now,
                )
            case PromoteAuthority():
                facts, _ = await self._record.read(desired)
                published = facts.peer_authorities if action.peers else facts.authorities
                if action.key not in stored_authority.identifiers(published.encode()):
                    raise ActionRefused(f"the authority {action.key[:16]} is not published, so no member trusts it")
                made = stored_authority.promoted(stored, key=action.key, request=action.request)
            case RetireAuthority():
                made = stored_authority.retired(stored, key=action.key)
        if made != stored:
            await self._store_authority(desired, secret, made, found)

    async def _stored_or_shared(
        self, desired: Desired, action: PrepareAuthority | PromoteAuthority | RetireAuthority, found: Body | None
    ) -> StoredAuthority:
        """Return what is rotated; before peers have an authority of their own, the one that they trust."""
        present = _stored(found)
        usable = present is not None and stored_authority.signing_pair(present) is not None
        if usable or not (action.peers and isinstance(action, PrepareAuthority)):
            return self._require(_secret(desired, peers=action.peers), found)
        await self._require_no_trust_of_peers(desired)
        secret = _secret(desired, peers=False)
        return stored_authority.signing_alone(self._require(secret, await self._find_ours(desired, secret)))

    async def _require_no_trust_of_peers(self, desired: Desired) -> None:
        """Raise ActionRefused if peers trust an authority of their own: no other one is made over it."""
        facts, _ = await self._record.read(desired)
        if facts.peer_authorities:
            raise ActionRefused(f"the Secret {_secret(desired, peers=True)} is lost, and peers trust its authority")

    async def publish(self, desired: Desired) -> None:
        """Copy the trusted authorities into the record, from where pods mount them. Raises ActionRefused."""
        secret = _secret(desired, peers=False)
        facts = {"authorities": self._require(secret, await self._find_ours(desired, secret)).bundle_pem.decode()}
        if desired.spec.tls.separate:
            secret = _secret(desired, peers=True)
            found = await self._find_ours(desired, secret)
            if found is not None:
                facts["peer_authorities"] = self._require(secret, found).bundle_pem.decode()
        await self._record.change(desired, **facts)

    async def sign(self, action: SignRequest, desired: Desired, *, now: float) -> None:
        """Approve and sign a request, after reading again who made it. Raises ActionRefused."""
        request = await self._open_request(action, desired)
        if request is None:
            return  # answered already, by an attempt whose outcome was lost
        pod = await self._kube.get(Kind.POD, action.name, desired.namespace)
        workload = await self._kube.get(Kind.STATEFUL_SET, desired.workload, desired.namespace)
        require_ours("StatefulSet", workload, desired)
        doubt = unproved(request, pod, workload, desired)
        if doubt:
            raise ActionRefused(f"the request {action.request} is not signed: {doubt}")
        certificate = pki.sign_request(
            await self._signing(desired, peers=action.peers),
            base64.b64decode(request["spec"]["request"]),
            name=action.name,
            names=action.names,
            lifetime_s=min(action.lifetime_s, int(request["spec"].get("expirationSeconds") or action.lifetime_s)),
            now=now,
            kind=action.kind,
        )
        # Both writes carry the version that was checked: a request replaced meanwhile must not be approved unseen.
        version = {"metadata": {"resourceVersion": request["metadata"]["resourceVersion"]}}
        approval = {"type": "Approved", "status": "True", "reason": "MemberPod", "message": action.reason}
        approved = await self._kube.patch(
            Kind.SIGNING_REQUEST,
            action.request,
            None,
            {**version, "status": {"conditions": [approval]}},
            subresource="approval",
        )
        faults.reach("SignRequest.approved")
        signed: Body = {
            "metadata": {"resourceVersion": approved["metadata"]["resourceVersion"]},
            "status": {"certificate": base64.b64encode(certificate).decode()},
        }
        await self._kube.patch(Kind.SIGNING_REQUEST, action.request, None, signed, subresource="status")

    async def deny(self, action: DenyRequest, desired: Desired) -> None:
        """Deny a request that is still pending; the condition contains the reason."""
        found = await self._kube.find(Kind.SIGNING_REQUEST, action.request)
        if found is None or read_request(found, desired) is None:
            return  # it is gone, or answered already
        condition = {"type": "Denied", "status": "True", "reason": "NoMemberPod", "message": action.reason}
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        body: Body = {"metadata": version, "status": {"conditions": [condition]}}
        await self._kube.patch(Kind.SIGNING_REQUEST, action.request, None, body, subresource="approval")

    async def delete(self, desired: Desired) -> None:
        """Delete the Secrets that are ours. The caller has made sure that no volume of the cluster is left."""
        for name in reversed((*_names(desired), labels.peer_authority_secret(desired.name))):
            found = await self._find(desired, name)
            if found is not None and foreign("Secret", found, desired) is None:
                await self._kube.delete(Kind.SECRET, name, desired.namespace, uid=found["metadata"]["uid"])

    async def _open_request(self, action: SignRequest, desired: Desired) -> Body | None:
        body = await self._kube.get(Kind.SIGNING_REQUEST, action.request)
        found = read_request(body, desired)
        if found is None:
            return None
        if (found.member, found.pod_uid) != (action.name, action.uid):
            raise ActionRefused(
                f"the request {action.request} was made by {found.member} {found.pod_uid}, "
                f"not by {action.name} {action.uid}"
            )
        if (found.purpose is RequestPurpose.PEERS) != action.peers:
            raise ActionRefused(f"the request {action.request} is for another port by now than when it was observed")
        return body

    async def _signing(self, desired: Desired, *, peers: bool) -> KeyPair:
        secret = _secret(desired, peers=peers)
        pair = stored_authority.signing_pair(self._require(secret, await self._find_ours(desired, secret)))
        if pair is None:
            raise InvariantViolated("an authority that can sign has a certificate and its key")
        return pair

    def _require(self, secret: str, found: Body | None) -> StoredAuthority:
        stored = _stored(found)
        if stored is None or stored_authority.signing_pair(stored) is None:
            raise ActionRefused(f"the Secret {secret} is missing or damaged")
        return stored

    async def _find(self, desired: Desired, name: str) -> Body | None:
        return await self._kube.find(Kind.SECRET, name, desired.namespace)

    async def _find_ours(self, desired: Desired, name: str) -> Body | None:
        found = await self._find(desired, name)
        if found is not None:
            require_ours("Secret", found, desired)
        return found

    async def _store_authority(
        self, desired: Desired, secret: str, stored: StoredAuthority, found: Body | None
    ) -> None:
        content = {
            CERTIFICATE: stored.bundle_pem,
            KEY: stored.key_pem,
            NEXT_KEY: stored.next_key_pem,
            REQUEST: stored.request.encode(),
            REQUESTED: b"true" if stored.requested else b"",
        }
        await self._store(desired, secret, content, found)

    async def _store(self, desired: Desired, name: str, content: Mapping[str, bytes], found: Body | None) -> None:
        """Write a Secret; the version in `found` is a precondition, so that what was decided from it still holds."""
        # A key to be forgotten is overwritten: an apply that leaves it out keeps it if another manager owns it, too.
        before = (found or {}).get("data") or {}
        body: Body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": desired.namespace,
                "labels": labels.object_labels(desired.name),
            },
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in content.items() if value or key in before},
        }
        if found is None:
            await self._kube.create(body)
        else:
            body["metadata"] |= preconditions(found)
            await self._kube.apply(body)


def _names(desired: Desired) -> tuple[str, str]:
    return labels.authority_secret(desired.name), labels.operator_secret(desired.name)


def _secret(desired: Desired, *, peers: bool) -> str:
    return labels.peer_authority_secret(desired.name) if peers else labels.authority_secret(desired.name)


def _stored(found: Body | None) -> StoredAuthority | None:
    """Return the authority that a Secret holds, readable or not; None when there is none."""
    pair, data = _pair(found), (found or {}).get("data") or {}
    if pair is None:
        return None
    return StoredAuthority(
        bundle_pem=pair.certificate_pem,
        key_pem=pair.key_pem,
        next_key_pem=base64.b64decode(data.get(NEXT_KEY) or ""),
        request=base64.b64decode(data.get(REQUEST) or "").decode(errors="replace"),
        requested=bool(data.get(REQUESTED)),
    )


def _pair(found: Body | None) -> KeyPair | None:
    """Return what a Secret holds, readable or not; None when there is no Secret, or nothing in it."""
    data = (found or {}).get("data") or {}
    if not data.get(CERTIFICATE) and not data.get(KEY):
        return None
    return KeyPair(base64.b64decode(data.get(CERTIFICATE) or ""), base64.b64decode(data.get(KEY) or ""))


def _client_context(anchor_pem: str, own: KeyPair) -> ssl.SSLContext:
    """Return the TLS context for calls to members: trust the cluster's authority alone, present the operator's pair."""
    context = ssl.create_default_context(cadata=anchor_pem)
    # The ssl module loads a key pair from files only; they are deleted before this returns.
    with tempfile.TemporaryDirectory(prefix="collectionstore-") as folder:
        certificate, key = Path(folder, CERTIFICATE), Path(folder, KEY)
        certificate.write_bytes(own.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(own.key_pem)
        context.load_cert_chain(certificate, key)
    return context
