"""A store that refuses the credentials, for each request that it can refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from collectionstore_node.backup.errors import CredentialsRefused
from collectionstore_node.backup.repository import Repository
from collectionstore_node.tests.backup.conftest import S3


@pytest.fixture(params=[401, 403])
def refusing(request: pytest.FixtureRequest) -> Iterator[Repository]:
    """Return a repository in a store that refuses everything."""
    status: int = request.param

    class Handler(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = _refuse

        def log_message(self, *_args: object) -> None:
            """Write no line for each request."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Repository("s3://bucket/path", S3 | {"endpoint": f"http://127.0.0.1:{server.server_port}"})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "use",
    [
        lambda one: one.put("x", b"1"),
        lambda one: one.get("x", 10),
        lambda one: list(one.objects("x/")),
        lambda one: one.folders("x/"),
        lambda one: one.delete("x"),
    ],
    ids=["put", "get", "objects", "folders", "delete"],
)
def test_every_request_that_is_refused_says_so(refusing: Repository, use: Callable[[Repository], object]) -> None:
    with pytest.raises(CredentialsRefused):
        use(refusing)
