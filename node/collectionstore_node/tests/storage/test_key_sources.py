"""Sources of keys: files, commands and services, and what is wrong with each."""

from __future__ import annotations

import base64
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from collectionstore_node.encryption_settings import is_service_url
from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.settings import InvalidSetting, encryption_settings
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.encryption import sealing
from collectionstore_node.storage.encryption.sealing import MAGIC, OVERHEAD_BYTES, DataKeys
from collectionstore_node.storage.encryption.sources import (
    DirectoryOfKeys,
    KeyCommand,
    KeyService,
    Wrapped,
    key_source,
)

KEY = bytes(range(32))


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_files_wrap_with_the_last_name(tmp_path: Path) -> None:
    """Links and directories of a mounted Secret are no keys."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "1").write_text("00" * 32)
    (tmp_path / "2").write_text("11" * 32)
    source = DirectoryOfKeys(tmp_path)
    wrapped = source.wrap(KEY)
    assert wrapped.key_id == source.current() == "2"
    assert KEY not in wrapped.data
    assert source.unwrap(wrapped) == KEY
    with pytest.raises(DataDirectoryRefused, match=r"cannot be read|holds 0 bytes"):
        source.unwrap(Wrapped("../secret", wrapped.data))


def test_a_command_gets_and_gives_one_line_of_base64(tmp_path: Path) -> None:
    """Its verb is the last argument."""
    path = script(tmp_path / "kms", 'test "$1" = -k || exit 9; case "$2" in wrap) rev;; unwrap) rev;; esac')
    source = KeyCommand([path, "-k"])
    assert source.unwrap(source.wrap(b"abc" * 11)) == b"abc" * 11


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo no such key >&2; exit 3", "ended with 3: no such key"),
        ("exit 4", "ended with 4: no message"),
        ("echo '%%%'", "not one line of base64"),
        ("cat >/dev/null", "not one line of base64"),
    ],
)
def test_a_command_that_fails_is_named_with_what_it_said(tmp_path: Path, text: str, message: str) -> None:
    """And not what it was given."""
    with pytest.raises(DataDirectoryRefused, match=message) as found:
        KeyCommand([script(tmp_path / "kms", text)]).wrap(KEY)
    assert base64.b64encode(KEY).decode() not in str(found.value)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """The error of the system is shown."""
    with pytest.raises(DataDirectoryRefused, match="No such file"):
        KeyCommand([str(tmp_path / "none")]).wrap(KEY)


class Answers(http.server.BaseHTTPRequestHandler):
    """Turns the bytes around, for those who bear the token."""

    status: ClassVar[int] = 200
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": base64.b64encode(KEY).decode()}).encode())

    def do_POST(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.headers["Authorization"] == "Bearer let me"
        data = base64.b64encode(base64.b64decode(body["data"])[::-1]).decode()
        self.send_response(self.status if right else 403)
        self.end_headers()
        self.wfile.write(json.dumps({"data": data} if self.path in ("/v1/wrap", "/v1/unwrap") else {}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A service on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_service_wraps_and_unwraps(tmp_path: Path, url: str) -> None:
    """With a token from a file; without it, or elsewhere, it is said to have not answered."""
    token = tmp_path / "token"
    token.write_text("let me\n")
    source = KeyService(f"{url}/v1/", token)
    assert source.unwrap(source.wrap(KEY)) == KEY
    with pytest.raises(DataDirectoryRefused, match="HTTP Error 403"):
        KeyService(f"{url}/v1").wrap(KEY)
    with pytest.raises(DataDirectoryRefused, match="not one line of base64"):
        KeyService(url, token).wrap(KEY)
    with pytest.raises(DataDirectoryRefused, match="does not answer as it should"):
        KeyService("http://127.0.0.1:1", token).wrap(KEY)


def test_a_key_and_its_token_go_nowhere_else(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where a service points to, and not by a proxy that the environment names."""
    token = tmp_path / "token"
    token.write_text("let me\n")
    Answers.asked.clear()
    with pytest.raises(DataDirectoryRefused, match="HTTP Error 302"):
        KeyService(f"{url}/moved", token).wrap(KEY)
    assert Answers.asked == ["/moved/wrap"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    source = KeyService(f"{url}/v1", token)
    assert source.unwrap(source.wrap(KEY)) == KEY


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("https://kms.example/v1", True),
        ("http://127.0.0.1:8200", True),
        ("http://[::1]:8200", True),
        ("http://kms.example/v1", False),
        ("file:///etc/passwd", False),
        ("ftp://localhost/x", False),
        ("", False),
    ],
)
def test_a_key_goes_over_a_network_by_https_only(given: str, allowed: bool) -> None:  # noqa: FBT001
    """In the clear to this machine at most."""
    assert is_service_url(given) is allowed


def test_settings_name_one_source(tmp_path: Path) -> None:
    """None without them; two are refused, and so is a service that keys would go to in the clear."""
    assert key_source(encryption_settings({})) is None
    found = encryption_settings({"COLLECTIONSTORE_ENCRYPTION_COMMAND": "kms -k 'a b'"})
    assert found.command == ("kms", "-k", "a b")
    assert isinstance(key_source(found), KeyCommand)
    directory = key_source(encryption_settings({"COLLECTIONSTORE_ENCRYPTION_KEYS_DIR": str(tmp_path)}))
    assert isinstance(directory, DirectoryOfKeys)
    for wrong in (
        {"COLLECTIONSTORE_ENCRYPTION_URL": "http://kms.example"},
        {"COLLECTIONSTORE_ENCRYPTION_COMMAND": "kms 'open"},
        {"COLLECTIONSTORE_ENCRYPTION_COMMAND": "kms", "COLLECTIONSTORE_ENCRYPTION_KEYS_DIR": "/keys"},
    ):
        with pytest.raises(InvalidSetting, match="COLLECTIONSTORE_ENCRYPTION"):
            encryption_settings(wrong)


# Sealing


def test_sealing_binds_a_value_to_its_place() -> None:
    """Other keys, places and bytes do not open it; a plain value is as it is."""
    keys = DataKeys({1: KEY, 2: os.urandom(32)}, active=2)
    sealed = keys.seal(b"sk", b"value")
    assert (sealed[:4], len(sealed)) == (MAGIC, len(b"value") + OVERHEAD_BYTES)
    assert keys.open(b"sk", sealed) == b"value"
    assert keys.open(b"sk", b"value") == b"value"
    assert keys.seal(b"sk", b"value") != sealed
    for place, value in (
        (b"sj", sealed),
        (b"lk", sealed),
        (b"sk", sealed[:-1]),
        (b"sk", sealed[:10]),
        (b"sk", sealed[:-1] + bytes((sealed[-1] ^ 1,))),
    ):
        with pytest.raises(Corrupted):
            keys.open(place, value)
    with pytest.raises(Corrupted, match="data key 2, which is not in the file KEYS"):
        DataKeys({1: KEY}, active=1).open(b"sk", sealed)
    assert DataKeys({1: KEY}, active=1).is_current(sealed) is False
    assert keys.is_current(sealed) is True
    assert keys.is_current(b"value") is False


def test_no_nonce_is_used_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the counter ends."""
    monkeypatch.setattr(sealing, "COUNTER_MAX", 5)
    keys = DataKeys({1: KEY}, active=1)
    nonces = [keys.seal(b"", b"")[8:20] for _ in range(23)]
    assert len(set(nonces)) == 23
    assert len({nonce[:8] for nonce in nonces}) == 5
