"""The Secret of a user: where the cluster is, whom to trust, and the credential. Pure.

Mounted as a folder it is all that a client needs. Annotations tell of the credential what is no secret, so that a
planner that reads them needs no other record; the data are read only to see that they are there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from collectionstore_operator.manifests.manifest import Body
from collectionstore_operator.model.access.observed import CredentialSecret, Former
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access.desired import User
from collectionstore_operator.resource.desired import CLIENT_PORT, Desired

URI: Final = "uri"
"""The connection string, without a secret."""
HOST: Final = "host"
PORT: Final = "port"
AUTHORITY: Final = "ca.crt"
USERNAME: Final = "username"
TOKEN: Final = "token"  # the name of a key
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
_KEYS: Final = {"Token": (TOKEN,), "Certificate": (CERTIFICATE, KEY)}


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What was issued. Times are Unix seconds."""

    kind: str
    id: str
    issued: float
    expires: float
    content: Mapping[str, bytes]
    """The secret parts, by key of the Secret."""
    issued_by: str = ""

    def __repr__(self) -> str:
        return f"Credential(kind={self.kind!r}, id={self.id!r})"


def about(cluster: Desired, user: str, authorities: str) -> dict[str, str]:
    """Return what the Secret says of the cluster; `authorities` are the certificates to trust, PEM."""
    domain = cluster.spec.tls.cluster_domain
    host = f"{labels.client_service(cluster.name)}.{cluster.namespace}.svc{f'.{domain}' if domain else ''}"
    return {
        URI: f"collectionstore://{host}:{CLIENT_PORT}",
        HOST: host,
        PORT: str(CLIENT_PORT),
        USERNAME: user,
        AUTHORITY: authorities,
    }


def digest(said: Mapping[str, str]) -> str:
    """Return the digest of what a Secret says of the cluster."""
    return hashlib.sha256(msgspec.json.encode(dict(said), order="sorted")).hexdigest()[:16]


def issued(
    user: User,
    said: Mapping[str, str],
    credential: Credential,
    *,
    former: tuple[Former, ...],
    rotated: str,
    cluster_id: str,
) -> Body:
    """Return the Secret with a new credential."""
    content = {**{key: value.encode() for key, value in said.items()}, **credential.content}
    notes = {
        labels.DIGEST: digest(said),
        labels.CLUSTER_ID: cluster_id,
        names.CREDENTIAL_KIND: credential.kind,
        names.CREDENTIAL_ID: credential.id,
        names.ISSUED_AT: rfc3339(credential.issued),
        names.EXPIRES_AT: rfc3339(credential.expires),
        names.ISSUED_BY: credential.issued_by,
        names.FORMER: _written(former),
        names.ROTATED: rotated,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": user.secret,
            "namespace": user.namespace,
            "labels": {
                labels.NAME: "collectionstore",
                labels.MANAGED_BY: labels.FIELD_MANAGER,
                labels.CLUSTER: user.spec.cluster_name,
                names.USER: user.name,
            },
            "annotations": {key: value for key, value in notes.items() if value},
            "ownerReferences": [_owner(user)],
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in sorted(content.items())},
    }


def replaced(found: Mapping[str, Any], wanted: Body) -> Body:
    """Return the change of a Secret into another one: a merge patch, without what only the former had.

    Labels and annotations of others stay, their keys among the data do not.
    """
    metadata, new = found["metadata"], wanted["metadata"]
    ours = (names.FORMER, names.ROTATED, names.ISSUED_BY, names.CREDENTIAL_ID)
    gone = {key: None for key in ours if key in (metadata.get("annotations") or {})}
    return {
        "metadata": {
            "labels": new["labels"],
            "annotations": {**gone, **new["annotations"]},
            "ownerReferences": new["ownerReferences"],
        },
        "data": {**dict.fromkeys(found.get("data") or {}), **wanted["data"]},
    }


def refreshed(said: Mapping[str, str]) -> Body:
    """Return the change of a Secret that says something else of the cluster: a merge patch."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in said.items()}
    return {"metadata": {"annotations": {labels.DIGEST: digest(said)}}, "data": data}


def forgotten(former: tuple[Former, ...]) -> Body:
    """Return the change of a Secret whose former credentials have ended: a merge patch."""
    return {"metadata": {"annotations": {names.FORMER: _written(former) or None}}}


def read(body: Mapping[str, Any]) -> CredentialSecret:
    """Return a Secret of ours as the planner sees it. What cannot be read counts as not there."""
    metadata, data = body["metadata"], body.get("data") or {}
    notes = metadata.get("annotations") or {}
    kind = notes.get(names.CREDENTIAL_KIND, "")
    wanted = (URI, AUTHORITY, USERNAME, *_KEYS.get(kind, (TOKEN,)))
    return CredentialSecret(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        kind=kind,
        credential_id=notes.get(names.CREDENTIAL_ID, ""),
        issued=_seconds(notes.get(names.ISSUED_AT, "")),
        expires=_seconds(notes.get(names.EXPIRES_AT, "")),
        former=_former(notes.get(names.FORMER, "")),
        rotated=notes.get(names.ROTATED, ""),
        issued_by=notes.get(names.ISSUED_BY, ""),
        cluster_id=notes.get(labels.CLUSTER_ID, ""),
        complete=all(data.get(key) for key in wanted),
        digest=notes.get(labels.DIGEST, ""),
        terminating="deletionTimestamp" in metadata,
    )


def _owner(user: User) -> Body:
    return {
        "apiVersion": labels.API_VERSION,
        "kind": names.USER_KIND,
        "name": user.name,
        "uid": user.uid,
        "controller": True,
    }


def _written(former: tuple[Former, ...]) -> str:
    return msgspec.json.encode(former).decode() if former else ""


def _former(text: str) -> tuple[Former, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[Former, ...]) if text else ()
    except msgspec.DecodeError:
        return ()  # edited by hand: the tokens that it named are those that no Secret names


def _seconds(text: str) -> float:
    try:
        return seconds(text) if text else 0.0
    except ValueError:
        return 0.0
