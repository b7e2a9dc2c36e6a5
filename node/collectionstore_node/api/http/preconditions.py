"""`If-Match` and `If-None-Match` (RFC 9110, section 13.1), as preconditions of writes and conditions of reads.

An entity tag is the revision of the target's last write, in quotes: `"42"`. Any other well-formed tag is legal and
matches nothing.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import ANY, REVISIONS_MAX, Precondition

ABSENT: Final = Precondition(exists=False)
"""The target must not exist."""
TAGS_MAX: Final = REVISIONS_MAX

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_REVISION: Final = re.compile(r"[1-9][0-9]{0,18}")
PRESENT: Final = Precondition(exists=True)

Tag = tuple[bool, str]
"""Whether the tag is weak, and its text without quotes."""


def write_precondition(headers: CIMultiDictProxy[str]) -> Precondition:
    """Return the precondition of a write. Raises `Problem`.

    `If-None-Match` takes only `*` here: "any revision but these" has no use that `If-Match` does not serve.
    """
    match = headers.get(hdrs.IF_MATCH)
    none_match = headers.get(hdrs.IF_NONE_MATCH)
    if match is None and none_match is None:
        return ANY
    if match is not None and none_match is not None:
        raise Problem("invalid_precondition", "send If-Match or If-None-Match with a write, not both")
    if match is None:
        if none_match != "*":
            raise Problem("invalid_precondition", "with a write, If-None-Match takes only *: the target must not exist")
        return ABSENT
    tags = _tags(headers, hdrs.IF_MATCH)
    if tags == "*":
        return PRESENT
    # Strong comparison (RFC 9110 8.8.3.2): a weak tag never matches. If none is left, no revision matches: 412.
    return Precondition(revisions=tuple(int(text) for weak, text in tags if not weak and _REVISION.fullmatch(text)))


def read_failed(headers: CIMultiDictProxy[str], revision: int) -> bool:
    """Return whether `If-Match` excludes the current revision of an existing target. Raises `Problem`."""
    if hdrs.IF_MATCH not in headers:
        return False
    tags = _tags(headers, hdrs.IF_MATCH)
    return tags != "*" and (False, str(revision)) not in tags


def read_unchanged(headers: CIMultiDictProxy[str], revision: int) -> bool:
    """Return whether the client has this revision already, by `If-None-Match`. Raises `Problem`."""
    return unchanged(headers, str(revision))


def unchanged(headers: CIMultiDictProxy[str], tag: str) -> bool:
    """Return whether the client has what has this tag, by `If-None-Match` (weak comparison). Raises `Problem`."""
    if hdrs.IF_NONE_MATCH not in headers:
        return False
    tags = _tags(headers, hdrs.IF_NONE_MATCH)
    return tags == "*" or tag in {text for _, text in tags}


def _tags(headers: CIMultiDictProxy[str], name: str) -> list[Tag] | Literal["*"]:
    """Parse a list of entity tags, also one spread over several header lines."""
    text = ", ".join(headers.getall(name)).strip()
    if text == "*":
        return "*"
    tags: list[Tag] = []
    for part in text.split(","):
        found = _TAG.fullmatch(part.strip(" \t"))
        if found is None or len(tags) == TAGS_MAX:
            raise Problem(
                "invalid_precondition",
                f'{name} takes * or up to {TAGS_MAX} tags in double quotes, like "42"; given: {quoted(text)}',
            )
        tags.append((found[1] is not None, found[2]))
    return tags
