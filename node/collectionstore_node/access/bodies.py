"""JSON of access control to checked values: every mistake is refused with its place in the body."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from collectionstore_node.errors import InvalidPart

S = TypeVar("S", bound=msgspec.Struct)

INVALID: Final = "invalid_access"
"""Code of a body that is not allowed."""
USER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:|+-]{0,127}")
ROLE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\*?|\*")
"""A name of a collection or bucket, or its beginning and a star."""
USER_NAME_RULE: Final = "1-128 letters, digits, '.', '_', '@', ':', '|', '+' and '-', first a letter or digit"
ROLE_NAME_RULE: Final = "1-63 of a-z, 0-9, '_' and '-', first a letter or digit"

_PLACE: Final = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def decoded(body: bytes, kind: type[S], what: str, *, bytes_max: int) -> S:
    """Return `body` as a `kind`; `what` names it in messages. Raises `InvalidPart`, without a value of the body."""
    if len(body) > bytes_max:
        raise invalid("", f"{what} has {len(body)} bytes; at most {bytes_max} are allowed")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        matched = _PLACE.fullmatch(str(error))
        assert matched is not None
        reason = matched["what"]
        # "Invalid enum value 'x'" quotes the value; the alternatives are in the documentation of the field.
        if reason.startswith("Invalid enum value"):
            reason = "not one of the allowed values"
        raise invalid(_pointer(matched["path"] or ""), reason.replace("`", "'")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid("", f"{what} is a JSON object") from None


def check_names(names: tuple[str, ...], pointer: str, *, most: int, what: str = "role") -> None:
    """Refuse too many names of roles, malformed ones and duplicates. Raises `InvalidPart`."""
    if len(names) > most:
        raise invalid(pointer, f"{len(names)} {what}s; at most {most} are allowed")
    for at, name in enumerate(names):
        if ROLE_NAME.fullmatch(name) is None:
            raise invalid(f"{pointer}/{at}", f"the name of a {what} is {ROLE_NAME_RULE}")
        if name in names[:at]:
            raise invalid(f"{pointer}/{at}", f"a {what} is named once")


def invalid(pointer: str, detail: str) -> InvalidPart:
    """Return what refuses the part of a body at `pointer`."""
    return InvalidPart(INVALID, pointer, detail)


def _pointer(path: str) -> str:
    # "[...]" stands for an element of an object or a set, whose name msgspec does not say: it ends there.
    parts: list[str] = []
    for name, position in _STEP.findall(path):
        if position == "...":
            break
        parts.append(position or name.replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)
