"""A user of a cluster as people see it: the resource, its status, and the Secret with its credential."""

from __future__ import annotations

import base64
from typing import Any, Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import ROLE, SECRET, USER, Object, is_ready

READY_S: Final = 60.0
ROTATE: Final = "collectionstore.io/rotate-credential"
REVOKE: Final = "collectionstore.io/revoke-credential"


class User:
    """A CollectionStoreUser in a scenario's namespace."""

    def __init__(self, context: Context, name: str, *, cluster: str = "demo") -> None:
        self._context = context
        self.name = name
        self.cluster = cluster
        self.secret = f"{name}-credentials"

    async def apply(self, **spec: Any) -> None:
        """Create or change it."""
        metadata = {"name": self.name}
        body = {"apiVersion": USER.api_version, "kind": USER.name, "metadata": metadata}
        await self._context.client.apply({**body, "spec": {"clusterName": self.cluster, **spec}})

    async def annotate(self, key: str, value: str) -> None:
        """Set an annotation."""
        await self._context.client.patch(USER, self.name, {"metadata": {"annotations": {key: value}}})

    async def until_ready(self) -> Object:
        """Wait until it is Ready: its Secret works."""
        return await self._context.client.until_one(
            USER, self.name, lambda one: is_ready(one), what="Ready", timeout_s=READY_S
        )

    async def credential(self) -> str:
        """Return the public ID of its credential."""
        return str((await self._context.client.get(USER, self.name)).get("status", {}).get("credentialID", ""))

    async def until_other_credential(self, before: str) -> str:
        """Wait until it has another credential than `before`, and return its public ID."""
        found = await self._context.client.until_one(
            USER,
            self.name,
            lambda one: is_ready(one) and one["status"]["credentialID"] not in ("", before),
            what="another credential",
            timeout_s=READY_S,
        )
        return str(found["status"]["credentialID"])

    async def token(self) -> str:
        """Return the token in its Secret."""
        data = (await self._context.client.get(SECRET, self.secret))["data"]
        return base64.b64decode(data["token"]).decode()


async def apply_role(context: Context, name: str, *rules: Object, cluster: str = "demo") -> None:
    """Create or change a CollectionStoreRole, and wait until it is Ready."""
    body = {"apiVersion": ROLE.api_version, "kind": ROLE.name, "metadata": {"name": name}}
    await context.client.apply({**body, "spec": {"clusterName": cluster, "rules": list(rules)}})
    await context.client.until_one(ROLE, name, is_ready, what="Ready", timeout_s=READY_S)
