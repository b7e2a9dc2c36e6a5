"""What is refused of an expression, wherever it is parsed."""

from __future__ import annotations

from typing import Any

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart


def named(given: Value, pointer: str, name: str, names: tuple[str, ...], required: int, form: str) -> dict[str, Any]:
    """Return arguments with names, the first `required` of which must be given. Raises `InvalidPart`."""
    if type(given) is not dict:
        raise invalid(pointer, f"{name} takes {form}")
    extra = next((one for one in given if one not in names), None)
    if extra is not None:
        raise invalid(child(pointer, extra), f"{name} takes {form}")
    lacking = [one for one in names[:required] if one not in given]
    if lacking:
        raise invalid(pointer, f"{name} takes {form}; there is no {lacking[0]!r}")
    return given


def check_name(name: str, pointer: str) -> None:
    """Check the name of a computed field. Raises `InvalidPart`."""
    if not name or name[:1] == "$" or "." in name:
        raise invalid(pointer, "a name here is not empty, does not begin with a dollar sign, and has no dot")


def invalid(pointer: str, detail: str) -> InvalidPart:
    """Return the error for a mistake in an expression."""
    return InvalidPart("invalid_expression", pointer, detail)
