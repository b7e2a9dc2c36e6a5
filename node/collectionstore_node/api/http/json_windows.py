"""Strict JSON of any size in short steps: a body is cut at commas, and each window is checked alone.

A C parser holds the interpreter for as long as it runs, in a thread too: orjson needs 0.12 s for a mebibyte of `[],`
(measured; most of it garbage collection). So a large body is never parsed as a whole:
1. it is cut at a comma outside of strings, about every `WINDOW_BYTES`;
2. a window is completed by the brackets that are open around it (`[0,` or `{"":0,` before, the closing ones behind),
   which makes it a JSON text of its own: it is valid in its place exactly if that text is valid;
3. orjson checks the grammar, UTF-8, surrogates and the range of floats, msgspec removes the white space and leaves
   every other byte as it is, and `Scanner` checks what needs the whole: depth, repeated names, integers.

Strings are found by their quotes, with escapes masked first: a regular expression over strings costs 20 ns a byte.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final, NamedTuple, NoReturn

import msgspec
import orjson

from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 64) - 1
NUMBER_BYTES_MAX: Final = 1 << 10
"""The text of one number; also bounds what converting it costs, here and in clients."""
WINDOW_BYTES: Final = 8 << 10
"""What one step works on, unless a single string is longer."""

_WHITE_SPACE: Final = b" \t\r\n"
_LONG_NUMBER: Final = re.compile(rb"[-+.eE0-9]{19,}")
_BRACKETS: Final = b"{}[]"
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_OPENING: Final = b"{["
_OBJECT = _OPENING[0]
_COMMA, _QUOTE, _BACKSLASH = b",", b'"', b"\\"
_NOT_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


class Rules(NamedTuple):
    """What is allowed beyond the grammar. Depths count the outermost object as 1."""

    depth_max: int
    names_depth: int = 1
    """Names in objects at this depth must not begin with "_"; 0 for nowhere."""
    entries_max: int | None = None
    """Objects and arrays at depth 3 in total: the entries of a transaction's lists."""


class Scanner:
    """Checks valid JSON, from its beginning, one window after the other."""

    __slots__ = ("_entries", "_stack", "rules")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._stack: list[set[bytes] | None] = []
        """What is open, outermost first: the names of an object so far, None for an array."""
        self._entries = 0

    @property
    def depth(self) -> int:
        """How many objects and arrays are open."""
        return len(self._stack)

    def before(self) -> bytes:
        """Return the text that puts what follows into its place: behind an element of what is open."""
        if not self._stack:
            return b""
        outer = b"".join(b"[" if names is None else b'{"":' for names in self._stack[:-1])
        return outer + (b"[0," if self._stack[-1] is None else b'{"":0,')

    def behind(self) -> bytes:
        """Return the text that closes what is open."""
        return b"".join(b"]" if names is None else b"}" for names in reversed(self._stack))

    def scan(self, text: bytes, masked: bytes) -> None:
        """Check `text`, which begins and ends outside of strings; `masked` is `mask(text)`. Raises `Problem`."""
        parts = masked.split(_QUOTE)
        begin = at = 0
        for position, part in enumerate(parts):
            if position & 1:
                begin = at
            elif part:
                if position and part.lstrip(_WHITE_SPACE)[:1] == b":":
                    self._named(text[begin : at - 1])
                self._bracketed(part.translate(None, _NOT_BRACKETS))
            at += len(part) + 1
        outside = _QUOTE.join(parts[::2]).translate(None, _WHITE_SPACE)
        for number in _LONG_NUMBER.findall(outside):
            _check_number(number)

    def _bracketed(self, brackets: bytes) -> None:
        stack, depth_max = self._stack, self.rules.depth_max
        for bracket in brackets:
            if bracket in _OPENING:
                if len(stack) == 2:
                    self._count_entry()
                stack.append(set() if bracket == _OBJECT else None)
                if len(stack) > depth_max:
                    raise Problem("nesting_too_deep", f"objects and arrays may be nested at most {depth_max} deep")
            elif stack:
                stack.pop()
            # A bracket too many is no JSON, which the parser says.

    def _count_entry(self) -> None:
        self._entries += 1
        most = self.rules.entries_max
        if most is not None and self._entries > most:
            raise Problem("invalid_body", f"compare, then and else have more than {most} items together")

    def _named(self, name: bytes) -> None:
        names = self._stack[-1] if self._stack else None
        if names is None:
            return  # no JSON, which the parser says
        if _BACKSLASH in name:
            try:
                name = orjson.loads(b'"%s"' % name).encode()
            except orjson.JSONDecodeError:
                return  # no JSON, which the parser says
        if name in names:
            text = name.decode(errors="replace")
            raise Problem("duplicate_key", f"the key {quoted(text)} appears twice in one object", key=text[:64])
        names.add(name)
        if name[:1] == b"_" and len(self._stack) == self.rules.names_depth:
            refuse_name(name.decode(errors="replace"))


def steps(body: bytes, rules: Rules, window_bytes: int = WINDOW_BYTES) -> Generator[None, None, bytes]:
    """Check `body`, yielding after every step, and return its text without white space. Raises `Problem`."""
    scanner = Scanner(rules)
    compact: list[bytes] = []
    start = 0
    while True:
        end, masked, last = yield from _window(body, start, window_bytes, rules.depth_max)
        compact.append((yield from _checked(body, start, end, masked, scanner, last=last)))
        if last:
            return b",".join(compact)
        yield
        start = end + 1


def mask(text: bytes) -> bytes:
    """Return `text` with escapes of backslashes and quotes replaced by as many other bytes.

    `text` begins outside of strings, or inside of one behind a whole escape.
    """
    if _BACKSLASH not in text:
        return text
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__")


def refuse_name(name: str) -> NoReturn:
    """Raise the `Problem` of a name that is reserved for the store."""
    raise Problem("reserved_field", f"top-level names beginning with '_' are reserved: {quoted(name)}")


def refuse_malformed(body: bytes, error: orjson.JSONDecodeError, at: int, depth_max: int) -> NoReturn:
    """Raise the `Problem` of `error`, which was found at byte `at` of `body`."""
    if "depth" in error.msg:
        raise Problem("nesting_too_deep", f"objects and arrays may be nested at most {depth_max} deep")
    line = body.count(b"\n", 0, at) + 1
    column = len(body[body.rfind(b"\n", 0, at) + 1 : at].decode(errors="replace")) + 1
    if "infinity" in error.msg:
        code, reason = "number_out_of_range", "the number is beyond a 64-bit float"
    else:
        token = next((one for one in _NOT_NUMBERS if error.doc.startswith(one, error.pos)), None)
        code, reason = "malformed_json", f"{token} is not JSON" if token else error.msg.partition(":")[0]
    raise Problem(code, f"line {line} column {column}: {reason}", line=line, column=column)


def _window(
    body: bytes, start: int, window_bytes: int, depth_max: int
) -> Generator[None, None, tuple[int, bytes, bool]]:
    """Return where the window from `start` ends, its masked text, and whether nothing follows it.

    It ends at the last comma outside of strings, or at the end of the body. Every piece is looked at once.
    """
    # What valid JSON without a comma can hold outside of strings, and quotes: what is open, names, one number.
    room = NUMBER_BYTES_MAX + 8 * depth_max + 64
    pieces: list[bytes] = []
    at, inside = start, False
    while True:
        end = min(at + window_bytes, len(body))
        piece = body[at:end]
        if (len(piece) - len(piece.rstrip(_BACKSLASH))) & 1 and end < len(body):
            end -= 1  # an escape is not cut
            piece = piece[:-1]
        piece = mask(piece)
        if end == len(body):
            return end, b"".join((*pieces, piece)), True
        parts = piece.split(_QUOTE)
        comma = _last_comma(parts, inside=inside)
        if comma is not None:
            return at + comma, b"".join((*pieces, piece[:comma])), False
        outside = b"".join(parts[inside::2])
        room -= len(outside) - sum(map(outside.count, (b" ", b"\t", b"\r", b"\n"))) + len(parts) - 1
        pieces.append(piece)
        if room < 0:
            # Certainly wrong, and the reason is in this part. It is treated as the last one, so it cannot be accepted.
            return end, b"".join(pieces), True
        inside ^= not len(parts) & 1
        at = end
        yield


def _last_comma(parts: list[bytes], *, inside: bool) -> int | None:
    """Return the position of the last comma outside of strings in `parts` joined by quotes, None without one."""
    end = sum(map(len, parts)) + len(parts) - 1
    for position in range(len(parts) - 1, -1, -1):
        part = parts[position]
        end -= len(part)
        if bool(position & 1) == inside and (found := part.rfind(_COMMA)) >= 0:
            return end + found
        end -= 1
    return None


def _checked(
    body: bytes, start: int, end: int, masked: bytes, scanner: Scanner, *, last: bool
) -> Generator[None, None, bytes]:
    """Return the text of the window [`start`, `end`) without white space. Raises `Problem`."""
    text = body[start:end]
    before = scanner.before()
    scanner.scan(text, masked)
    behind = b"" if last else scanner.behind()
    whole = b"".join((before, text, behind))
    if len(whole) > 2 * WINDOW_BYTES:
        yield
    try:
        value = orjson.loads(whole)
    except orjson.JSONDecodeError as error:
        at = start + len(error.doc[: error.pos].encode()) - len(before)
        refuse_malformed(body, error, max(start, min(at, end)), scanner.rules.depth_max)
    if type(value) is not dict and not before:
        refuse_other_type()
    if not last and not scanner.depth:
        raise Problem("malformed_json", "there is something behind the object")
    if len(whole) > 2 * WINDOW_BYTES:
        yield
    compact = msgspec.json.format(whole, indent=-1)
    return compact[len(before) : len(compact) - len(behind)]


def refuse_other_type() -> NoReturn:
    """Raise the `Problem` of a body that is no object."""
    raise Problem("not_an_object", 'the body must be a JSON object, like {"name": "ada"}')


def _check_number(number: bytes) -> None:
    if len(number) > NUMBER_BYTES_MAX:
        raise Problem("number_out_of_range", f"a number may have at most {NUMBER_BYTES_MAX} characters")
    text = number.decode()
    if number.lstrip(b"-").isdigit() and (len(text) > 20 or not INTEGER_MIN <= int(text) <= INTEGER_MAX):
        raise Problem(
            "number_out_of_range",
            f"the integer {quoted(text)} is outside [{INTEGER_MIN}, {INTEGER_MAX}]; send it as a string",
        )
