"""The script of `helm test`, run as its pod runs it, against small servers that speak TLS and are right or wrong."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme

from collectionstore_charts.helm import CLUSTER

SCRIPT = CLUSTER / "files" / "write_and_read.py"


class Store(http.server.BaseHTTPRequestHandler):
    """Keeps documents as the real one does, as far as the script can see; `held` is shared by all requests."""

    held: dict[str, Any]
    forgets = False
    refusals: list[int]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.refusals:
            self.answer(self.refusals.pop(), {"title": "no leader"})
            return
        self.held[self.path] = {} if self.forgets else json.loads(body or b"{}")
        self.answer(201, {"revision": 1})

    def do_GET(self) -> None:
        found = self.held.get(self.path)
        self.answer(404 if found is None else 200, found or {})

    def do_DELETE(self) -> None:
        for path in [path for path in self.held if path.startswith(self.path)]:
            del self.held[path]
        self.answer(200, {})

    def answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(authority: trustme.CA, **of_the_store: object) -> Iterator[int]:
    """Serve a store over TLS on a free port."""
    state = {"held": {}, "refusals": [], **of_the_store}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OneStore", (Store,), state))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run_script(port: int, trusted: trustme.CA, folder: Path, *, timeout_s: str = "30") -> tuple[int, str]:
    """Run the script; return its exit code and what it printed."""
    trusted.cert_pem.write_to_path(str(folder / "ca.crt"))
    reported = {"SERVICE": f"127.0.0.1:{port}", "TRUST": str(folder / "ca.crt"), "TIMEOUT_SECONDS": timeout_s}
    command = [sys.executable, "-P", str(SCRIPT)]
    done = subprocess.run(command, env={**os.environ, **reported}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_store_that_keeps_what_it_is_given_passes_and_nothing_is_left(tmp_path: Path) -> None:
    authority, held = trustme.CA(), dict[str, Any]()
    with serving(authority, held=held) as port:
        code, printed = run_script(port, authority, tmp_path)
    assert code == 0, printed
    assert printed.splitlines()[-1] == "written, read and deleted over TLS"
    assert held == {}


def test_a_store_without_a_leader_is_asked_again(tmp_path: Path) -> None:
    authority = trustme.CA()
    with serving(authority, refusals=[503, 503]) as port:
        code, printed = run_script(port, authority, tmp_path)
    assert code == 0, printed


def test_a_store_that_gives_something_else_back_fails(tmp_path: Path) -> None:
    authority = trustme.CA()
    with serving(authority, forgets=True) as port:
        code, printed = run_script(port, authority, tmp_path)
    assert code == 1
    assert "another document was read than written" in printed


def test_a_request_that_is_refused_fails_at_once(tmp_path: Path) -> None:
    authority = trustme.CA()
    with serving(authority, refusals=[403]) as port:
        code, printed = run_script(port, authority, tmp_path)
    assert code == 1
    assert "403" in printed


def test_a_server_of_another_authority_fails(tmp_path: Path) -> None:
    with serving(trustme.CA()) as port:
        code, printed = run_script(port, trustme.CA(), tmp_path)
    assert code == 1
    assert "the server's certificate is refused" in printed


def test_a_store_that_never_answers_fails_when_its_time_is_over(tmp_path: Path) -> None:
    authority = trustme.CA()
    with serving(authority) as port:
        pass  # Nothing listens there now.
    code, printed = run_script(port, authority, tmp_path, timeout_s="0")
    assert code == 1
    assert "no answer in time; the last was ConnectionRefusedError" in printed
