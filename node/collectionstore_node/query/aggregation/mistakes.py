"""What is refused of a pipeline, wherever it is parsed."""

from __future__ import annotations

from typing import Any

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart


def invalid(pointer: str, detail: str) -> InvalidPart:
    """Return the error for a mistake in a pipeline."""
    return InvalidPart("invalid_pipeline", pointer, detail)


def options(given: Value, pointer: str, form: str, required: tuple[str, ...], *others: str) -> dict[str, Any]:
    """Return the options of a stage, an object. Raises `InvalidPart`."""
    if type(given) is not dict:
        raise invalid(pointer, f"the stage takes {form}")
    for name in given:
        if name not in required and name not in others:
            raise invalid(child(pointer, name), f"the stage takes {form}")
    for name in required:
        if name not in given:
            raise invalid(pointer, f"the stage takes {form}; there is no {name!r}")
    return given


def whole(given: Value, pointer: str, least: int, most: int) -> int:
    """Return a whole number, which may be written as 3.0. Raises `InvalidPart`."""
    value = int(given) if type(given) is float and given.is_integer() else given
    if type(value) is not int or not least <= value <= most:
        raise invalid(pointer, f"this is a whole number from {least} to {most}")
    return value
