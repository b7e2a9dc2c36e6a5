"""Reads the head of a request: the request line by a strict pattern, the header lines as the general path reads them.

Clients repeat themselves: the header lines of a connection's requests are nearly always the same bytes. So they are
parsed once, by aiohttp's parser (llhttp), and the result is remembered by those bytes: a lookup costs 0.2 us where the
parser costs 10. No second parser decides where a message ends, so no two can disagree.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from collectionstore_node.api.http.direct import Place
from collectionstore_node.api.http.idempotency import IDEMPOTENCY_KEY
from collectionstore_node.api.http.names import PLAIN, PLAIN_BYTES_MAX
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.request_ids import REQUEST_ID

FindPlace = Callable[[str, str], Place | None]
"""Returns where requests by a method go whose paths differ behind the given one and a slash; None for nowhere."""

Check = Callable[[RawRequestMessage], Problem | None]
"""Returns why the general path refuses a message that its parser accepts."""

REMEMBERED_MAX: Final = 512
"""Blocks of header lines that are remembered; the oldest makes room."""
REMEMBERED_BYTES_MAX: Final = 4 << 10
"""A larger block is parsed each time. Most tokens of issuers (JWT) fit in."""
PLACES_MAX: Final = 256
"""Paths up to their last part that are remembered; the oldest makes room."""
DIRECT_LINE_BYTES_MAX: Final = 512
"""A request with a longer line is not served in halves."""

_REQUEST_LINE: Final = re.compile(
    rb"(GET|PUT|POST|DELETE|HEAD) (/api/v1/(?:(?:kv|collections)/(?![^ ?]*:(?:watch|export|import)[ ?])"
    rb"|transactions(?= |\?))[!$-;=?-Z_a-z~]*) HTTP/1\.1\r\n"
)
"""Without `#`, which ends a target, and bytes that readers decode differently. Not of a watch, an export or an import,
whose answer or body has no end that is known at its beginning."""
_CHANGING: Final = re.compile(
    rb"(?:\A|(?<=\r\n))(traceparent|x-request-id|idempotency-key|if-match|if-none-match)"
    rb": ([!-~]{1,1024})\r\n(?![ \t])",
    re.IGNORECASE,
)
"""Header lines that differ from request to request, in the one form in which no two parsers read them differently:
a name, a colon, a space, and printable ASCII without spaces."""
_KEY_LINE: Final = re.compile(rb"(?:\A|(?<=\r\n))[Ii]dempotency-[Kk]ey: ([!-~]{1,255})\r\n(?![ \t])")
"""The one of them that requests in halves may have: the key that `_CHANGING` finds, if it is a valid one. Another one
elsewhere would be among the lines that are remembered, which are not plain then."""
_BLOCK_END: Final = b"\r\n\r\n"
_LINE_END: Final = b" HTTP/1.1\r\n"
_DIRECT: Final = re.compile(rb"(?:GET|PUT) /api/v1/(?:kv/[a-z0-9_-]+|collections/[a-z0-9_-]+/documents)")
"""Requests in halves up to the last slash, in the form in which names need no decoding."""
_STALE: Final = b"?consistency=stale"
"""The only parameter that they may have."""
_LAST: Final = re.compile(PLAIN.pattern.encode())
_LOOKED_AT: Final = (hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, IDEMPOTENCY_KEY, hdrs.CONTENT_ENCODING, REQUEST_ID)


class Headers(NamedTuple):
    """Header lines as they were parsed."""

    fields: CIMultiDictProxy[str]
    body_bytes: int
    plain: bool = False
    """Whether there is nothing in them that handlers in halves would have to look at."""
    json: bool = False
    """Whether the body is declared as JSON, in the usual way."""


class Head(NamedTuple):
    """The head of a request, which ends at `end` in the bytes it was read from."""

    method: str
    target: str
    headers: Headers
    end: int


DirectHead: TypeAlias = tuple[Place, str, Headers, str | None, int]
"""The head of a request in halves: where it goes, the last part of its path, its header lines but for the idempotency
key, that key, and where its body begins. A plain tuple, as making a named one costs more than half of the rest."""

_NONE: Final = (b"\0", Headers(CIMultiDictProxy(CIMultiDict[str]()), sys.maxsize))
"""A block of header lines that is none: its body is larger than any."""


class HeadBounds(NamedTuple):
    """Bounds in bytes, and on the number of header lines; those of the general path."""

    head: int
    target: int
    field: int
    fields: int


class Heads:
    """Reads the heads of all connections of a server. Belongs to one event loop."""

    __slots__ = ("_bounds", "_check", "_find", "_loop", "_newest", "_places", "_remembered")

    def __init__(self, bounds: HeadBounds, check: Check, find: FindPlace) -> None:
        """`check` must answer alike for the same header lines, and `find` for the same path: both are remembered."""
        self._loop = asyncio.get_running_loop()
        self._bounds = bounds
        self._check = check
        self._find = find
        self._remembered: dict[bytes, Headers | None] = {}
        self._newest = _NONE
        """The block of a request in halves that was found last, to its empty line: it is the next one's most likely."""
        self._places: dict[bytes, Place | None] = {}
        """By method and path up to the last slash, as they were sent."""

    def read_direct(self, data: bytes, at: int) -> DirectHead | None:
        """Return the head of a request in halves that begins at `at`; None if `read` has to look at it.

        Only bytes that `read` has seen before are known here, but for the last part of the path.
        """
        space = data.find(b" ", at + 4, at + DIRECT_LINE_BYTES_MAX)  # behind that of the method
        if space < 0 or not data.startswith(_LINE_END, space):
            return None
        before, _, last = data[at:space].rpartition(b"/")
        place = self._places.get(before)
        if place is None:
            return None
        if last.endswith(_STALE):
            place, last = place.stale, last[: -len(_STALE)]
            if place is None:
                return None
        # Letters, digits and hyphens: most names, and cheaper to see.
        if not (last.replace(b"-", b"").isalnum() and len(last) <= PLAIN_BYTES_MAX) and _LAST.fullmatch(last) is None:
            return None
        begin = space + len(_LINE_END)
        key = None
        block, headers = self._newest
        if data.startswith(block, begin):
            end = begin + len(block)
        else:
            empty_line = data.find(_BLOCK_END, begin, at + self._bounds.head)
            if empty_line < 0:
                return None
            end = empty_line + len(_BLOCK_END)
            block = data[begin:end]
            known = self._remembered.get(block[:-2])
            if known is None and place.keyed and (found := _KEY_LINE.search(block)) is not None:
                key = found[1].decode()
                known = self._remembered.get(block[: found.start()] + block[found.end() : -2])
                if known is not None and len(known.fields) >= self._bounds.fields:
                    return None  # one too many
            if known is None or not known.plain:
                return None
            headers = known
            if key is None:
                self._newest = block, headers
        most, size = place.bytes_max, headers.body_bytes
        if size > most or (most and not size) or (place.json and not headers.json):
            return None
        return place, last.decode(), headers, key, end

    def read(self, data: bytes, at: int) -> Head | None:
        """Return the head that begins at `at`; None if it is not complete, or not one for the hot path."""
        line = _REQUEST_LINE.match(data, at)
        if line is None:
            return None
        begin = line.end()
        # From the end of the request line on: without any header line, the empty line is right there.
        end = data.find(_BLOCK_END, begin - 2, at + self._bounds.head)
        if end < begin:
            return None
        block = data[begin : end + 2]
        headers = self._remembered.get(block) or self._read_fields(block)
        if headers is None:
            return None
        method, target = line.groups()
        if len(target) > self._bounds.target:
            return None
        self._learn(b"%s %s" % (method, target))
        return Head(method.decode(), target.decode(), headers, end + 4)

    def _learn(self, line: bytes) -> None:
        """Remember where a path leads up to its last part, if requests like it may be served in halves."""
        before = line[: line.rfind(b"/")]
        if before in self._places or len(line) >= self._bounds.target or _DIRECT.fullmatch(before) is None:
            return
        if len(self._places) >= PLACES_MAX:
            del self._places[next(iter(self._places))]
        method, _, path = before.decode().partition(" ")
        self._places[before] = self._find(method, path)

    def _read_fields(self, block: bytes) -> Headers | None:
        """Return the header lines in `block`; None if they are not for the hot path.

        What differs from request to request is taken out, so that the rest of them is remembered.
        """
        changing = _CHANGING.findall(block)
        if not changing:
            return self._remember(block)
        rest = _CHANGING.sub(b"", block)
        headers = self._remember(rest)
        if headers is None or len(headers.fields) + len(changing) > self._bounds.fields:
            return None
        given = [(name.decode(), value.decode()) for name, value in changing]
        if any(name in headers.fields for name, _ in given):
            return None  # one more in another form, and which of them came first is lost here
        fields = CIMultiDict(headers.fields)
        fields.extend(given)
        return Headers(CIMultiDictProxy(fields), headers.body_bytes)

    def _remember(self, block: bytes) -> Headers | None:
        """Return the header lines in `block`, parsed once."""
        try:
            return self._remembered[block]
        except KeyError:
            pass
        headers = self._read_by_the_general_parser(block)
        if len(block) <= REMEMBERED_BYTES_MAX:
            if len(self._remembered) >= REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[block] = headers
        return headers

    def _read_by_the_general_parser(self, block: bytes) -> Headers | None:
        found = self._feed(b"GET / HTTP/1.1\r\n%s\r\n" % block)
        if found is None:
            return None  # whatever is wrong with it, the general path finds it too, and answers it
        messages, upgraded, rest = found
        if len(messages) != 1 or upgraded or rest:
            return None
        message = messages[0][0]
        if not isinstance(message, RawRequestMessage) or not _plain(message) or self._check(message) is not None:
            return None
        fields = message.headers
        return Headers(
            fields,
            int(fields.get(hdrs.CONTENT_LENGTH, "0")),
            plain=not any(name in fields for name in _LOOKED_AT),
            json=fields.get(hdrs.CONTENT_TYPE) == "application/json",
        )

    def answered_without_more(self, data: bytes) -> bool:
        """Return whether the general path answers `data` although nothing follows: a request, or what is none."""
        found = self._feed(data)
        return found is None or any(body.is_eof() for _, body in found[0])

    def _feed(self, data: bytes) -> tuple[Sequence[tuple[Any, Any]], bool, bytes] | None:
        """Return what a new parser of the general path makes of `data`, None if it refuses it."""
        parser = HttpRequestParser(
            BaseProtocol(self._loop),
            self._loop,
            1 << 16,
            max_line_size=2 * self._bounds.target,
            max_field_size=self._bounds.field,
            max_headers=self._bounds.fields,
            auto_decompress=False,
        )
        try:
            found: tuple[Sequence[tuple[Any, Any]], bool, bytes] = parser.feed_data(data)
        except MemoryError:
            raise
        except Exception:  # the parser hands on what its callbacks raise, whatever that is
            return None
        return found


def _plain(message: RawRequestMessage) -> bool:
    """Return whether the framing is that of the hot path: a length or no body, a connection that stays open."""
    return not (
        message.chunked
        or message.should_close
        or message.upgrade
        or hdrs.EXPECT in message.headers
        or hdrs.UPGRADE in message.headers
        or hdrs.TRANSFER_ENCODING in message.headers
    )
