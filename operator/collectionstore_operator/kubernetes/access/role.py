"""A CollectionStoreRole: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.access.connections import Connection, Connections
from collectionstore_operator.kubernetes.access.rounds import Decision
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.model.access.observed import RoleObserved
from collectionstore_operator.model.access.obstacles import obstacle
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.planning.access.role import plan_role
from collectionstore_operator.resource.access.desired import Role, parse_role
from collectionstore_operator.status.access.role_status import RoleStatus, refused_role, role_status
from collectionstore_operator.status.backups.fields import read_status


class RoleRounds:
    """The rounds of roles."""

    kind = Kind.ROLE

    def __init__(self, kube: Kube, connections: Connections) -> None:
        self._kube = kube
        self._connections = connections

    def decide(
        self, body: Body, now: float, failure: str
    ) -> contextlib.AbstractAsyncContextManager[Decision[RoleStatus]]:
        """Return a context with what the status is to be and what is to be done. Raises InvalidResource."""
        return self._decide(parse_role(body), read_status(body, RoleStatus), now, failure)

    def refuse(self, body: Body, message: str, generation: int, now: float) -> RoleStatus:
        """Return the status of a role whose spec is invalid."""
        return refused_role(message, generation, read_status(body, RoleStatus), now)

    @contextlib.asynccontextmanager
    async def _decide(
        self, role: Role, previous: RoleStatus | None, now: float, failure: str
    ) -> AsyncIterator[Decision[RoleStatus]]:
        cluster = await observe_cluster(self._kube, role.spec.cluster_name, role.namespace)
        waits = obstacle(cluster, role.spec.cluster_name)
        observed = RoleObserved(
            now=now,
            cluster=cluster,
            role=Unknown(waits.message if waits else "it was not asked for"),
            namespace_terminating=await pod_diagnostics.is_terminating(self._kube, role.namespace),
        )
        if not isinstance(cluster, ClusterSeen) or waits is not None or observed.namespace_terminating:
            yield _decision(role, observed, previous, failure, Unknown("the cluster cannot be asked"))
            return
        async with self._connections.open(cluster) as connection:
            found = await connection.store.role(role.name) if isinstance(connection, Connection) else connection
            observed = msgspec.structs.replace(observed, role=found)
            yield _decision(role, observed, previous, failure, connection)


def _decision(
    role: Role, observed: RoleObserved, previous: RoleStatus | None, failure: str, connection: Connection | Unknown
) -> Decision[RoleStatus]:
    return Decision(
        status=role_status(role, observed, previous, failure),
        plan=plan_role(role, observed),
        resource=role,
        cluster=observed.cluster.desired if isinstance(observed.cluster, ClusterSeen) else None,
        connection=connection,
    )
