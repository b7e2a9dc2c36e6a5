"""Wildcard addresses open both families; loopback is recognized in both."""

from __future__ import annotations

import asyncio
import socket

import pytest

from collectionstore_telemetry.listening import bind_host, is_loopback


@pytest.mark.parametrize(
    ("host", "bound"), [("0.0.0.0", None), ("::", None), ("127.0.0.1", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")]
)
def test_only_wildcards_open_both_families(host: str, bound: str | None) -> None:
    assert bind_host(host) == bound


async def test_a_wildcard_listens_in_every_family_that_the_kernel_has() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, bind_host("0.0.0.0"), 0)
    try:
        families = {one.family for one in server.sockets}
    finally:
        server.close()
    assert socket.AF_INET in families
    assert (socket.AF_INET6 in families) == _has_ipv6()


async def test_without_ipv6_in_the_kernel_a_wildcard_listens_in_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = socket.socket

    def without_ipv6(family: int = -1, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return usual(family, *rest)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, bind_host("::"), 0)
    try:
        assert [one.family for one in server.sockets] == [socket.AF_INET]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("remote", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.1.2.3", False),
        ("10.1.2.3", False),
        ("fe80::1", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_is_recognized(remote: str | None, local: bool) -> None:  # noqa: FBT001 - a table
    assert is_loopback(remote) is local


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::", 0))
    except OSError:
        return False
    return True
