"""The token of a local cluster, admin.token: proves to its nodes that a request comes from the owner of the cluster.

Created once, with mode 0600 from its first byte, in the cluster's directory, which is 0700. It is never logged.
"""

from __future__ import annotations

import secrets
from typing import Final

from collectionstore_local.state.directory import ClusterDirectory, write_atomically

TOKEN_BYTES: Final = 32


def ensure(directory: ClusterDirectory) -> str:
    """Return the token; create it if there is none."""
    token = read(directory)
    if not token:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write_atomically(directory.admin_token, token.encode() + b"\n")
    return token


def read(directory: ClusterDirectory) -> str:
    """Return the token; empty if there is none, as in a cluster of an older version."""
    try:
        return directory.admin_token.read_text().strip()
    except FileNotFoundError:
        return ""


def headers(directory: ClusterDirectory) -> dict[str, str]:
    """Return the headers for requests that change the cluster."""
    token = read(directory)
    return {"Authorization": f"Bearer {token}"} if token else {}
