"""How a cluster is reached for its users and roles: its members' addresses, and the operator's own certificate.

The keys are those that the loop of the cluster has made: they are only read here, and only if they are ours.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, TypeAlias

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube
from collectionstore_operator.kubernetes.authority import Authority
from collectionstore_operator.kubernetes.pods import address_of
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.manifests.access.secret import Credential, about
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.reconcile import pki
from collectionstore_operator.reconcile.access_client import AccessClient
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import CLIENT_PORT, Desired

MakeClient: TypeAlias = Callable[[NodeClient, tuple[str, ...]], AccessClient]


class Connection(NamedTuple):
    """A cluster that can be asked."""

    store: AccessClient
    desired: Desired
    cluster_id: str
    authorities: str
    """Certificates to trust, PEM."""
    key: str
    """Key identifier of the authority that signs; empty if there is none that may be used."""
    keys: Authority

    def about(self, user: str) -> dict[str, str]:
        """Return what the Secret of a user says of the cluster."""
        return about(self.desired, user, self.authorities)

    async def certify(self, user: str, lifetime_s: int) -> Credential:
        """Issue a client certificate. Raises ActionRefused and ApiError."""
        now = time.time()
        pair = await self.keys.issue_user(
            self.desired, user, cluster_id=self.cluster_id, lifetime_s=lifetime_s, now=now
        )
        serial, expires = pki.serial_and_end(pair.certificate_pem)
        return Credential(
            kind="Certificate",
            id=serial,
            issued=now,
            expires=expires,
            content={"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem},
            issued_by=self.key,
        )


class Connections:
    """Opens connections to the members of clusters."""

    def __init__(self, kube: Kube, make_client: MakeClient = AccessClient) -> None:
        """`make_client` takes the members' base URLs, those that are ready first."""
        self._kube = kube
        self._make_client = make_client

    @contextlib.asynccontextmanager
    async def open(self, cluster: ClusterSeen) -> AsyncIterator[Connection | Unknown]:
        """Yield a connection to a cluster, or why there is none. At most five requests to the API server."""
        desired = cluster.desired
        try:
            facts, foreign = await Record(self._kube).read(desired)
            keys = Authority(self._kube, Record(self._kube))
            found = await keys.read(desired, anchor_pem=facts.authorities, has_data=bool(facts.initialized))
            pods = await self._kube.find_all(Kind.POD, desired.namespace, labels.selector(desired.name))
        except ApiError as error:
            yield Unknown(str(error))
            return
        if foreign is not None or found.context is None or not facts.authorities:
            yield Unknown(f"the operator has no certificate of the cluster {desired.name}, or it is not ours")
            return
        located = [(address_of(one, desired), _is_ready(one)) for one in pods]
        hosts = [host for addresses, _ in sorted(located, key=lambda one: not one[1]) for host in addresses]
        if not hosts:
            yield Unknown(f"no member of the cluster {desired.name} runs")
            return
        async with NodeClient() as client:
            client.use(found.context)
            client.locate({host: ip for addresses, _ in located for host, ip in addresses.items()})
            urls = tuple(f"https://{host}:{CLIENT_PORT}" for host in hosts)
            yield Connection(
                store=self._make_client(client, urls),
                desired=desired,
                cluster_id=cluster.cluster_id,
                authorities=facts.authorities,
                key=found.authority.trusted[0].key if found.authority and not found.conflict else "",
                keys=keys,
            )


def required(connection: Connection | Unknown) -> Connection:
    """Return a connection that an action needs. Raises ActionRefused if there is none."""
    if isinstance(connection, Unknown):
        raise ActionRefused(connection.reason)
    return connection


def _is_ready(pod: dict[str, object]) -> bool:
    status = pod.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions or ())
