"""The Authorization header: Bearer (RFC 6750) and Basic (RFC 7617), of bounded size. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple, TypeAlias

from collectionstore_node.authn.refusals import Reason, Refused

HEADER_CHARACTERS_MAX: Final = 8_190
"""What a header line may have at all."""
USER_CHARACTERS_MAX: Final = 128
PASSWORD_BYTES_MAX: Final = 1_024
"""What is hashed costs memory and time by itself, whatever its length; this bounds what is copied around it."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


class Bearer(NamedTuple):
    """A token: one of the store, a JWT, or that of a local cluster."""

    token: str


class Basic(NamedTuple):
    """A user and a password."""

    user: str
    password: str


Credential: TypeAlias = Bearer | Basic


def parse_authorization(header: str) -> Credential:
    """Return the credential in the value of an Authorization header. Raises `Refused`."""
    if len(header) > HEADER_CHARACTERS_MAX:
        raise Refused(Reason.MALFORMED)
    scheme, _, rest = header.partition(" ")
    rest = rest.strip(" ")
    match scheme.lower():
        case "bearer":
            if _TOKEN.fullmatch(rest) is None:
                raise Refused(Reason.MALFORMED)
            return Bearer(rest)
        case "basic":
            return _basic(rest)
    raise Refused(Reason.MALFORMED)


def _basic(encoded: str) -> Basic:
    try:
        text = base64.b64decode(encoded.encode("ascii"), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError, ValueError):
        raise Refused(Reason.MALFORMED) from None
    user, colon, password = text.partition(":")
    return checked_password(user, password) if colon else _malformed()


def checked_password(user: str, password: str) -> Basic:
    """Return a user and a password within their bounds, neither of them empty. Raises `Refused`."""
    if not 0 < len(user) <= USER_CHARACTERS_MAX or _CONTROLS.search(user):
        raise Refused(Reason.MALFORMED)
    try:
        size = len(password.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, in JSON
        raise Refused(Reason.MALFORMED) from None
    if not 0 < size <= PASSWORD_BYTES_MAX:
        raise Refused(Reason.MALFORMED)
    return Basic(user, password)


def _malformed() -> Basic:
    raise Refused(Reason.MALFORMED)
