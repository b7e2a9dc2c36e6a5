"""Reads of objects, whether from the API server (`client.Kube`) or from caches (`caches.reads.Reads`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from collectionstore_operator.kubernetes.api.kinds import Body, Kind


class Reader(Protocol):
    """What observers read through. Every call raises `ApiError`."""

    async def find(self, kind: Kind, name: str, namespace: str | None = None) -> Body | None:
        """Return an object, None when there is none."""

    async def find_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        selector: Mapping[str, str] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
    ) -> list[Body]:
        """Return all objects with these labels and fields; of all namespaces without one."""
