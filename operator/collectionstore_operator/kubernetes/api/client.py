"""Calls to the API server: objects as JSON in and out, typed errors, retries of transient failures.

Uses the connections and the credentials of the official asynchronous client, not its models: they would drop fields of
a newer API server, and a manifest is JSON already.
Reads return the newest state, never a cached one: the caches are in `kubernetes.caches`. Writes use server-side apply
under one field manager, or carry the uid or resourceVersion they were planned from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp
import structlog
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config
from prometheus_client import CollectorRegistry

from collectionstore_operator.kubernetes.api.api_errors import (
    ApiError,
    Expired,
    NotFound,
    OverBudget,
    Unavailable,
    error_of,
)
from collectionstore_operator.kubernetes.api.kinds import Body, Kind, kind_named
from collectionstore_operator.kubernetes.api.retry import DEADLINE_S, backoff, is_transient, retry_after_s
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.resource import labels

TRY_TIMEOUT_S: Final = 10.0
PAGE: Final = 500
CONNECTIONS: Final = 100
"""For requests; watches hold one each besides."""
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"

log = structlog.get_logger(__name__)


class Listing(NamedTuple):
    """A consistent list, and the resourceVersion from which a watch continues it."""

    items: list[Body]
    version: str


class _Answer(NamedTuple):
    status: int
    body: Body
    pause_s: float


class Kube:
    """One API server. Belongs to an event loop; every call raises `ApiError`."""

    def __init__(
        self,
        client: ApiClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_source: random.Random | None = None,
        metrics: OperatorMetrics | None = None,
    ) -> None:
        self._client = client
        self._metrics = metrics or OperatorMetrics(CollectorRegistry())
        self._clock = clock
        self._sleep = sleep
        self._random = random_source or random.Random()
        self.retries = 0
        """Retried requests since the start."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Body:
        """Return an object. Raises NotFound."""
        return await self._call("GET", kind, kind.path(namespace, name))

    async def find(self, kind: Kind, name: str, namespace: str | None = None) -> Body | None:
        """Return an object, None when there is none."""
        try:
            return await self.get(kind, name, namespace)
        except NotFound:
            return None

    async def find_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        selector: Mapping[str, str] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
    ) -> list[Body]:
        """Return all objects with these labels and fields, from one consistent list; of all namespaces without one."""
        return (await self.list_all(kind, namespace, selector, fields=fields)).items

    async def list_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        selector: Mapping[str, str] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
    ) -> Listing:
        """Return the same with the version of the list."""
        query = _selection(selector, fields)
        while True:
            try:
                return await self._list(kind, namespace, query)
            except Expired:
                continue  # paging took longer than the server keeps the list's resourceVersion: list again

    @contextlib.asynccontextmanager
    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        selector: Mapping[str, str] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        version: str,
        server_timeout_s: int,
        silence_s: float,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Watch from a resourceVersion on; yield the chunks of the response as they arrive. No retries.

        The server ends the response after `server_timeout_s`; a silence of `silence_s` raises Unavailable, as any
        other break does. Raises Expired when the server does not keep the version any more.
        """
        query = {
            **_selection(selector, fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(server_timeout_s),
        }
        path, started = kind.path(namespace), self._clock()
        timeout = aiohttp.ClientTimeout(total=None, connect=TRY_TIMEOUT_S, sock_read=silence_s)
        try:
            response = await self._send("GET", path, None, query, "application/json", timeout)
            async with response.response as answer:
                self._metrics.called("GET", kind.plural, answer.status, self._clock() - started)
                if answer.status >= 300:
                    raise error_of(answer.status, _decoded(await answer.read(), answer.status), f"WATCH {path}")
                yield answer.content.iter_any()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"WATCH {path}: {type(error).__name__}: {error}".rstrip(": ")) from error

    async def apply(self, body: Body, *, force: bool = True, dry_run: bool = False) -> Body:
        """Create or update an object by server-side apply; the operator's field manager then owns these fields.

        Fields of an earlier apply that are missing now are removed. `force` takes over fields of other managers, for
        objects that are the operator's own; without it they raise Conflict. A uid or resourceVersion in the metadata is
        a precondition.
        """
        kind, metadata = kind_named(body), body["metadata"]
        query = {"fieldManager": labels.FIELD_MANAGER, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return await self._call("PATCH", kind, path, body, query=query, content_type=APPLY)

    async def create(self, body: Body) -> Body:
        """Create an object. Raises AlreadyExists, also when an earlier attempt created it and its response was lost."""
        kind = kind_named(body)
        query = {"fieldManager": labels.FIELD_MANAGER}
        return await self._call("POST", kind, kind.path(body["metadata"].get("namespace")), body, query=query)

    async def replace(self, body: Body, *, subresource: str | None = None) -> Body:
        """Replace an object that was read and changed; its resourceVersion is the precondition."""
        kind, metadata = kind_named(body), body["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._call("PUT", kind, path, body, query={"fieldManager": labels.FIELD_MANAGER})

    async def patch(
        self, kind: Kind, name: str, namespace: str | None, body: Body, *, subresource: str | None = None
    ) -> Body:
        """Merge-patch an object; a uid or resourceVersion in the metadata is a precondition."""
        path = kind.path(namespace, name, subresource)
        return await self._call(
            "PATCH", kind, path, body, query={"fieldManager": labels.FIELD_MANAGER}, content_type=MERGE
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_s: int | None = None,
        orphan: bool = False,
    ) -> bool:
        """Delete an object if it still has this uid and resourceVersion; return whether it existed.

        Raises Conflict otherwise. The object may remain for a while: finalizers, graceful termination. With `orphan`
        its dependents stay, without an owner.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body: Body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {key: value for key, value in preconditions.items() if value is not None},
            "propagationPolicy": "Orphan" if orphan else "Background",
        }
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self._call("DELETE", kind, kind.path(namespace, name), body)
        except NotFound:
            return False
        return True

    async def evict(self, name: str, namespace: str, *, uid: str) -> bool:
        """Evict the pod with this uid under its PodDisruptionBudget; return whether it existed.

        Raises OverBudget when the budget allows no disruption now, Conflict for another uid.
        """
        body: Body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._call("POST", Kind.POD, Kind.POD.path(namespace, name, "eviction"), body)
        except NotFound:
            return False
        return True

    async def review(self, attributes: Mapping[str, str]) -> bool:
        """Return whether the operator has a permission (SelfSubjectAccessReview)."""
        kind = Kind.ACCESS_REVIEW
        body = {
            "apiVersion": kind.api_version,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": dict(attributes)},
        }
        answer = await self._call("POST", kind, kind.path(None), body)
        return bool(answer.get("status", {}).get("allowed"))

    async def _list(self, kind: Kind, namespace: str | None, selectors: Mapping[str, str]) -> Listing:
        items: list[Body] = []
        query = {"limit": str(PAGE), **selectors}
        while True:
            page = await self._call("GET", kind, kind.path(namespace), query=query)
            items += page.get("items") or ()
            token = page["metadata"].get("continue")
            if not token:
                return Listing(items, page["metadata"].get("resourceVersion", ""))
            query["continue"] = token

    async def _call(
        self,
        method: str,
        kind: Kind,
        path: str,
        body: Body | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Body:
        """Return the object in the response. Raises ApiError; Unavailable when the last retry failed as well."""
        deadline = self._clock() + DEADLINE_S
        for pause_s in backoff(self._random):
            started = self._clock()
            try:
                answer = await self._try(method, path, body, dict(query or {}), content_type)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._metrics.called(method, kind.plural, 0, self._clock() - started)
                failure: ApiError = Unavailable(f"{method} {path}: {type(error).__name__}: {error}".rstrip(": "))
            else:
                self._metrics.called(method, kind.plural, answer.status, self._clock() - started)
                if answer.status < 300:
                    return answer.body
                failure = error_of(answer.status, answer.body, f"{method} {path}")
                # A budget is no overload: it allows the eviction only once another pod is ready again.
                if not is_transient(answer.status) or isinstance(failure, OverBudget):
                    raise failure
                pause_s = max(pause_s, answer.pause_s)
            if self._clock() + pause_s >= deadline:
                raise failure
            self.retries += 1
            self._metrics.repeated()
            log.info("request.repeated", method=method, path=path, reason=str(failure), pause_s=round(pause_s, 3))
            await self._sleep(pause_s)
        raise AssertionError("the backoff never ends")

    async def _try(
        self, method: str, path: str, body: Body | None, query: Mapping[str, str], content_type: str
    ) -> _Answer:
        timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)
        response = await self._send(method, path, body, query, content_type, timeout)
        async with response.response:
            content = await response.read()
        return _Answer(response.status, _decoded(content, response.status), retry_after_s(response.headers))

    async def _send(
        self,
        method: str,
        path: str,
        body: Body | None,
        query: Mapping[str, str],
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> Any:
        host = self._client.configuration.host
        headers = {"Accept": "application/json", "Content-Type": content_type}
        _, url, headers, sent, _ = await self._client.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"], _host=host
        )
        if query:
            url = f"{url}?{urlencode(query)}"
        return await self._client.rest_client.request(  # type: ignore[no-untyped-call]
            method, url, headers, sent, _request_timeout=timeout
        )


def _selection(selector: Mapping[str, str] | None, fields: Mapping[str, str] | None) -> dict[str, str]:
    query = {"labelSelector": _terms(selector or {}), "fieldSelector": _terms(fields or {})}
    return {key: value for key, value in query.items() if value}


def _terms(required: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(required.items()))


def _decoded(content: bytes, status: int) -> Body:
    """Return the response as JSON; the text of a proxy in between becomes a message."""
    try:
        decoded: Any = json.loads(content)
    except ValueError:
        decoded = None
    if isinstance(decoded, dict):
        return decoded
    if status < 300:
        raise aiohttp.ClientPayloadError("the response is not a JSON object")
    return {"message": content[:200].decode(errors="replace")}


@contextlib.asynccontextmanager
async def connect(
    kubeconfig: str | None = None, metrics: OperatorMetrics | None = None, *, watches: int = 0
) -> AsyncIterator[Kube]:
    """Connect to the API server, with the pod's ServiceAccount or a kubeconfig. Raises ConfigException.

    `watches` run at the same time: they must not take the connections of requests.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS + watches
    if kubeconfig is not None:
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfig, client_configuration=configuration
        )
    else:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with ApiClient(configuration) as client:
        yield Kube(client, metrics=metrics)


__all__ = ["ConfigException", "Kube", "connect"]
