"""An API server and a cluster with users, roles and tokens, and the rounds of users and roles on them, with a clock."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.kubernetes.access.connections import Connection, Connections
from collectionstore_operator.kubernetes.access.role import RoleRounds
from collectionstore_operator.kubernetes.access.rounds import AccessRounds
from collectionstore_operator.kubernetes.access.user import UserRounds
from collectionstore_operator.kubernetes.api import Kind, Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.authority import Authority
from collectionstore_operator.kubernetes.backups.rounds import Outcome
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.model.access.store import IssuedToken, StoreRole, StoreToken, StoreUser
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.planning.access.scenes import NOW

GROUP = "/apis/collectionstore.io/v1alpha1/namespaces/shop"
SECRETS = "/api/v1/namespaces/shop/secrets"
USER = f"{GROUP}/collectionstoreusers/api"
ROLE = f"{GROUP}/collectionstoreroles/orders"


class Store:
    """The access control of a cluster: stands for `AccessClient`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.users: dict[str, dict[str, Any]] = {}
        self.roles: dict[str, dict[str, Any]] = {}
        self.issued: dict[str, tuple[str, StoreToken]] = {}
        """By ID: the secret and the token."""
        self.refusal = ""
        self.silent = False
        self.count = 0

    def _speak(self) -> None:
        if self.silent:
            raise ActionUnfinished("no answer")
        if self.refusal:
            raise ActionRefused(self.refusal)

    async def user(self, name: str) -> StoreUser | Absent | Unknown:
        if self.silent:
            return Unknown("no answer")
        return StoreUser(name=name, **self.users[name]) if name in self.users else ABSENT

    async def put_user(self, name: str, body: dict[str, Any]) -> None:
        self._speak()
        self.users[name] = {**body, "roles": tuple(body["roles"])}

    async def remove_user(self, name: str) -> None:
        self._speak()
        self.users.pop(name, None)
        self.issued.clear()

    async def role(self, name: str) -> StoreRole | Absent | Unknown:
        if self.silent:
            return Unknown("no answer")
        return StoreRole(name=name, **self.roles[name]) if name in self.roles else ABSENT

    async def put_role(self, name: str, body: dict[str, Any]) -> None:
        self._speak()
        self.roles[name] = {**body, "rules": tuple(body["rules"])}

    async def remove_role(self, name: str) -> None:
        self._speak()
        self.roles.pop(name, None)

    async def tokens(self, _user: str, description: str) -> tuple[StoreToken, ...] | Unknown:
        if self.silent:
            return Unknown("no answer")
        return tuple(token for _, token in self.issued.values() if token.description == description)

    async def issue_token(self, user: str, *, lifetime_s: int, description: str) -> IssuedToken:
        self._speak()
        assert user in self.users, "a token of a user that does not exist"
        self.count += 1
        expires = self.world.now + lifetime_s
        token = StoreToken(id=f"t{self.count}", description=description, created=self.world.now, expires=expires)
        secret = f"cst_t{self.count}_secret"
        self.issued[token.id] = (secret, token)
        return IssuedToken(id=token.id, secret=secret, expires=expires)

    async def revoke_token(self, token_id: str) -> None:
        self._speak()
        self.issued.pop(token_id, None)

    def accepts(self, secret: str) -> bool:
        """Return whether a request with this token would be served."""
        return any(one == secret for one, _ in self.issued.values())


class KnownCluster(Connections):
    """Opens connections to the store of the test."""

    def __init__(self, world: World) -> None:
        super().__init__(world.kube)
        self.world = world

    @asynccontextmanager
    async def open(self, cluster: ClusterSeen) -> AsyncIterator[Connection | Unknown]:
        world = self.world
        store: Any = world.store
        keys = Authority(world.kube, Record(world.kube))
        yield Connection(store, cluster.desired, cluster.cluster_id, world.authorities, world.key, keys)


class World:
    """What happens to users and roles in one namespace."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server, self.kube = server, kube
        self.now = NOW
        self.leads = True
        self.authorities, self.key = "the authority", "key-1"
        self.store = Store(self)
        self._loops: dict[tuple[Kind, str], AccessRounds[Any]] = {}
        server.put("/api/v1/namespaces/shop", {"kind": "Namespace", "metadata": {"name": "shop"}})
        self.cluster()

    def cluster(self, *, spec: Body | None = None, **status: Any) -> None:
        """Put the cluster."""
        usual = {"clusterID": "0123456789abcdef", "initialized": True}
        self.server.put(
            f"{GROUP}/collectionstoreclusters/demo",
            {
                "apiVersion": "collectionstore.io/v1alpha1",
                "kind": "CollectionStoreCluster",
                "metadata": {"name": "demo", "namespace": "shop", "uid": "c-1", "generation": 1},
                "spec": spec or {},
                "status": usual | status,
            },
        )

    def user(self, *, notes: dict[str, str] | None = None, **spec: Any) -> None:
        """Put the user."""
        self._put(USER, "CollectionStoreUser", {"clusterName": "demo", "roles": ["reader"]} | spec, notes)

    def role(self, **spec: Any) -> None:
        """Put the role."""
        rules = [{"verbs": ["read"], "collections": ["orders"]}]
        self._put(ROLE, "CollectionStoreRole", {"clusterName": "demo", "rules": rules} | spec, None)

    def _put(self, path: str, kind: str, spec: Body, notes: dict[str, str] | None) -> None:
        before = self.server.objects.get(path, {"metadata": {}})
        metadata = {
            "name": path.rsplit("/", 1)[1],
            "namespace": "shop",
            "uid": f"uid-{kind}",
            "generation": 1,
            "creationTimestamp": rfc3339(self.now),
            **before["metadata"],
            "annotations": notes or {},
        }
        body = {"apiVersion": "collectionstore.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        self.server.put(path, {**body, "status": before.get("status", {})})

    def delete(self, path: str) -> None:
        """Ask for the deletion of a resource: it goes at once without finalizers."""
        body = self.server.objects[path]
        if not body["metadata"].get("finalizers"):
            del self.server.objects[path]
            return
        body["metadata"]["deletionTimestamp"] = rfc3339(self.now)
        self.server.put(path, body)

    async def run(self, kind: Kind = Kind.USER, *, restarted: bool = False) -> Outcome:
        """Run one round; `restarted`: of an operator that remembers nothing."""
        name = "api" if kind is Kind.USER else "orders"
        if restarted or (kind, name) not in self._loops:
            self._loops[kind, name] = self._rounds(kind, name)
        outcome = await self._loops[kind, name].once()
        for path in (USER, ROLE):
            metadata = self.server.objects.get(path, {}).get("metadata", {})
            if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
                del self.server.objects[path]
        return outcome

    def forget(self) -> None:
        """Let the next operator follow, which remembers nothing."""
        self._loops.clear()

    def _rounds(self, kind: Kind, name: str) -> AccessRounds[Any]:
        connections = KnownCluster(self)
        kinds: dict[Kind, Any] = {
            Kind.USER: UserRounds(self.kube, connections),
            Kind.ROLE: RoleRounds(self.kube, connections),
        }
        return AccessRounds(
            kinds[kind],
            self.kube,
            Recorder(self.kube, "op"),
            namespace="shop",
            name=name,
            may_act=lambda: self.leads,
            clock=lambda: self.now,
        )

    def secret(self, name: str = "api-credentials") -> Body:
        """Return a Secret."""
        return self.server.objects[f"{SECRETS}/{name}"]

    def condition(self, path: str, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(one for one in self.server.objects[path]["status"]["conditions"] if one["type"] == kind)
        return found["status"], found["reason"]

    def events(self) -> list[str]:
        """Return the reasons of the Events."""
        return [body["reason"] for path, body in self.server.objects.items() if "/events/" in path]


@contextlib.asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    """Yield a world."""
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()
