"""The ports at which an object store of backups is reached, for NetworkPolicies. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from collectionstore_operator.resource.repository import Repository

HTTPS_PORT: Final = 443
HTTP_PORT: Final = 80
ROLE_PORTS: Final = (80, 988)
"""Where the machines of clouds answer for the credentials of a role; 988 is that of Google's metadata server."""


def store_ports(repository: Repository) -> list[int]:
    """Return the ports, ascending; none for a volume. Every option that is a URL may be one that the store is at."""
    if repository.url.startswith("file://"):
        return []
    ports = {HTTPS_PORT}
    if repository.credentials_secret_name is None:
        ports |= set(ROLE_PORTS)
    for value in repository.options.values():
        if value.startswith(("http://", "https://")):
            try:
                found = urlsplit(value)
                ports.add(found.port or (HTTP_PORT if found.scheme == "http" else HTTPS_PORT))
            except ValueError:
                continue  # the program reports an invalid URL; it can reach nothing with it
    return sorted(ports)
