"""Backups of members that show clients a certificate of the user: they are asked for by their own names."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from collectionstore_node.backup.errors import InvalidUse, Unreachable
from collectionstore_node.backup.member_names import member_name
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.security.client_tls import ClientTls
from collectionstore_node.tests.transport.doubles import Authority

MEMBER = "shop-0"
HOST = f"{MEMBER}.shop-peers.data.svc"
OTHER = "shop-9.shop-peers.data.svc"


class _Answers(http.server.BaseHTTPRequestHandler):
    cluster: ClassVar[dict[str, Any]] = {"cluster_id": "shop-1", "leader": None, "members": []}

    def do_GET(self) -> None:
        """Answer as the API does."""
        body = json.dumps(self.cluster).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The client port of a member with a certificate of the user, for all names of members; DNS finds it."""
    own, given = tmp_path / "own", tmp_path / "given"
    Authority("cluster").issue(own, MEMBER, dns=["localhost", MEMBER, HOST])
    Authority("public").issue(given, "store", uris=[], dns=["*.shop-peers.data.svc"])
    found = socket.getaddrinfo

    def resolve(host: str, *rest: object, **more: object) -> object:
        return found("127.0.0.1" if host in (HOST, OTHER) else host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with served(ClientTls(own, name=MEMBER, given=given)) as number:
        yield number


@contextmanager
def served(tls: ClientTls) -> Iterator[int]:
    """Answer on a port of its own until the context ends."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.socket = tls.listening.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def source(folder: Path, url: str, *, member_names: bool) -> Source:
    return Source([url], Access(ca_file=folder / "own" / "ca.crt", member_names=member_names))


def test_a_member_is_verified_by_its_name_alone(port: int, tmp_path: Path) -> None:
    """The certificate of the user covers its host, and its authority is not trusted here."""
    url = f"https://{HOST}:{port}"
    with pytest.raises(Unreachable, match="certificate verify failed"):
        source(tmp_path, url, member_names=False).cluster()
    assert source(tmp_path, url, member_names=True).cluster().cluster_id == "shop-1"


def test_another_member_is_not_taken_for_the_one_that_was_asked_for(port: int, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="certificate verify failed"):
        source(tmp_path, f"https://{OTHER}:{port}", member_names=True).cluster()


@pytest.mark.parametrize("by_name", [False, True])
def test_without_a_certificate_of_the_user_both_ways_work(port: int, tmp_path: Path, *, by_name: bool) -> None:
    """A member whose Secret is missing has one certificate for all names."""
    with served(ClientTls(tmp_path / "own", name=MEMBER)) as number:
        assert source(tmp_path, f"https://{HOST}:{number}", member_names=by_name).cluster().cluster_id == "shop-1"


def test_a_member_at_an_address_is_asked_for_by_the_name_that_is_given(port: int, tmp_path: Path) -> None:
    """Without a name it shows the certificate of the user, which is not trusted here."""
    url = f"https://127.0.0.1:{port}"
    for by_name in (False, True):
        with pytest.raises(Unreachable, match="certificate verify failed"):
            source(tmp_path, url, member_names=by_name).cluster()
        assert source(tmp_path, f"{MEMBER}={url}", member_names=by_name).cluster().cluster_id == "shop-1"
    with pytest.raises(Unreachable, match="certificate verify failed"):
        source(tmp_path, f"shop-9={url}", member_names=True).cluster()


def test_members_at_addresses_are_asked_for_by_the_names_that_another_one_tells(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may advertise the addresses of their pods."""
    address = f"https://127.0.0.1:{port}"
    leader = {"node_id": "1", "http_address": address}
    told = {"node_id": "1", "name": MEMBER, "http_address": address, "role": "Voter"}
    monkeypatch.setattr(_Answers, "cluster", {"cluster_id": "shop-1", "leader": leader, "members": [told]})
    found = source(tmp_path, f"https://{HOST}:{port}", member_names=True)

    (member,) = found.cluster().members

    assert found.cluster_of(member) == "shop-1"


def test_a_replaced_certificate_does_not_lose_the_names(port: int, tmp_path: Path) -> None:
    found = source(tmp_path, f"{MEMBER}=https://127.0.0.1:{port}", member_names=True)
    os.utime(tmp_path / "own" / "ca.crt", ns=(1, 1))
    assert found.cluster().cluster_id == "shop-1"


def test_a_name_needs_the_authority_of_the_cluster() -> None:
    with pytest.raises(InvalidUse, match=r"shop-0=https://10\.0\.0\.5:7400 names a member, which needs --ca-file"):
        Source(["shop-0=https://10.0.0.5:7400"], Access())


def test_names_need_the_authority_of_the_cluster() -> None:
    with pytest.raises(InvalidUse, match="--member-names needs --ca-file"):
        Source([f"https://{HOST}"], Access(member_names=True))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (HOST, MEMBER),
        (MEMBER, MEMBER),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_name_of_a_member_is_the_first_label_of_its_host(host: str, name: str) -> None:
    assert member_name(host) == name
