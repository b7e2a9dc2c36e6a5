"""TLS connections that ask for a member, and verify it, by its name alone: the first label of its host, or as told.

By that name a member always shows the certificate of the cluster's authority. By the others it may show one that the
user gives for clients, whose authority is not trusted here; so it may to whom asks for none, as those do who connect to
an address. The operator does the same.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import urllib.request
from typing import Any
from urllib.parse import urlsplit


def member_name(host: str) -> str:
    """Return the first label of a DNS name; an IP address as it is."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.partition(".")[0]
    return host


class MemberNames:
    """The names of members by the host and port of their URLs, where they are told; else by the host."""

    def __init__(self, *, by_host: bool) -> None:
        """`by_host`: a host that is not told has the name of its first label; without it, it is asked for as it is."""
        self._by_host = by_host
        self._told: dict[tuple[str, int], str] = {}

    def tell(self, url: str, name: str) -> None:
        """Keep the name of the member at a URL."""
        try:
            parts = urlsplit(url)
            self._told[parts.hostname or "", parts.port or http.client.HTTPS_PORT] = name
        except ValueError:
            return  # nothing can be reached there, which is said when it is tried

    def of(self, host: str, port: int) -> str:
        """Return the name to ask for and to verify."""
        return self._told.get((host.lower(), port)) or (member_name(host) if self._by_host else host)


class MemberHandler(urllib.request.HTTPSHandler):
    """Opens `https` URLs of members."""

    def __init__(self, context: ssl.SSLContext, names: MemberNames) -> None:
        super().__init__(context=context)
        self._tls = context
        self._names = names

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a URL. Raises `URLError`."""

        def connect(host: str, **options: Any) -> _MemberConnection:
            return _MemberConnection(host, self._tls, self._names, **options)

        return self.do_open(connect, req)


class _MemberConnection(http.client.HTTPConnection):
    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, tls: ssl.SSLContext, names: MemberNames, **options: Any) -> None:
        super().__init__(host, **options)
        self._tls = tls
        self._names = names

    def connect(self) -> None:
        """Connect, and shake hands by the member's name."""
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._names.of(self.host, self.port))
