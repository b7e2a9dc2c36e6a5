"""The Secrets of users: read by name, written only where they are ours, with the version that was read.

Ours is one that names our user as its owner, by uid. No label and no name proves that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import AlreadyExists, ApiError, Body, Kind, Kube
from collectionstore_operator.manifests.access import secret as manifest
from collectionstore_operator.model.access.observed import CredentialSecret, Former, TakenSecret
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.resource.access.desired import User


async def observe_secret(kube: Kube, user: User, name: str) -> CredentialSecret | TakenSecret | Absent | Unknown:
    """Return the Secret of a name: one request."""
    try:
        found = await kube.find(Kind.SECRET, name, user.namespace)
    except ApiError as error:
        return Unknown(str(error))
    if found is None:
        return ABSENT
    owner = _other_owner(found, user)
    return TakenSecret(owner) if owner else manifest.read(found)


async def store(kube: Kube, user: User, wanted: Body, *, uid: str, version: str) -> None:
    """Write a Secret with a new credential. Raises ActionRefused and ApiError; then nothing was written, or it is not
    known whether something was."""
    if not uid:
        try:
            await kube.create(wanted)
        except AlreadyExists:
            raise ActionRefused(f"a Secret {user.secret} exists by now: it is not overwritten") from None
        return
    found = await _read_ours(kube, user, user.secret, uid=uid, version=version)
    await _patch(kube, user, manifest.replaced(found, wanted), uid=uid, version=version)


async def refresh(kube: Kube, user: User, said: Mapping[str, str], *, uid: str, version: str) -> None:
    """Write what a Secret says of its cluster. Raises ActionRefused and ApiError."""
    await _read_ours(kube, user, user.secret, uid=uid, version=version)
    await _patch(kube, user, manifest.refreshed(said), uid=uid, version=version)


async def forget(kube: Kube, user: User, former: tuple[Former, ...], *, uid: str, version: str) -> None:
    """Write which former credentials are left. Raises ActionRefused and ApiError."""
    await _read_ours(kube, user, user.secret, uid=uid, version=version)
    await _patch(kube, user, manifest.forgotten(former), uid=uid, version=version)


async def remove(kube: Kube, user: User, name: str, *, uid: str) -> None:
    """Delete a Secret of ours. Raises ActionRefused and ApiError."""
    found = await kube.find(Kind.SECRET, name, user.namespace)
    if found is None:
        return
    owner = _other_owner(found, user)
    if owner:
        raise ActionRefused(f"the Secret {name} belongs to {owner}")
    await kube.delete(Kind.SECRET, name, user.namespace, uid=uid)


async def _read_ours(kube: Kube, user: User, name: str, *, uid: str, version: str) -> Body:
    found = await kube.get(Kind.SECRET, name, user.namespace)
    owner = _other_owner(found, user)
    if owner:
        raise ActionRefused(f"the Secret {name} belongs to {owner}")
    metadata = found["metadata"]
    if (metadata["uid"], metadata["resourceVersion"]) != (uid, version):
        raise ActionRefused(f"the Secret {name} has changed since it was observed")
    return found


async def _patch(kube: Kube, user: User, change: Body, *, uid: str, version: str) -> None:
    metadata = {**change["metadata"], "uid": uid, "resourceVersion": version}
    await kube.patch(Kind.SECRET, user.secret, user.namespace, {**change, "metadata": metadata})


def _other_owner(found: Mapping[str, Any], user: User) -> str:
    """Return whose a Secret is, in words; empty if it is ours."""
    owners = found["metadata"].get("ownerReferences") or ()
    if user.uid and any(one.get("uid") == user.uid for one in owners):
        return ""
    if owners:
        return f"the {owners[0].get('kind', 'object')} {owners[0].get('name', '')}"
    return "another owner"
