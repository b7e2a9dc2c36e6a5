"""A CollectionStoreUser: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.access.connections import Connection, Connections
from collectionstore_operator.kubernetes.access.credential_secrets import observe_secret
from collectionstore_operator.kubernetes.access.rounds import Decision
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.manifests.access import secret as manifest
from collectionstore_operator.model.access.observed import CredentialSecret, UserObserved
from collectionstore_operator.model.access.obstacles import obstacle
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.planning.access.user import plan_user
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access.desired import User, parse_user
from collectionstore_operator.status.access.user_status import UserStatus, refused_user, user_status
from collectionstore_operator.status.backups.fields import read_status


class UserRounds:
    """The rounds of users."""

    kind = Kind.USER

    def __init__(self, kube: Kube, connections: Connections) -> None:
        self._kube = kube
        self._connections = connections

    def decide(
        self, body: Body, now: float, failure: str
    ) -> contextlib.AbstractAsyncContextManager[Decision[UserStatus]]:
        """Return a context with what the status is to be and what is to be done. Raises InvalidResource."""
        return self._decide(parse_user(body), read_status(body, UserStatus), now, failure)

    def refuse(self, body: Body, message: str, generation: int, now: float) -> UserStatus:
        """Return the status of a user whose spec is invalid."""
        return refused_user(message, generation, read_status(body, UserStatus), now)

    @contextlib.asynccontextmanager
    async def _decide(
        self, user: User, previous: UserStatus | None, now: float, failure: str
    ) -> AsyncIterator[Decision[UserStatus]]:
        cluster = await observe_cluster(self._kube, user.spec.cluster_name, user.namespace)
        seen = cluster if isinstance(cluster, ClusterSeen) else None
        waits = obstacle(cluster, user.spec.cluster_name)
        terminating = await pod_diagnostics.is_terminating(self._kube, user.namespace)
        secret = await observe_secret(self._kube, user, user.secret)
        observed = UserObserved(
            now=now,
            cluster=cluster,
            user=Unknown(waits.message if waits else "it was not asked for"),
            tokens=Unknown("they were not asked for"),
            secret=secret,
            others=await self._others(user, previous),
            namespace_terminating=terminating,
        )
        if seen is None or waits is not None or terminating:
            yield _decision(user, observed, previous, failure, Unknown("the cluster cannot be asked"))
            return
        async with self._connections.open(seen) as connection:
            if isinstance(connection, Connection):
                observed = msgspec.structs.replace(
                    observed,
                    # BEFORE the Secret: a token that is listed and not in it was not about to be written there.
                    tokens=await connection.store.tokens(
                        user.name, names.description(names.USER_KIND, user.namespace, user.name)
                    ),
                    user=await connection.store.user(user.name),
                    about=manifest.digest(connection.about(user.name)),
                    authority=connection.key,
                )
                observed = msgspec.structs.replace(observed, secret=await observe_secret(self._kube, user, user.secret))
            else:
                observed = msgspec.structs.replace(observed, user=connection, tokens=connection)
            yield _decision(user, observed, previous, failure, connection)

    async def _others(self, user: User, previous: UserStatus | None) -> tuple[CredentialSecret, ...]:
        """Return the Secret that the status names, if the spec names another one by now."""
        named = previous.secret_name if previous is not None else ""
        if named in ("", user.secret):
            return ()
        found = await observe_secret(self._kube, user, named)
        return (found,) if isinstance(found, CredentialSecret) else ()


def _decision(
    user: User, observed: UserObserved, previous: UserStatus | None, failure: str, connection: Connection | Unknown
) -> Decision[UserStatus]:
    return Decision(
        status=user_status(user, observed, previous, failure),
        plan=plan_user(user, observed),
        resource=user,
        cluster=observed.cluster.desired if isinstance(observed.cluster, ClusterSeen) else None,
        connection=connection,
    )
