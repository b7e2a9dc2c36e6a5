"""Regular expressions by RE2, whose time is linear in the text: no pattern can make a node hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import re2  # type: ignore[import-untyped]  # it has none

PATTERN_CHARACTERS_MAX: Final = 1_024
MEMORY_BYTES_MAX: Final = 1 << 20
"""Of one compiled pattern; a counted repetition such as `(a{1000}){1000}` is refused by it."""
OPTIONS: Final = "ims"


def compile_regex(pattern: str, options: str) -> Callable[[str], bool]:
    """Return whether a text contains the pattern. Raises `ValueError` with the reason when it is none of RE2's."""
    settings = re2.Options()
    settings.max_mem = MEMORY_BYTES_MAX
    settings.log_errors = False
    settings.never_capture = True
    inline = f"(?{options}){pattern}" if options else pattern
    try:
        # Bytes: the Python half of the library counts the characters of a `str` for every match.
        search = re2.compile(inline.encode(), settings).search
    except re2.error as error:
        reason = error.args[0] if error.args else b"malformed"
        # Behind the colon it quotes the pattern.
        raise ValueError((reason.decode() if isinstance(reason, bytes) else str(reason)).partition(": ")[0]) from None
    return lambda text: search(text.encode()) is not None
