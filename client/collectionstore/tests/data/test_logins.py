"""Logging in and out, against a scripted server that answers as the store does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from collectionstore.contexts import file
from collectionstore.tests.data.running import Csctl

TOKEN = "cst_0123456789abcdef_sekrit"
PASSWORD = "hunter2-sekrit"


class Server(ThreadingHTTPServer):
    """Knows one user and one token; keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[tuple[str, str, str | None, Any]] = []
        self.valid = True
        # Without looks for members, which end with the command, perhaps in the middle of an answer.
        self.url = f"http://127.0.0.1:{self.server_address[1]}/?discovery=off"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = self.headers.get("Authorization")
        path = self.path.partition("?")[0]
        self.server.sent.append((self.command, path, said, json.loads(body or b"null")))
        known = said == f"Bearer {TOKEN}" and self.server.valid
        if path == "/api/v1/login":
            given = json.loads(body)
            if given != {"user": "ada", "password": PASSWORD}:
                return self._refuse()
            expires_ms = round(time.time() * 1000) + 3_600_000
            return self._answer(201, {"token": TOKEN, "id": "x", "expires_ms": expires_ms, "expires_in_s": 3600})
        if not known:
            return self._refuse()
        if path == "/api/v1/logout":
            self.server.valid = False
            return self._answer(200, {"revision": 1})
        who = {"user": "ada", "method": "token", "roles": ["reader"], "mode": "Enforced", "administers": False}
        return self._answer(200, who)

    def _refuse(self) -> None:
        self._answer(401, {"code": "unauthorized", "status": 401, "detail": "log in", "outcome": "not_applied"})

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def csctl(server: Server, tmp_path: Path) -> Csctl:
    made = Csctl("", tmp_path)
    made.environment["COLLECTIONSTORE_URL"] = None
    made.ok("context", "set", "here", "--url", server.url)
    return made


def stored(csctl: Csctl) -> file.Context:
    return file.read(csctl.folder / "contexts.json").context("here")


def test_a_login_is_kept_used_and_ended(csctl: Csctl, server: Server) -> None:
    assert csctl("whoami").code == 11
    done = csctl.ok("login", "ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert done.out == "Logged in as ada, in the context here, for 60 minutes.\n"
    assert (stored(csctl).token, stored(csctl).user, stored(csctl).password) == (TOKEN, "ada", "")
    assert csctl.ok("whoami", "-o", "json").json["user"] == "ada"
    assert server.sent[-1][2] == f"Bearer {TOKEN}"

    # A new login does not show the old token, which may have ended.
    csctl.ok("login", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert next(said for _, path, said, _ in reversed(server.sent) if path == "/api/v1/login") is None

    assert csctl.ok("logout").out == "Logged out. The context here has no token any more.\n"
    assert (stored(csctl).token, server.valid) == ("", False)
    assert csctl("logout").code == 2


def test_a_wrong_password_is_11_and_is_nowhere(csctl: Csctl, server: Server) -> None:
    outcome = csctl("login", "ada", "--password-stdin", stdin="wrong-sekrit\n")
    assert (outcome.code, "sekrit" in outcome.out + outcome.err) == (11, False)
    assert outcome.err == "Error: cannot log in as ada: there is no such user, or the password is wrong\n"
    assert stored(csctl).token == ""
    # One request alone: a password that is wrong is not tried again and again.
    assert [path for _, path, _, _ in server.sent].count("/api/v1/login") == 1
    assert csctl("login", "ada", "--password-stdin", stdin="\n").code == 2


def test_a_logout_of_a_token_that_has_ended_forgets_it(csctl: Csctl, server: Server) -> None:
    csctl.ok("login", "ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    server.valid = False
    assert "ended in the store already" in csctl.ok("logout").out
    assert stored(csctl).token == ""


def test_a_login_makes_a_context(csctl: Csctl, server: Server) -> None:
    csctl.ok("login", "ada", "--url", server.url, "--save", "new", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert csctl.ok("context", "list", "-o", "json").json[-1] == {
        "current": True,
        "name": "new",
        "place": server.url.partition("/?")[0],
        "credential": "token",
    }
