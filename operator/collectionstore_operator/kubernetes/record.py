"""The record of a cluster: a ConfigMap with the facts that must survive the resource as long as its volumes do.

Not the status of the resource: a status is lost when the object is restored from a backup or created again.
"""

from __future__ import annotations

import secrets

import msgspec

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.api.reader import Reader
from collectionstore_operator.kubernetes.ownership import foreign, preconditions, require_ours
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model.actions import (
    EstablishIdentity,
    RecordPlannedWork,
    RecordRecovery,
    RecordRestore,
    RecordRestoreClaim,
    RecordRevision,
    RestoreIdentity,
)
from collectionstore_operator.model.observed import ForeignObject
from collectionstore_operator.model.planned_work import decode, of_new_cluster
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

AUTHORITIES = "ca.crt"
PEER_AUTHORITIES = "peer-ca.crt"


class Facts(msgspec.Struct, frozen=True, rename="kebab", kw_only=True):
    """The recorded facts; all are text, as a ConfigMap stores it."""

    cluster_id: str = ""
    initialized: str = ""
    """`true` once the cluster has had data."""
    bootstrap_node: str = ""
    authorities: str = msgspec.field(name=AUTHORITIES, default="")
    """Trust anchors of the members, concatenated PEM; mounted by the pods."""
    peer_authorities: str = msgspec.field(name=PEER_AUTHORITIES, default="")
    """Those of the peer port alone, where they are others; then those above are for clients."""
    recovery: str = ""
    """The last recovery from a lost quorum, as JSON (`model.recovery`)."""
    restore: str = ""
    """The restore that the cluster begins with, as JSON (`model.restore`)."""
    protected_deletion: str = ""
    """Uid of the resource whose deletion was requested while it was protected."""
    deletion_held: str = ""
    """The same uid if `protected_deletion` is there only for the sake of a final backup: it retains no volumes."""
    restore_claim: str = ""
    """Uid of the claim on which the restore that the cluster begins with may happen."""
    revision: str = ""
    """A revision that the cluster has had, decimal; what it has had since is less than `records.REVISIONS` higher."""
    access: str = ""
    """`Enforced` if the cluster has enforced access control since it was made."""
    planned_work: str = ""
    """JSON of `model.planned_work.PlannedWork`."""


class Record:
    """The record of one cluster."""

    def __init__(self, kube: Kube, reads: Reader | None = None) -> None:
        """`reads` is for observations; writes begin with the newest state."""
        self._kube = kube
        self._reads = reads or kube

    async def read(self, desired: Desired) -> tuple[Facts, ForeignObject | None]:
        """Return the recorded facts, all empty before the cluster has its identity; or whose ConfigMap it is."""
        found = await self._reads.find(Kind.CONFIG_MAP, labels.record(desired.name), desired.namespace)
        other = None if found is None else foreign("ConfigMap", found, desired)
        return (Facts(), other) if other is not None else (_facts(found), None)

    async def establish(self, action: EstablishIdentity, desired: Desired) -> None:
        """Record the identity. Raises ActionRefused when another one is recorded by now.

        The ID of a new cluster is drawn here. Executed twice the action keeps the ID of the first time: the answer to
        an earlier attempt may have been lost, and volumes may carry that ID already.
        """
        recorded = _facts(await self._find_ours(desired)).cluster_id
        if recorded and action.cluster_id not in ("", recorded):
            raise ActionRefused(f"the record names the cluster {recorded} by now, not {action.cluster_id}")
        if recorded:
            return
        facts = {
            "cluster_id": action.cluster_id or secrets.token_hex(8),
            "initialized": "true" if action.initialized else "",
            "bootstrap_node": action.bootstrap_node,
            # With the ID, in one write: a cluster that has one and not this is older than access control.
            "access": "" if action.cluster_id else "Enforced",
        }
        # Only added, never cleared: a record without an ID may still say that the cluster has had data.
        await self.change(desired, **{name: fact for name, fact in facts.items() if fact})

    async def restore(self, action: RestoreIdentity, desired: Desired) -> None:
        """Record the proven ID again. Raises ActionRefused when the record has changed since it was observed."""
        recorded = _facts(await self._find_ours(desired)).cluster_id
        if recorded not in (action.recorded, action.cluster_id):
            raise ActionRefused(f"the record names the cluster {recorded} by now, not {action.recorded}")
        await self.change(desired, cluster_id=action.cluster_id)

    async def advance(self, action: RecordRecovery, desired: Desired) -> None:
        """Record a recovery, or its next phase, with the cluster ID that it brings. Raises ActionRefused.

        An attempt whose outcome was lost is recognized. Nothing else is: what was planned rests on the old record.
        """
        found = _facts(await self._find_ours(desired))
        present, wanted = recoveries.read(found.recovery), action.record
        if recoveries.is_repeated(present, wanted, action.before):
            return
        if not recoveries.precedes(present, wanted, action.before, found.cluster_id):
            raise ActionRefused("the record of the recovery has changed since it was observed")
        facts = {"recovery": recoveries.written(wanted)}
        if wanted.phase in recoveries.RENAMING:
            # One write: at no moment does the record name the new cluster, and not whose disk it begins with.
            facts["cluster_id"] = wanted.cluster_id
            # Nor names it the new cluster, and members of the old one as those to be started or replaced.
            work = decode(found.planned_work)
            if of_new_cluster(work) != work:
                facts["planned_work"] = of_new_cluster(work).encoded()
        await self.change(desired, **facts)

    async def plan_work(self, action: RecordPlannedWork, desired: Desired) -> None:
        """Record how far planned work has come. Raises ActionRefused when another step was recorded meanwhile."""
        recorded = _facts(await self._find_ours(desired)).planned_work
        if decode(recorded) not in (action.was, action.work):
            raise ActionRefused("another step of planned work has been recorded since it was observed")
        await self.change(desired, planned_work=action.work.encoded())

    async def begin_restore(self, action: RecordRestore, desired: Desired) -> None:
        """Record with what the cluster begins. Raises ActionRefused when it has had data, or a bootstrap was begun."""
        found = _facts(await self._find_ours(desired))
        if not found.cluster_id or found.initialized or found.bootstrap_node:
            raise ActionRefused("the record has changed since it was observed: the cluster is not new any more")
        await self.change(desired, restore=action.restore)

    async def record_restore_claim(self, action: RecordRestoreClaim, desired: Desired) -> None:
        """Record on which claim the cluster is restored. Raises ActionRefused when it has another, or is not restored.

        Never changed: a second claim would be given the same revisions as the first.
        """
        found = _facts(await self._find_ours(desired))
        if not found.restore or found.initialized or found.restore_claim not in ("", action.uid):
            raise ActionRefused("the record has changed since it was observed: the restore has another claim, or ended")
        await self.change(desired, restore_claim=action.uid)

    async def record_revision(self, action: RecordRevision, desired: Desired) -> None:
        """Record a revision that the cluster has had; a higher one that is recorded stays."""
        found = _facts(await self._find_ours(desired))
        if read_revision(found.revision) < action.revision:
            await self.change(desired, revision=str(action.revision))

    async def change(self, desired: Desired, **facts: str) -> Facts:
        """Change single facts durably, if they differ; return all of them. Raises ActionRefused, Conflict.

        The version that was read is a precondition: facts that were recorded meanwhile are never lost.
        """
        found = await self._find_ours(desired)
        old = _facts(found)
        new = msgspec.structs.replace(old, **facts)
        if new != old:
            await self._write(desired, new, found)
        return new

    async def delete(self, desired: Desired) -> None:
        """Delete the record, if it is ours. The caller has made sure that no volume of the cluster is left."""
        found = await self._find(desired)
        if found is not None and foreign("ConfigMap", found, desired) is None:
            name, uid = labels.record(desired.name), found["metadata"]["uid"]
            await self._kube.delete(Kind.CONFIG_MAP, name, desired.namespace, uid=uid)

    async def _find(self, desired: Desired) -> Body | None:
        return await self._kube.find(Kind.CONFIG_MAP, labels.record(desired.name), desired.namespace)

    async def _find_ours(self, desired: Desired) -> Body | None:
        found = await self._find(desired)
        if found is not None:
            require_ours("ConfigMap", found, desired)
        return found

    async def _write(self, desired: Desired, facts: Facts, found: Body | None) -> None:
        """Write; the API server answers after its own quorum has it."""
        body: Body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": labels.record(desired.name),
                "namespace": desired.namespace,
                "labels": labels.object_labels(desired.name),
            },
            "data": {key: value for key, value in msgspec.to_builtins(facts).items() if value},
        }
        if found is None:
            await self._kube.create(body)
        else:
            body["metadata"] |= preconditions(found)
            await self._kube.apply(body)


def read_revision(text: str) -> int:
    """Return a recorded revision; 0 if none is, or if it was damaged: it is recorded again when a member answers."""
    return int(text) if text.isdecimal() and len(text) <= 20 else 0


def _facts(found: Body | None) -> Facts:
    return msgspec.convert((found or {}).get("data") or {}, Facts)
