"""Files of pages: with an entity tag, compressed where the client takes it, and a policy that runs no other script.

A page and its parts are files of the package, read and compressed once, at the first request for each.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cached_property
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.preconditions import unchanged

_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
REVALIDATED: Final = b"Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
"""Kept, and asked about before each use: a member that is upgraded shows its new page at once."""
_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    b"Cross-Origin-Opener-Policy: same-origin\r\n"
    b"Cross-Origin-Resource-Policy: same-origin\r\n"
    b"Referrer-Policy: no-referrer\r\n"
    b"X-Frame-Options: DENY\r\n"
)
"""Nothing from another host, no script that is written into a page, and no text that becomes markup: Trusted Types
refuse it where the browser has them."""


class Asset:
    """A file of a page, by the ending of its name."""

    def __init__(self, file: Traversable) -> None:
        self._file = file
        self._content_type = _TYPES[file.name.rpartition(".")[2]]

    @cached_property
    def content(self) -> bytes:
        """The file."""
        return self._file.read_bytes()

    @cached_property
    def compressed(self) -> bytes:
        """The file by gzip; the same bytes on every member, as no time is in them."""
        return gzip.compress(self.content, mtime=0)

    @cached_property
    def tag(self) -> str:
        """The text of the entity tag."""
        return hashlib.sha256(self.content).hexdigest()[:20]

    def answer(self, headers: CIMultiDictProxy[str]) -> Answer:
        """Return the answer to a request with these headers: the file, or 304. Raises `Problem`."""
        zipped = _takes_gzip(headers.get(hdrs.ACCEPT_ENCODING, ""))
        # Each form has a tag of its own: a strong tag is about bytes (RFC 9110 8.8.3.3).
        tag = f"{self.tag}-gzip" if zipped else self.tag
        about = b'ETag: "%s"\r\nVary: Accept-Encoding\r\n%s' % (tag.encode(), REVALIDATED)
        if unchanged(headers, tag):
            return Answer(304, about)
        lines = b"Content-Type: %s\r\n%s%s" % (self._content_type, about, _POLICY)
        if zipped:
            return Answer(200, lines + b"Content-Encoding: gzip\r\n", self.compressed)
        return Answer(200, lines, self.content)


def _takes_gzip(accepted: str) -> bool:
    """Return whether a client takes gzip, by its Accept-Encoding (RFC 9110 12.5.3)."""
    for part in accepted.split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip().lower() in ("gzip", "x-gzip"):
            weight = parameters.replace(" ", "").lower().removeprefix("q=")
            return not weight or weight.strip("0.") != ""
    return False
