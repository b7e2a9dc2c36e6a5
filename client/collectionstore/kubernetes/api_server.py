"""A read-only client of the API server: objects, lists in pages, logs, and pages of pods through the pod proxy.

Connections, credentials and retries are those of the official `kubernetes` package and its urllib3; its models are not
used, because they drop the fields of a newer API server. The package is imported on first use: it belongs to the extra
`collectionstore[kubernetes]`.
Blocking; every call ends within the timeouts below, so that it can run in a thread.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlencode

from collectionstore.cli.exit_codes import CommandError

if TYPE_CHECKING:
    import urllib3
    from kubernetes.client import ApiClient

from collectionstore.kubernetes.names import Resource

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""

PAGE_SIZE: Final = 250
TRY_TIMEOUT_S: Final = 5.0
"""Of one try of a GET of an object or a page of a list."""
RETRIES: Final = 2
TRANSIENT: Final = (429, 500, 502, 503, 504)
READ_TIMEOUT_S: Final = 12.0
"""Of a log or a page of a pod, body included."""
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

    def read(self, path: str, query: Mapping[str, str] | None = None, *, bytes_max: int) -> bytes:
        """Return the first `bytes_max` bytes of a log, or of a page of a pod whatever its status. Raises ApiError.

        One try: a readiness page that answers 503 is a result. Only errors of the API server itself are raised.
        """
        import urllib3

        deadline = time.monotonic() + READ_TIMEOUT_S
        content = bytearray()
        try:
            response = self._request(path, query or {}, retries=False, timeout_s=READ_TIMEOUT_S)
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
            response = self._request(path, query, retries=retries, timeout_s=TRY_TIMEOUT_S)
            content = response.data
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"GET {path}: {error}") from error
        if response.status >= 300:
            reason = _refusal(content) or f"HTTP {response.status}"
            raise ApiError(f"GET {path}: {reason}", status=response.status)
        try:
            decoded = json.loads(content)
        except ValueError as error:
            raise ApiError(f"GET {path}: the response is not JSON") from error
        if not isinstance(decoded, dict):
            raise ApiError(f"GET {path}: the response is not a JSON object")
        return decoded

    def _request(
        self, path: str, query: Mapping[str, str], *, retries: urllib3.Retry | bool, timeout_s: float
    ) -> urllib3.BaseHTTPResponse:
        _, url, headers, _, _ = self._client.param_serialize(
            "GET", path, header_params={"Accept": "*/*"}, auth_settings=["BearerToken"]
        )
        pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        return pool.request(
            "GET",
            f"{url}?{urlencode(query)}" if query else url,
            headers=headers,
            retries=retries,
            redirect=False,
            timeout=timeout_s,
            preload_content=False,
        )


def _refusal(content: bytes) -> str | None:
    """Return the reason in a Status object of the API server; None for a response that came from a pod."""
    try:
        decoded = json.loads(content)
    except ValueError:
        return content[:200].decode(errors="replace").strip() or "a response without content"
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return str(decoded.get("message") or decoded.get("reason") or "refused")
    return None


@contextlib.contextmanager
def connect(kubeconfig: str) -> Iterator[ApiServer]:
    """Connect as the user of a kubeconfig. Raises KubernetesUnavailable."""
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
            config_file=kubeconfig, client_configuration=configuration
        )
        _, context = list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise KubernetesUnavailable(f"cannot use the kubeconfig {kubeconfig}: {error}") from error
    with ApiClient(configuration) as client:
        try:
            yield ApiServer(client, namespace=str(context["context"].get("namespace") or "default"))
        finally:
            client.rest_client.pool_manager.clear()
