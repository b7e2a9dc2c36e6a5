"""A client of the API server for scenarios: objects are plain dicts, waits are watches with a deadline.

Connection, credentials and TLS are the official client's (`kubernetes.aio`), so any kubeconfig works, plugins included.
Its generated models are not used: they drop fields that their version does not know, and manifests are dicts anyway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient

from collectionstore_e2e.harness.errors import DeadlinePassed, Refused
from collectionstore_e2e.harness.kinds import Kind, Object, summary

FIELD_MANAGER: Final = "collectionstore-e2e"
REQUEST_S: Final = 30.0
WATCH_S: Final = 240
"""The server ends a watch after this time, and the next one starts."""
FOLLOW_S: Final = 3600.0
QUIET_S: Final = 20.0
"""A followed log without a new line for this long is requested again: the connection may be dead."""
GONE: Final = 410

Objects = Mapping[str, Object]
"""Objects of one kind by name."""


class Client:
    """One connection to a cluster; `namespace` is where namespaced objects are, unless a call says otherwise."""

    def __init__(self, api: ApiClient, namespace: str = "default") -> None:
        self._api = api
        self._kinds: dict[tuple[str, str], Kind] = {}
        self.namespace = namespace

    @classmethod
    async def connect(cls, kubeconfig: Path) -> Client:
        """Return a client with the credentials of a kubeconfig. Close it with `close`."""
        return cls(await config.new_client_from_config(config_file=str(kubeconfig)))  # type: ignore[no-untyped-call]

    def within(self, namespace: str) -> Client:
        """Return a client of the same connection for another namespace."""
        return Client(self._api, namespace)

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._api.configuration.host)

    async def get(self, kind: Kind, name: str, subresource: str = "") -> Object:
        """Return an object. Raises `Refused` with status 404 if it does not exist."""
        return await self._request("GET", kind.path(self.namespace, name, subresource))

    async def find(self, kind: Kind, name: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        try:
            return await self.get(kind, name)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def list_all(self, kind: Kind, *, labels: str = "", fields: str = "") -> list[Object]:
        """Return all objects of a kind that match the selectors; their `kind` is filled in."""
        items, _ = await self._list(kind, labels, fields)
        return items

    async def apply(self, manifest: Object, *, manager: str = FIELD_MANAGER) -> Object:
        """Apply a manifest (server-side apply) and return the object."""
        kind = await self._kind_of(manifest)
        namespace = manifest["metadata"].get("namespace", self.namespace)
        return await self._request(
            "PATCH",
            kind.path(namespace, manifest["metadata"]["name"]),
            query={"fieldManager": manager, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    async def create(self, manifest: Object) -> Object:
        """Create an object; `metadata.generateName` works."""
        kind = await self._kind_of(manifest)
        return await self._request("POST", kind.path(self.namespace), body=manifest)

    async def patch(self, kind: Kind, name: str, change: Object, *, subresource: str = "") -> Object:
        """Merge a change into an object (RFC 7386)."""
        path = kind.path(self.namespace, name, subresource)
        return await self._request("PATCH", path, body=change, content_type="application/merge-patch+json")

    async def post(self, kind: Kind, name: str, subresource: str, body: Object) -> Object:
        """Post to a subresource, such as a pod's `eviction`."""
        return await self._request("POST", kind.path(self.namespace, name, subresource), body=body)

    async def put(self, kind: Kind, name: str, body: Object, *, subresource: str = "") -> Object:
        """Replace an object or a subresource, such as a request's `approval`."""
        return await self._request("PUT", kind.path(self.namespace, name, subresource), body=body)

    async def delete(self, kind: Kind, name: str, *, grace_s: int | None = None) -> None:
        """Delete an object; with `grace_s` 0 the API server removes a pod without waiting for its kubelet."""
        body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        await self._request("DELETE", kind.path(self.namespace, name), body=body)

    async def logs(self, pod: str, container: str = "", *, previous: bool = False) -> str:
        """Return the log of a pod's container."""
        query = {"container": container, "previous": "true" if previous else ""}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        return (await self._send("GET", path, query=query)).decode(errors="replace")

    async def ask_pod(self, pod: str, port: int, path: str) -> str:
        """Return a pod's response to a GET over plain HTTP, through the API server's proxy."""
        proxied = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/{path.lstrip('/')}"
        return (await self._send("GET", proxied)).decode(errors="replace")

    async def follow(self, pod: str) -> AsyncIterator[str]:
        """Yield the lines of a pod's log, past and new, until its container ends.

        Raises `Refused`, aiohttp's errors, and TimeoutError after QUIET_S without output. A new call yields all again.
        """
        url = self._url(f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log", {"follow": "true"})
        answer = await self._api.call_api("GET", url, await self._headers(), _request_timeout=FOLLOW_S)
        async with answer.response as response:
            if response.status != 200:
                raise _refusal(response.status, await response.read())
            rest = b""
            while True:
                async with asyncio.timeout(QUIET_S):
                    chunk = await response.content.readany()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
                if not chunk:
                    return

    async def until(
        self,
        kind: Kind,
        holds: Callable[[Objects], bool],
        *,
        what: str,
        timeout_s: float,
        labels: str = "",
        fields: str = "",
    ) -> dict[str, Object]:
        """Watch objects until `holds` is true of all of them together, and return them by name.

        `what` describes the condition. Raises `DeadlinePassed` with the last state if it does not hold in time.
        """
        seen: dict[str, Object] = {}
        try:
            async with asyncio.timeout(timeout_s):
                async for seen in self._states(kind, labels, fields):
                    if holds(seen):
                        return seen
        except TimeoutError:
            last = "\n".join(f"  {summary(one)}" for one in seen.values()) or "  nothing"
            raise DeadlinePassed(f"{what}: not within {timeout_s:.0f} s. Last state:\n{last}") from None
        raise DeadlinePassed(f"{what}: the watch ended")

    async def until_one(
        self, kind: Kind, name: str, holds: Callable[[Object], bool], *, what: str, timeout_s: float
    ) -> Object:
        """Watch one object until it exists and `holds` is true of it."""
        found = await self.until(
            kind,
            lambda objects: name in objects and holds(objects[name]),
            what=f"{kind.name} {name}: {what}",
            timeout_s=timeout_s,
            fields=f"metadata.name={name}",
        )
        return found[name]

    async def until_gone(self, kind: Kind, name: str, *, timeout_s: float) -> None:
        """Watch until an object no longer exists."""
        what = f"{kind.name} {name} to be gone"
        await self.until(
            kind, lambda objects: name not in objects, what=what, timeout_s=timeout_s, fields=f"metadata.name={name}"
        )

    async def _states(self, kind: Kind, labels: str, fields: str) -> AsyncIterator[dict[str, Object]]:
        """Yield all objects by name, at first and after every change; list again whenever the watch breaks."""
        while True:
            items, version = await self._list(kind, labels, fields)
            state = {item["metadata"]["name"]: item for item in items}
            yield state
            try:
                async for event, changed in self._watch(kind, labels, fields, version):
                    name = changed["metadata"]["name"]
                    if event == "DELETED":
                        state.pop(name, None)
                    else:
                        state[name] = changed
                    yield state
            except (aiohttp.ClientError, TimeoutError):
                continue  # the connection was lost: a new list and watch miss no change
            except Refused as refused:
                # 410: etcd has compacted the resourceVersion of the watch, so it starts again from a list.
                if refused.status != GONE:
                    raise

    async def _watch(self, kind: Kind, labels: str, fields: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        query = {"watch": "true", "resourceVersion": version, "labelSelector": labels, "fieldSelector": fields}
        url = self._url(kind.path(self.namespace), {**query, "timeoutSeconds": str(WATCH_S)})
        answer = await self._api.call_api("GET", url, await self._headers(), _request_timeout=WATCH_S + REQUEST_S)
        async with answer.response as response:
            if response.status != 200:
                raise _refusal(response.status, await response.read())
            # aiohttp limits the length of a line, and an object may be longer: lines are split here.
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"].get("code", 500), json.dumps(event["object"]).encode())
                    yield event["type"], event["object"]

    async def _list(self, kind: Kind, labels: str, fields: str) -> tuple[list[Object], str]:
        query = {"labelSelector": labels, "fieldSelector": fields}
        answer = await self._request("GET", kind.path(self.namespace), query=query)
        # The API server omits apiVersion and kind of the items of a list.
        items = [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in answer["items"]]
        return items, answer["metadata"]["resourceVersion"]

    async def _kind_of(self, manifest: Object) -> Kind:
        version, name = manifest["apiVersion"], manifest["kind"]
        if (version, name) not in self._kinds:
            root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
            for one in (await self._request("GET", root))["resources"]:
                if "/" not in one["name"]:
                    kind = Kind(version, one["kind"], one["name"], namespaced=one["namespaced"])
                    self._kinds[version, one["kind"]] = kind
        if (version, name) not in self._kinds:
            raise Refused(404, "NotFound", f"the API server has no kind {name} in {version}")
        return self._kinds[version, name]

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        content = await self._send(method, path, query=query, body=body, content_type=content_type)
        answer: Object = json.loads(content)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers = {**await self._headers(), "Content-Type": content_type}
        url = self._url(path, query or {})
        answer = await self._api.call_api(method, url, headers, body=body, _request_timeout=REQUEST_S)
        content: bytes = await answer.read()  # type: ignore[no-untyped-call]
        if answer.status >= 400:
            raise _refusal(answer.status, content)
        return content

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        given = urlencode({name: value for name, value in query.items() if value})
        return f"{self.server}{path}{'?' if given else ''}{given}"

    async def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers


def _refusal(status: int, content: bytes) -> Refused:
    try:
        answer: dict[str, Any] = json.loads(content)
        return Refused(status, str(answer.get("reason", "")), str(answer.get("message", "")))
    except (ValueError, AttributeError):
        return Refused(status, "", content.decode(errors="replace")[:500])
