"""Text in one case, alike on every replica whatever its version of Python.

`str.casefold` follows the Unicode of the interpreter, and a letter that is new in one version folds in it and not in
the one before: two replicas would store different entries. So the table is the package's own (`folding_table`), of
Unicode 14.0, and stays as it is. Letters that came later are compared as they are written.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.indexes.folding_table import EXPANSIONS, RUNS


def fold(text: str) -> str:
    """Return `text` in one case: texts that differ in case alone become equal. Full folding: ß becomes ss."""
    return text.lower() if text.isascii() else text.translate(_TABLE)


def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for run in RUNS.split():
        first, last, step, distance = run.split(",")
        for one in range(int(first, 16), int(last, 16) + 1, int(step)):
            table[one] = chr(one + int(distance))
    for expansion in EXPANSIONS.split():
        letter, several = expansion.split("=")
        table[int(letter, 16)] = "".join(chr(int(part, 16)) for part in several.split("+"))
    return table


_TABLE: Final = _table()
