"""`OverloadAnswers`: the answers to requests that are refused for overload, rendered once for many.

Refusing must cost far less than serving: with a write costing w and a refusal r, a node that is offered twice its peak
keeps 80 % of it only if r <= w / 6. Rendering a problem costs more than the rest of a refusal, and under overload the
same few are rendered again and again. So they are kept, and what differs between requests is put into them.
"""

from __future__ import annotations

import re
from typing import Final

from collectionstore_node.api.http.answers import OVERLOADED_LINE, Answer, date_line
from collectionstore_node.api.http.problems import problem_of, render
from collectionstore_node.errors import Overloaded

KEPT_MAX: Final = 256
_REQUEST_ID: Final = "00request-id00"
_ANY: Final = b"~"
"""As often as a request ID has letters: no text of a refusal has so many."""
_REVISION: Final = 8_000_000_000_000_000_000
"""Stand for those of a request; no detail of a refusal contains them."""
_PLAIN: Final = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
"""A request ID that is the same in a JSON string."""


class OverloadAnswers:
    """Answers by what refuses; at most `KEPT_MAX` are kept."""

    __slots__ = ("_encoded", "_kept")

    def __init__(self) -> None:
        self._kept: dict[tuple[str, float], tuple[bytes, bytes]] = {}
        self._encoded: dict[tuple[str, float, int], tuple[bytes, bytes]] = {}
        """Whole messages behind the date, in two parts; by the length of the request ID, too."""

    def encode(self, detail: str, retry_after_s: float, request_id: bytes, revision: int) -> bytes:
        """Return the answer of `Overloaded(detail, retry_after_s)` to a write on a connection that stays open.

        `request_id` is one that was made here.
        """
        key = (detail, retry_after_s, len(request_id))
        kept = self._encoded.get(key)
        if kept is None:
            kept = self._encode(detail, retry_after_s, len(request_id))
            if len(self._encoded) >= KEPT_MAX:
                self._encoded.clear()
            self._encoded[key] = kept
        head, rest = kept
        # Joined: what is the same in all of them is by far the most.
        identified = rest.replace(_ANY * len(request_id), request_id)
        return b"".join((OVERLOADED_LINE, date_line(), head, b"%d" % revision, identified))

    def _encode(self, detail: str, retry_after_s: float, id_bytes: int) -> tuple[bytes, bytes]:
        stands_for = (_ANY * id_bytes).decode()
        error = Overloaded(detail, retry_after_s=retry_after_s)
        made = render(problem_of(error, safe_to_repeat=True), request_id=stands_for, revision=_REVISION)
        whole = made.encode("PUT", keep_open=True)
        head, _, rest = whole[len(OVERLOADED_LINE) + len(date_line()) :].partition(b"%d" % _REVISION)
        return head, rest

    def answer(self, error: Overloaded, request_id: str, revision: int) -> Answer:
        """Return the problem details of `error`, as `problems.render` makes them."""
        detail = str(error)
        if not _PLAIN.fullmatch(request_id):
            return render(problem_of(error, safe_to_repeat=True), request_id=request_id, revision=revision)
        key = (detail, error.retry_after_s)
        kept = self._kept.get(key)
        if kept is None:
            made = render(problem_of(error, safe_to_repeat=True), request_id=_REQUEST_ID, revision=_REVISION)
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            kept = self._kept[key] = made.header_lines, made.content
        head, content = kept
        given = request_id.encode()
        head = head.replace(b"%d" % _REVISION, b"%d" % revision, 1).replace(_REQUEST_ID.encode(), given, 1)
        return Answer(503, head, content.replace(_REQUEST_ID.encode(), given))
