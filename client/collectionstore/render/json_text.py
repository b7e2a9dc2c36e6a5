"""JSON as text: compact for cells, indented for documents, colored and harmless for a terminal."""

from __future__ import annotations

import json
import re
from typing import Any, Final

UNSAFE: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON leaves as they are and a terminal may obey: C1 controls, and those that turn text around."""
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>\b(?:true|false|null)\b)'
    r"|(?P<number>-?[0-9][0-9.eE+-]*)"
)
PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
INDENT: Final = "  "
COLORS: Final = {"key": "34;1", "text": "32", "word": "35", "number": "36"}
MARKS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def parse(text: str | bytes) -> Any:
    """Return a JSON value. Raises ValueError for text that is no JSON, also `NaN` and `Infinity`, or too deep.

    Numbers are as Python reads them: to keep their digits, keep the text.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_once(text: str | bytes) -> Any:
    """Return a JSON value as `parse` does. Raises ValueError also for an object that names a member twice."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def compact(value: object) -> str:
    """Return a value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def indented(value: object) -> str:
    """Return a value as JSON on lines of their own, indented by two spaces."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def indented_text(text: str) -> str:
    """Return JSON text indented by two spaces; numbers and escapes stay as they are written."""
    parts: list[str] = []
    depth, opened = 0, False
    for match in PIECE.finditer(text):
        piece = match[0]
        if piece in "}]":
            depth -= 1
            parts.append(piece if opened else "\n" + INDENT * depth + piece)
            opened = False
            continue
        if opened:
            parts.append("\n" + INDENT * depth)
            opened = False
        if piece in "{[":
            depth += 1
            opened = True
        parts.append(f"{piece}\n{INDENT * depth}" if piece == "," else f"{piece} " if piece == ":" else piece)
    return "".join(parts)


def harmless(text: str) -> str:
    """Return JSON text with all characters escaped that a terminal may obey. It is the same JSON."""
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str) -> str:
    """Return any text in one line, with line ends written as `\\n`, and U+FFFD in place of other control characters."""
    return CONTROL.sub(lambda match: MARKS.get(match[0], "\N{REPLACEMENT CHARACTER}"), text)


def colored(text: str) -> str:
    """Return JSON text with the control sequences that color it."""
    return TOKEN.sub(lambda match: f"\x1b[{COLORS[match.lastgroup or 'text']}m{match[0]}\x1b[0m", text)


def cell(value: object) -> str:
    """Return a value as a cell of a table shows it: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else compact(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object names a member twice")
    return made


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
