"""Regular expressions by RE2, whose time is linear in the text: no pattern can make a node hang.

RE2 does not hold the interpreter while it searches. Linear is not fast: where it cannot build its automaton, as for
`[ab]*a[ab]{900}`, it takes about 10 ns for each character and instruction (measured), so their product is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2  # type: ignore[import-untyped]  # it has none

from collectionstore_node.errors import InvalidRequest

PATTERN_CHARACTERS_MAX: Final = 1_024
PATTERNS_MAX: Final = 16
"""Of one filter."""
MEMORY_BYTES_MAX: Final = 128 << 10
"""Of one compiled pattern; a counted repetition such as `(a{1000}){1000}` is refused by it."""
SEARCH_MAX: Final = 200_000_000
"""Instructions of a pattern times bytes of a text."""
OPTIONS: Final = "ims"


class Pattern:
    """A compiled pattern; called with a text, it returns whether it is found there."""

    __slots__ = ("_bytes_max", "_search", "instructions")

    def __init__(self, search: Callable[[bytes], object], instructions: int) -> None:
        self._search = search
        self._bytes_max = SEARCH_MAX // max(1, instructions)
        self.instructions = instructions
        """A search takes at most this times the bytes of the text."""

    def __call__(self, text: str) -> bool:
        """Return whether `text` contains the pattern.

        Raises `InvalidRequest("query_too_costly")` for a text that is too long for it.
        """
        data = text.encode()
        if len(data) > self._bytes_max:
            raise InvalidRequest(
                "query_too_costly",
                f"a text of {len(data)} bytes is too long for a pattern of this size; "
                f"it takes up to {self._bytes_max} bytes",
            )
        return self._search(data) is not None


@lru_cache(maxsize=64)
def compile_regex(pattern: str, options: str) -> Pattern:
    """Return the compiled pattern. Raises `ValueError` with the reason when it is none of RE2's."""
    settings = re2.Options()
    settings.max_mem = MEMORY_BYTES_MAX
    settings.log_errors = False
    settings.never_capture = True
    inline = f"(?{options}){pattern}" if options else pattern
    try:
        # Bytes: the Python half of the library counts the characters of a `str` for every match.
        compiled = re2.compile(inline.encode(), settings)
    except re2.error as error:
        reason = error.args[0] if error.args else b"malformed"
        # Behind the colon it quotes the pattern.
        raise ValueError((reason.decode() if isinstance(reason, bytes) else str(reason)).partition(": ")[0]) from None
    return Pattern(compiled.search, compiled.programsize)
