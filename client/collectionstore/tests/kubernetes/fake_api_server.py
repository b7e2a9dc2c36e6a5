"""A stand-in for the API server that serves objects over HTTP from memory, and takes merge patches and new objects."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from kubernetes.client import ApiClient, Configuration

from collectionstore.kubernetes.api_server import ApiServer, Object
from collectionstore.operate.changes import patched

PAGE_SIZE = 2
"""Objects in a page at most, whatever the limit of the request."""


class Response(NamedTuple):
    """What is sent back; a body that is not bytes is sent as JSON."""

    status: int
    body: object


class Request(NamedTuple):
    path: str
    query: dict[str, str]
    method: str = "GET"
    body: Any = None


def refusal(status: int, reason: str, message: str) -> Response:
    """Return a refusal of the API server itself."""
    return Response(status, {"kind": "Status", "code": status, "reason": reason, "message": message})


def _lists(path: str) -> tuple[str, str]:
    """Return the paths of the lists that have the object of this path: of its namespace, and of all namespaces."""
    listed = path.rpartition("/")[0]
    return listed, re.sub(r"/namespaces/[^/]+/", "/", listed)


class FakeApiServer:
    """Objects by path, and all requests. A context manager that returns a client of it."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[Request] = []
        self.tokens: list[str | None] = []
        """The Authorization header of every request."""
        self.url = ""
        self.behave: Callable[[Request], Response | None] = lambda _request: None
        """Called first for every request; its response is sent, None is for the objects."""

    def __enter__(self) -> ApiServer:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                sent = json.loads(self.rfile.read(length)) if length else None
                request = Request(url.path, dict(parse_qsl(url.query)), self.command, sent)
                fake.requests.append(request)
                fake.tokens.append(self.headers.get("Authorization"))
                response = fake.behave(request) or fake._serve(request)
                body = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
                self.send_response(response.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PATCH = do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name in the base class
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._client = ApiClient(Configuration(host=self.url))
        return ApiServer(self._client)

    def __exit__(self, *_error: object) -> None:
        self._client.rest_client.pool_manager.clear()
        self._client.close()  # type: ignore[no-untyped-call]
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: Request) -> Response:
        if request.method == "POST":
            path = f"{request.path}/{request.body['metadata']['name']}"
            self.objects[path] = request.body
            return Response(201, request.body)
        found = self.objects.get(request.path)
        if request.method == "PATCH" and found is not None:
            self.objects[request.path] = patched(found, request.body)
            return Response(200, self.objects[request.path])
        if found is not None:
            return Response(200, found)
        plural = request.path.rpartition("/")[2]
        if not plural.endswith("s"):
            return refusal(404, "NotFound", f"{request.path} not found")
        items = [body for path, body in self.objects.items() if request.path in _lists(path)]
        selector = [term.split("=") for term in request.query.get("labelSelector", "").split(",") if term]
        items = [
            one for one in items if all(one["metadata"].get("labels", {}).get(key) == value for key, value in selector)
        ]
        start = int(request.query.get("continue", "0"))
        rest = str(start + PAGE_SIZE) if start + PAGE_SIZE < len(items) else ""
        return Response(200, {"items": items[start : start + PAGE_SIZE], "metadata": {"continue": rest}})
