"""TLS connections that ask for a member, and verify it, by its name alone: the first label of its host.

By that name a member always shows the certificate of the cluster's authority. By the others it may show one that the
user gives for clients, whose authority is not trusted here. The operator does the same.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import urllib.request
from typing import Any


def member_name(host: str) -> str:
    """Return the first label of a DNS name; an IP address as it is."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.partition(".")[0]
    return host


class MemberHandler(urllib.request.HTTPSHandler):
    """Opens `https` URLs of members."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._tls = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a URL. Raises `URLError`."""

        def connect(host: str, **options: Any) -> _MemberConnection:
            return _MemberConnection(host, self._tls, **options)

        return self.do_open(connect, req)


class _MemberConnection(http.client.HTTPConnection):
    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(host, **options)
        self._tls = tls

    def connect(self) -> None:
        """Connect, and shake hands by the member's name."""
        super().connect()
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=member_name(self.host))
