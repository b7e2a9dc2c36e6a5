"""The token of a local cluster: without client TLS it proves that a request comes from the owner of the cluster.

Loopback alone proves nothing: every user of the machine, and every page in a browser by DNS rebinding, reaches it. The
token is in a file that only its owner can read; `csctl` and the supervisor send it as `Authorization: Bearer` (RFC
6750, 2.1).
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

import structlog

TOKEN_CHARACTERS_MIN: Final = 32
TOKEN_BYTES_MAX: Final = 4 << 10
_OTHERS: Final = 0o077

log = structlog.get_logger()


class AdminToken:
    """The token in a file, read at every use: a new one needs no restart. It is never logged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problem = ""

    def matches(self, authorization: str) -> bool:
        """Return whether the value of an Authorization header carries the token, in constant time."""
        expected = self._read()
        scheme, _, given = authorization.partition(" ")
        # Compared in any case, and as bytes: a header may hold what `compare_digest` takes from no text.
        equal = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), expected)
        return equal and bool(expected) and scheme.lower() == "bearer"

    def _read(self) -> bytes:
        """Return the token; empty, which matches nothing, when the file cannot be trusted."""
        try:
            if self._path.stat().st_mode & _OTHERS:
                return self._distrust("others may read or write it; allowed: mode 0600")
            with self._path.open("rb") as file:
                token = file.read(TOKEN_BYTES_MAX).strip()
        except OSError as error:
            return self._distrust(error.strerror or type(error).__name__)
        if len(token) < TOKEN_CHARACTERS_MIN:
            return self._distrust(f"it has less than {TOKEN_CHARACTERS_MIN} characters")
        self._problem = ""
        return token

    def _distrust(self, problem: str) -> bytes:
        if problem != self._problem:
            self._problem = problem
            log.error("token.refused", file=str(self._path), reason=problem)
        return b""
