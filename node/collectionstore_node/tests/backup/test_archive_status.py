"""The port at which an archive says how far it is: for several clients, also while some are slow or speak no HTTP."""

from __future__ import annotations

import json
import socket
import urllib.request

import pytest

from collectionstore_node.backup import archive_status
from collectionstore_node.backup.archive_lag import Lag
from collectionstore_node.backup.archive_status import CLIENTS_MAX, HEAD_BYTES_MAX, ArchiveStatus, served
from collectionstore_node.backup.errors import InvalidUse

_REQUEST = b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n"


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=20)


def ask(port: int, host: str = "127.0.0.1") -> dict[str, object]:
    with connect(port, host) as client:
        client.sendall(_REQUEST)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    found: dict[str, object] = json.loads(body)
    return found


def ended(client: socket.socket) -> bool:
    """Return whether the server has closed or reset a connection, without an answer."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_the_answer_has_the_lag_and_its_age() -> None:
    now = 5.0
    aged = ArchiveStatus(lambda: now)
    assert aged.described() == {"started": False}
    aged.tell(Lag(7, 9, revisions=3, bytes=250, covered=4.0))
    now = 7.5
    assert aged.described() == {
        "started": True,
        "archived_index": 7,
        "applied_index": 9,
        "lag_entries": 2,
        "lag_seconds": 3.5,
        "lag_revisions": 3,
        "lag_bytes": 250,
        "age_seconds": 2.5,
    }


def test_it_is_served_to_clients_of_http() -> None:
    with served("127.0.0.1:0") as status:
        status.tell(Lag(7, 9))
        with urllib.request.urlopen(f"http://127.0.0.1:{status.port}/", timeout=5) as answer:
            assert json.loads(answer.read())["archived_index"] == 7


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]"])
def test_a_wildcard_is_reached_by_ipv4_and_ipv6(address: str) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with served(f"{address}:{port}") as status:
        assert status.port == port
        assert ask(port, "127.0.0.1") == ask(port, "::1") == {"started": False}


def test_slow_clients_do_not_keep_others_from_being_answered() -> None:
    """Init: as many clients as there is room for, each with half a request. Step: one more asks. Check: it is answered,
    and the one that has been there for longest is cut."""
    with served("127.0.0.1:0") as status:
        slow = [connect(status.port) for _ in range(CLIENTS_MAX)]
        for one in slow:
            one.sendall(b"GET / HT")
        for _ in range(3):
            assert ask(status.port) == {"started": False}
        assert ended(slow[0])
        for one in slow:
            one.close()


def test_a_client_that_trickles_is_cut_by_its_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then never runs into a timeout of single reads."""
    monkeypatch.setattr(archive_status, "CLIENT_S", 0.3)

    with served("127.0.0.1:0") as status:
        with connect(status.port) as client:
            client.sendall(b"GET / HTTP/1.1\r\n")
            client.settimeout(0.05)
            assert any(_cut(client) for _ in range(400)), "it was never cut"
        assert ask(status.port) == {"started": False}


def _cut(client: socket.socket) -> bool:
    """Send a byte, and return whether the connection has ended."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent", [b"x" * (HEAD_BYTES_MAX + 10_000), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r", b""]
)
def test_what_is_no_request_ends(sent: bytes) -> None:
    with served("127.0.0.1:0") as status, connect(status.port) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert ended(client)
        assert ask(status.port) == {"started": False}


def test_an_address_that_is_taken_is_said() -> None:
    with (
        served("127.0.0.1:0") as status,
        pytest.raises(InvalidUse, match="--status-address"),
        served(f"127.0.0.1:{status.port}"),
    ):
        raise AssertionError("it was served twice")


def test_a_host_that_no_resolver_takes_is_said_and_not_waited_for() -> None:
    """A label has at most 63 characters: what refuses a longer one is no OSError."""
    with pytest.raises(InvalidUse, match="is no name of a host"), served(f"{'a' * 64}:0"):
        raise AssertionError("it was served")


def test_whatever_keeps_it_from_being_served_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_host: str) -> str:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(archive_status, "bind_host", broken)
    with pytest.raises(RuntimeError, match="unforeseen"), served("127.0.0.1:0"):
        raise AssertionError("it was served")


@pytest.mark.parametrize("address", ["7403", "host:", ":70000", "host:99999"])
def test_the_address_is_checked(address: str) -> None:
    with pytest.raises(InvalidUse, match="HOST:PORT"), served(address):
        raise AssertionError("it was served")
