"""Splits a line into words as a shell does, with JSON as it is: `find books {"year": 1965}` has three. Pure."""

from __future__ import annotations

from typing import Final

BRACKETS: Final = {"{": "}", "[": "]"}
SPACE: Final = " \t\r\n"


class Incomplete(ValueError):
    """The line ends within quotes, an object or an array: more is to come."""


def split(line: str) -> list[str]:
    """Return the words of a line. Raises Incomplete.

    `'...'` is a text, `"..."` one in which a backslash takes a quote or a backslash as it is, as it does with every
    character outside of quotes. A word that begins with `{` or `[` is JSON up to its closing bracket, quotes and spaces
    included. A `#` at the beginning of a word begins a comment.
    """
    words: list[str] = []
    at, end = 0, len(line)
    while at < end:
        if line[at] in SPACE:
            at += 1
        elif line[at] == "#":
            newline = line.find("\n", at)
            at = end if newline < 0 else newline
        elif line.startswith("\\\n", at):
            at += 2
        elif line[at] in BRACKETS:
            word, at = _json(line, at)
            words.append(word)
        else:
            word, at = _word(line, at)
            words.append(word)
    return words


def last_word(line: str) -> tuple[list[str], str]:
    """Return the complete words of a line that is being typed, and the one that is not, empty behind a space."""
    for cut in range(len(line), -1, -1):
        if cut and line[cut - 1] not in SPACE:
            continue
        try:
            return split(line[:cut]), line[cut:]
        except Incomplete:
            continue
    return [], line


def _json(line: str, at: int) -> tuple[str, int]:
    begin, depth = at, 0
    while at < len(line):
        one = line[at]
        if one == '"':
            at = _quoted_end(line, at)
            continue
        if one in "{[":
            depth += 1
        elif one in "}]":
            depth -= 1
            if depth == 0:
                return line[begin : at + 1], at + 1
        at += 1
    raise Incomplete("an object or array is not closed")


def _quoted_end(line: str, at: int) -> int:
    at += 1
    while at < len(line):
        if line[at] == "\\":
            at += 2
        elif line[at] == '"':
            return at + 1
        else:
            at += 1
    raise Incomplete("a text is not closed")


def _word(line: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(line) and line[at] not in SPACE:
        one = line[at]
        if one == "'":
            end = line.find("'", at + 1)
            if end < 0:
                raise Incomplete("a text is not closed")
            parts.append(line[at + 1 : end])
            at = end + 1
        elif one == '"':
            end = _quoted_end(line, at)
            parts.append(line[at + 1 : end - 1].replace('\\"', '"').replace("\\\\", "\\"))
            at = end
        elif one == "\\":
            if at + 1 >= len(line):
                raise Incomplete("a line that goes on")
            if line[at + 1] != "\n":
                parts.append(line[at + 1])
            at += 2
        else:
            parts.append(one)
            at += 1
    return "".join(parts), at
