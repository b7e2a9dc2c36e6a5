"""Names: which are allowed, and how a name is decoded from a path.

Rules
- collections and buckets: 1-63 of `a-z`, `0-9`, `_` and `-`, beginning with a letter or digit;
- document ids and raw keys: 1 to `key_bytes_max` bytes of UTF-8 without control characters. No part between slashes
  may be "." or "..", because HTTP clients remove such segments before they send a path (RFC 3986 5.2.4).
A document id may contain "/" only as `%2F`; a raw key may contain it literally.

They are checked here and not at the store's door, because a request with a bad name is refused BEFORE its body is read.
The rules are those of `statemachine.admissible`, which the leader applies to what members forward.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from collectionstore_node.access.bodies import ROLE_NAME, ROLE_NAME_RULE, USER_NAME, USER_NAME_RULE
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import NAME, key_violation, text_violation

PLAIN_BYTES_MAX: Final = 256
PLAIN: Final = re.compile(rf"[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]{{0,{PLAIN_BYTES_MAX - 1}}}")
"""Path text that needs no decoding and breaks no rule: at most 256 bytes, no leading dot. The hot path."""
NAMES_KEPT: Final = 256
"""Valid names that are known without looking at them again; one has at most 63 characters. The hot path."""
LOCK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
"""No colon: the verb is behind it."""
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def quoted(text: str) -> str:
    """Return `text` as it may appear in a message: ASCII, in quotes, truncated to 64 characters."""
    return ascii(text if len(text) <= 64 else text[:64] + "...")


@lru_cache(NAMES_KEPT)
def collection_name(text: str) -> str:
    """Return `text` if it is a valid collection name. Raises `Problem`."""
    return _checked_name(text, "collection")


def index_name(text: str) -> str:
    """Return `text` if it is a valid name of an index. Raises `Problem`."""
    return _checked_name(text, "index")


def consumer_name(text: str) -> str:
    """Return `text` if it is a valid name of a consumer. Raises `Problem`."""
    return _checked_name(text, "consumer")


@lru_cache(NAMES_KEPT)
def bucket_name(text: str) -> str:
    """Return `text` if it is a valid bucket name. Raises `Problem`."""
    return _checked_name(text, "bucket")


def user_name(raw: str) -> str:
    """Return the name of a user that the path text `raw` encodes. Raises `Problem`."""
    text = _decoded(raw)
    if USER_NAME.fullmatch(text):
        return text
    raise Problem("invalid_name", f"{quoted(text)} names no user; allowed are {USER_NAME_RULE}")


def role_name(text: str) -> str:
    """Return `text` if it is a valid name of a role. Raises `Problem`."""
    if ROLE_NAME.fullmatch(text):
        return text
    raise Problem("invalid_name", f"{quoted(text)} names no role; allowed are {ROLE_NAME_RULE}")


def lock_name(text: str) -> str:
    """Return `text` if it is the name of a lock. Raises `Problem`."""
    if LOCK_NAME.fullmatch(text):
        return text
    raise Problem(
        "invalid_name",
        f"{quoted(text)} names no lock; allowed are 1-255 letters, digits, '.', '_' and '-', not first a mark",
    )


def document_id(raw: str, bytes_max: int) -> str:
    """Return the document id that the path text `raw` encodes. Raises `Problem`."""
    if PLAIN.fullmatch(raw):
        return raw
    return check_key(_decoded(raw), bytes_max, "document id")


def key_name(raw: str, bytes_max: int) -> str:
    """Return the raw key that the path text `raw` encodes. Raises `Problem`."""
    if PLAIN.fullmatch(raw):
        return raw
    return check_key(_decoded(raw), bytes_max, "key")


def check_key(text: str, bytes_max: int, what: str) -> str:
    """Return `text` if it is a valid document id or raw key; `what` names it in messages. Raises `Problem`."""
    violation = key_violation(text, bytes_max)
    if violation is not None:
        raise Problem("invalid_name", f"a {what} {violation}")
    return text


def check_text(text: str, bytes_max: int, what: str) -> str:
    """Return `text` if it may begin a document id or a raw key: "." may, as ".env" does. Raises `Problem`."""
    violation = text_violation(text, bytes_max)
    if violation is not None:
        raise Problem("invalid_name", f"a {what} {violation}")
    return text


def _checked_name(text: str, what: str) -> str:
    if NAME.fullmatch(text):
        return text
    raise Problem(
        "invalid_name",
        f"{quoted(text)} is no {what} name; allowed are 1-63 of a-z, 0-9, '_' and '-', first a letter or digit",
    )


def _decoded(raw: str) -> str:
    if "#" in raw:
        raise Problem("invalid_name", "'#' ends a path; write it as %23")
    if _BAD_ESCAPE.search(raw):
        raise Problem("invalid_name", "'%' in a path must be followed by two hexadecimal digits; write it as %25")
    try:
        # aiohttp decodes the target with surrogateescape: bytes that are not UTF-8 arrive as surrogates, and strict
        # decoding refuses them here.
        return unquote_to_bytes(raw.encode(errors="surrogateescape")).decode()
    except UnicodeDecodeError:
        raise Problem("invalid_name", "the path is not valid UTF-8 after percent-decoding") from None
