"""`X-Request-Id`: the client's id of a request, or one made here, for problem details, responses and log lines."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import count
from typing import Final, Protocol

from multidict import istr

REQUEST_ID: Final = istr("X-Request-Id")

_ALLOWED: Final = re.compile(r"[\x21-\x7e]{1,128}")


class WithHeaders(Protocol):
    """A request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its header lines."""


class RequestIds:
    """Makes the ids of one server's requests."""

    __slots__ = ("_numbers", "_process")

    def __init__(self) -> None:
        self._numbers = count(1)
        self._process = os.urandom(4).hex()

    def of(self, request: WithHeaders) -> str:
        """Return the client's id of `request`, or a new one that is unique within the cluster's logs.

        An id that does not fit is replaced without a word: it must not break a header or a log line, and a request is
        not refused for it.
        """
        return self.kept(request.headers.get(REQUEST_ID))

    def kept(self, given: str | None) -> str:
        """Return `given` if it fits, or a new id."""
        if given is not None and _ALLOWED.fullmatch(given):
            return given
        return f"{self._process}-{next(self._numbers):x}"

    def new(self) -> bytes:
        """Return a new id, for a request that has none."""
        return b"%s-%x" % (self._process.encode(), next(self._numbers))
