"""The operations of `bulk_write`, as PyMongo has them, and which lines of `:bulk` they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from collectionstore.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class InsertOne:
    """Insert a document; with `_id` under this ID, which must be free."""

    document: Any


@dataclass(frozen=True, slots=True)
class ReplaceOne:
    """Replace the first match."""

    filter: Mapping[str, Any]
    replacement: Any
    upsert: bool = False
    sort: Any = None


@dataclass(frozen=True, slots=True)
class UpdateOne:
    """Update the first match."""

    filter: Mapping[str, Any]
    update: Mapping[str, Any]
    upsert: bool = False
    array_filters: list[Mapping[str, Any]] | None = None
    sort: Any = None


@dataclass(frozen=True, slots=True)
class UpdateMany:
    """Update all matches."""

    filter: Mapping[str, Any]
    update: Mapping[str, Any]
    upsert: bool = False
    array_filters: list[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class DeleteOne:
    """Delete the first match."""

    filter: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteMany:
    """Delete all matches."""

    filter: Mapping[str, Any]


BulkOperation: TypeAlias = InsertOne | ReplaceOne | UpdateOne | UpdateMany | DeleteOne | DeleteMany


def named_id(filter_: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the ID that a filter asks for by equality, and the rest of the filter; None if it asks for none."""
    wanted = filter_.get("_id")
    if isinstance(wanted, Mapping) and set(wanted) == {"$eq"}:
        wanted = wanted["$eq"]
    if not isinstance(wanted, str):
        return None
    return wanted, {name: one for name, one in filter_.items() if name != "_id"}


def check_update(update: object) -> Mapping[str, Any]:
    """Return an update that has operators only. Raises InvalidArgument."""
    if not isinstance(update, Mapping):
        raise InvalidArgument(f"an update is a mapping of operators, not a {type(update).__name__}")
    if not update or not all(isinstance(name, str) and name.startswith("$") for name in update):
        raise InvalidArgument("an update has operators such as $set only; to replace a document there is replace_one")
    return update


def check_replacement(document: object) -> None:
    """Refuse a replacement that has operators. Raises InvalidArgument."""
    if isinstance(document, Mapping) and any(isinstance(name, str) and name.startswith("$") for name in document):
        raise InvalidArgument("a replacement has no operators; to change a document there is update_one")
