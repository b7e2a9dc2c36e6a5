"""A client of the API server: objects, lists in pages, logs, pages of pods through the pod proxy, and single changes.

Connections, credentials and retries are those of the official `kubernetes` package and its urllib3; its models are not
used, because they drop the fields of a newer API server. The package is imported on first use: it belongs to the extra
`collectionstore[kubernetes]`.
Blocking; every call ends within the timeouts below, so that it can run in a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlencode

from collectionstore.cli.exit_codes import CommandError

if TYPE_CHECKING:
    import urllib3
    from kubernetes.client import ApiClient

from collectionstore.kubernetes.names import Resource

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""

KUBECONFIG: Final = "KUBECONFIG"
PAGE_SIZE: Final = 250
TRY_TIMEOUT_S: Final = 5.0
"""Of one try of a GET of an object or a page of a list."""
RETRIES: Final = 2
TRANSIENT: Final = (429, 500, 502, 503, 504)
READ_TIMEOUT_S: Final = 12.0
"""Of a log or a page of a pod, body included."""
WRITE_TIMEOUT_S: Final = 15.0
FIELD_MANAGER: Final = "csctl"
MERGE_PATCH: Final = "application/merge-patch+json"
CHUNK_BYTES: Final = 1 << 16


class ApiError(Exception):
    """The API server refused, or could not be reached; the text says what was requested and the reason."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        """`status` is that of HTTP, 0 if there was no response."""
        super().__init__(text)
        self.status = status


class KubernetesUnavailable(CommandError):
    """csctl cannot connect to a Kubernetes cluster; the text says why."""


class ApiServer:
    """One API server, as the user of a kubeconfig."""

    def __init__(self, client: ApiClient, *, namespace: str = "default") -> None:
        """`namespace` is that of the context in the kubeconfig, which kubectl uses unless it is told another one."""
        self._client = client
        self.namespace = namespace

    def get_object(self, path: str) -> Object:
        """Return an object. Raises ApiError."""
        return self._get(path, {})

    def list_objects(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Return all objects with these labels, page by page. Raises ApiError."""
        path = resource.path(namespace)
        query = {"limit": str(PAGE_SIZE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        try:
            return self._pages(path, query)
        except ApiError as error:
            if error.status != 410:
                raise
        # 410 Gone: the snapshot that the continue token names was compacted. One new list is enough for a report.
        return self._pages(path, query)

    def merge(self, path: str, change: Object) -> Object:
        """Apply a JSON merge patch to an object; return the object. Raises ApiError."""
        return self._write("PATCH", path, change, MERGE_PATCH)

    def create(self, path: str, body: Object) -> Object:
        """Create an object in the list at `path`; return it. Raises ApiError."""
        return self._write("POST", path, body, "application/json")

    def follow(self, path: str, query: Mapping[str, str]) -> Iterator[bytes]:
        """Yield a log in chunks as it is written, until it ends. Raises ApiError."""
        import urllib3

        try:
            response = self._request("GET", path, query, retries=False, timeout_s=None)
            try:
                if response.status >= 300:
                    raise ApiError(f"GET {path}: {_refusal(response.data)}", status=response.status)
                yield from response.stream(CHUNK_BYTES)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"GET {path}: {error}") from error

    def dial(self, namespace: str, pod: str, port: int) -> socket.socket:
        """Open a connection to a port of a pod through the API server, as a socket. Raises ApiError.

        Needs `create` and `get` of `pods/portforward`.
        """
        from kubernetes.client import ApiClient, ApiException, CoreV1Api
        from kubernetes.stream import portforward

        # A client of its own: the call replaces a method of it, and connections are opened in several threads.
        client = ApiClient(self._client.configuration)
        connect = CoreV1Api(client).connect_get_namespaced_pod_portforward
        try:
            found: socket.socket = portforward(connect, pod, namespace, ports=str(port)).socket(port)
        except ApiException as error:
            raise ApiError(f"port-forward to {pod}: {error.reason}", status=int(error.status or 0)) from error
        return found

    def read(self, path: str, query: Mapping[str, str] | None = None, *, bytes_max: int) -> bytes:
        """Return the first `bytes_max` bytes of a log, or of a page of a pod whatever its status. Raises ApiError.

        One try: a readiness page that answers 503 is a result. Only errors of the API server itself are raised.
        """
        import urllib3

        deadline = time.monotonic() + READ_TIMEOUT_S
        content = bytearray()
        try:
            response = self._request("GET", path, query or {}, retries=False, timeout_s=READ_TIMEOUT_S)
            try:
                for chunk in response.stream(CHUNK_BYTES):
                    content += chunk
                    if len(content) >= bytes_max:
                        break
                    # urllib3's timeout is per read from the socket: a body that trickles would never end.
                    if time.monotonic() > deadline:
                        raise ApiError(f"GET {path}: no complete response within {READ_TIMEOUT_S:g} s")
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"GET {path}: {error}") from error
        body = bytes(content[:bytes_max])
        if response.status >= 300 and (refusal := _refusal(body)) is not None:
            raise ApiError(f"GET {path}: {refusal}", status=response.status)
        return body

    def _pages(self, path: str, query: Mapping[str, str]) -> list[Object]:
        items: list[Object] = []
        token = ""
        while True:
            page = self._get(path, {**query, "continue": token} if token else query)
            items += page.get("items") or ()
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return items

    def _get(self, path: str, query: Mapping[str, str]) -> Object:
        import urllib3

        # Safe to repeat: a GET changes nothing. urllib3 honors Retry-After.
        retries = urllib3.Retry(
            total=RETRIES, backoff_factor=0.2, status_forcelist=TRANSIENT, raise_on_status=False, redirect=0
        )
        try:
            response = self._request("GET", path, query, retries=retries, timeout_s=TRY_TIMEOUT_S)
            content = response.data
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"GET {path}: {error}") from error
        return _decoded(f"GET {path}", response.status, content)

    def _write(self, method: str, path: str, body: Object, content_type: str) -> Object:
        import urllib3

        # Not repeated: only the caller knows whether a second one would be harmless.
        try:
            response = self._request(
                method,
                path,
                {"fieldManager": FIELD_MANAGER},
                retries=False,
                timeout_s=WRITE_TIMEOUT_S,
                body=json.dumps(body),
                content_type=content_type,
            )
            content = response.data
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"{method} {path}: {error}; it may or may not have taken effect") from error
        return _decoded(f"{method} {path}", response.status, content)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        retries: urllib3.Retry | bool,
        timeout_s: float | None,
        body: str | None = None,
        content_type: str = "",
    ) -> urllib3.BaseHTTPResponse:
        wanted = {"Accept": "*/*", **({"Content-Type": content_type} if content_type else {})}
        _, url, headers, _, _ = self._client.param_serialize(
            method, path, header_params=wanted, auth_settings=["BearerToken"]
        )
        pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        return pool.request(
            method,
            f"{url}?{urlencode(query)}" if query else url,
            body=body,
            headers=headers,
            retries=retries,
            redirect=False,
            timeout=timeout_s,
            preload_content=False,
        )


def _decoded(what: str, status: int, content: bytes) -> Object:
    if status >= 300:
        raise ApiError(f"{what}: {_refusal(content) or f'HTTP {status}'}", status=status)
    try:
        decoded = json.loads(content)
    except ValueError as error:
        raise ApiError(f"{what}: the response is not JSON") from error
    if not isinstance(decoded, dict):
        raise ApiError(f"{what}: the response is not a JSON object")
    return decoded


def _refusal(content: bytes) -> str | None:
    """Return the reason in a Status object of the API server; None for a response that came from a pod."""
    try:
        decoded = json.loads(content)
    except ValueError:
        return content[:200].decode(errors="replace").strip() or "a response without content"
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return str(decoded.get("message") or decoded.get("reason") or "refused")
    return None


def find_kubeconfig(named: str | None = None) -> str:
    """Return the kubeconfig to use, as kubectl does: the one that is named, KUBECONFIG's, or the user's."""
    return named or os.environ.get(KUBECONFIG) or str(Path("~/.kube/config").expanduser())


@contextlib.contextmanager
def connect(kubeconfig: str, *, context: str | None = None) -> Iterator[ApiServer]:
    """Connect as the user of a kubeconfig, in its current context unless one is named. Raises KubernetesUnavailable."""
    try:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config
    except ModuleNotFoundError as error:
        raise KubernetesUnavailable(
            f"a cluster on Kubernetes needs the package {(error.name or 'kubernetes').partition('.')[0]}, "
            "which is not installed. Install it: pip install 'collectionstore[kubernetes]'"
        ) from error
    configuration = Configuration()
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfig, context=context, client_configuration=configuration
        )
        known, current = list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise KubernetesUnavailable(f"cannot use the kubeconfig {kubeconfig}: {error}") from error
    chosen = current if context is None else next(one for one in known if one["name"] == context)
    with ApiClient(configuration) as client:
        try:
            yield ApiServer(client, namespace=str(chosen["context"].get("namespace") or "default"))
        finally:
            client.rest_client.pool_manager.clear()
