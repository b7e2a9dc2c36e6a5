"""Whether the stored authority is the one that the members trust: from the Secrets and the record alone. Pure.

For clients and the operator three objects name it: the Secret of the authority, the record that pods mount as their
trust anchor, and the operator's own certificate, which names its issuer. For peers, where they have another one, it is
its Secret, the record, and what members say they trust. A key is identified by its subject key identifier (RFC 5280,
4.2.1.2).
A lost or foreign authority is never replaced: members that still trust the old one would refuse the new one's.
"""

from __future__ import annotations

from typing import NamedTuple

from collectionstore_operator.reconcile import pki
from collectionstore_operator.reconcile.pki import KeyPair
from collectionstore_operator.reconcile.stored_authority import StoredAuthority, identifiers, signing_pair


class Stored(NamedTuple):
    """What is stored, as read; None for what is missing, and PEM that may be damaged."""

    authority: StoredAuthority | None
    own: KeyPair | None
    anchor_pem: str
    """The trust anchors in the record; empty before the authority was published."""


class Trust(NamedTuple):
    """The judgement. Certificates in it can be parsed."""

    authority: StoredAuthority | None
    """To sign with; None if there is none that may be used."""
    own: KeyPair | None
    """For calls to members; None if it is missing or damaged."""
    anchor_pem: str
    """What members trust, as far as it can be read; empty if nothing says it."""
    conflict: str
    """Why the authority must be neither used nor replaced; empty if it is in order, was never made, or can be remade
    with its own key."""


def judge(stored: Stored, *, secret: str, has_data: bool) -> Trust:
    """Return which of the stored certificates to use. `has_data`: members exist that trust an authority already."""
    own = stored.own if stored.own is not None and pki.is_pair(stored.own) else None
    anchors = identifiers(stored.anchor_pem.encode())
    issuer = pki.issuer_identifier(own.certificate_pem) if own is not None else ""
    trusted = stored.anchor_pem if anchors else ""
    if stored.authority is None:
        lost = has_data and bool(stored.anchor_pem or own)
        why = f"the Secret {secret} is missing, and members trust its authority: restore it from a backup"
        return Trust(None, own, trusted, why if lost else "")
    key = pki.identifier_of_key(stored.authority.key_pem)
    intact = signing_pair(stored.authority) is not None
    # During a rotation two authorities are trusted, and members and operator change from one to the other in turn.
    known = identifiers(stored.authority.bundle_pem) if intact else (key,)
    conflict = _conflict(key, anchors, secret, issued=issuer in known if issuer else None, has_data=has_data)
    if conflict:
        return Trust(None, own, trusted, conflict)
    if not intact:
        return Trust(None, own, trusted, "")  # made again with its own key: what it signed stays valid
    return Trust(stored.authority, own, stored.authority.bundle_pem.decode(), "")


def judge_peers(
    stored: StoredAuthority | None,
    *,
    secret: str,
    anchor_pem: str,
    reported: frozenset[str],
    shared: frozenset[str],
    has_data: bool,
) -> tuple[StoredAuthority | None, str]:
    """Return the authority of peers if it may be used, and why it must be neither used, made nor replaced, if so.

    `anchor_pem` is what the record says that peers trust, `reported` the keys that members say they trust on the peer
    port, `shared` those of the authority that peers trusted before they had their own. Neither authority and no
    conflict: it was never made, or is to be made again with its own key.
    """
    own = (frozenset(identifiers(anchor_pem.encode())) | reported) - shared
    if stored is None:
        lost = has_data and bool(own or anchor_pem)
        why = f"the Secret {secret} is missing, and peers trust its authority: restore it from a backup"
        return None, why if lost else ""
    key = pki.identifier_of_key(stored.key_pem)
    intact = signing_pair(stored) is not None
    if has_data and not key:
        return None, f"the key in the Secret {secret} cannot be read: restore it from a backup"
    known = identifiers(stored.bundle_pem) if intact else (key, pki.identifier_of_key(stored.next_key_pem))
    # Until anything of it was published it is the key of the authority that peers trust, and proved by that alone.
    proved = bool(own & set(known)) if own or anchor_pem else key in shared
    if has_data and not proved:
        why = f"the Secret {secret} holds another authority than the one that peers trust: restore it from a backup"
        return None, why
    return (stored if intact else None), ""


def _conflict(key: str, anchors: tuple[str, ...], secret: str, *, issued: bool | None, has_data: bool) -> str:
    """Return why a key is not that of the members' authority, or cannot be shown to be; empty if it is.

    `issued`: whether the authority has issued the operator's certificate; None if there is none that can be read.
    """
    if not has_data:
        return ""
    if not key:
        return f"the key in the Secret {secret} cannot be read: restore it from a backup"
    # Members accept the operator's certificate: its issuer decides where the record differs.
    same = key in anchors if issued is None else issued
    if same:
        return ""
    if issued is None and not anchors:
        return f"nothing proves that the key in the Secret {secret} is the one that members trust"
    return f"the Secret {secret} holds another authority than the one that members trust: restore it from a backup"
