"""Filters, updates, documents, orders and projections as people write them on a command line. Pure.

JSON is taken as it is. Else an argument is a condition (`year>=1950`), a change (`copies+=1`), a value (`title=Dune`):
a path, an operator, and a value, which is JSON if it reads as such, and a text if it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from collectionstore.cli.exit_codes import CommandError, ExitCode
from collectionstore.render.json_text import compact, parse, parse_once

PATH: Final = r"[^\s=<>!~{}\[\]\"']+?"
CONDITION: Final = re.compile(rf"(?P<path>{PATH})(?P<operator>!=|>=|<=|=|>|<|~)(?P<value>.*)", re.DOTALL)
CHANGE: Final = re.compile(rf"(?P<path>{PATH})(?P<operator>\+=|-=|\[\]=|=)(?P<value>.*)", re.DOTALL)
REMOVAL: Final = re.compile(rf"(?P<path>{PATH})-")
NAME: Final = re.compile(r"-?[^\s,\"{}]+")
OPERATORS: Final[Mapping[str, str]] = {
    "=": "$eq",
    "!=": "$ne",
    ">": "$gt",
    ">=": "$gte",
    "<": "$lt",
    "<=": "$lte",
    "~": "$regex",
}
CONDITIONS: Final = 'JSON such as \'{"year": {"$gte": 1950}}\', or a path and =, !=, >, >=, <, <=, ~ and a value'
CHANGES: Final = (
    'JSON operators such as \'{"$inc": {"copies": 1}}\', or path=value, path+=number, path-=number, path[]=value, path-'
)
RESERVED: Final = ("_id", "_revision")


class ArgumentInvalid(CommandError):
    """An argument is not what its command takes; the text says what is allowed. Nothing was sent."""

    exit_code = ExitCode.USAGE


def scalar(text: str) -> Any:
    """Return the value that a text means: its JSON, or itself."""
    try:
        return parse(text)
    except ValueError:
        return text


def json_of(text: str, what: str, kind: type = dict) -> Any:
    """Return JSON of one kind, `dict` or `list`. Raises ArgumentInvalid, with the place of a mistake."""
    name = "an object" if kind is dict else "an array"
    try:
        found = parse_once(text)
    except ValueError as error:
        raise ArgumentInvalid(f"{what} is not JSON: {_place(error)}") from error
    if not isinstance(found, kind):
        raise ArgumentInvalid(f"{what} must be {name} of JSON")
    return found


def filter_of(arguments: Iterable[str]) -> dict[str, Any]:
    """Return the filter of all the conditions; without any, that of every document. Raises ArgumentInvalid."""
    parts = [_condition(one) for one in arguments]
    merged: dict[str, Any] = {}
    for part in parts:
        if merged.keys() & part.keys():
            return {"$and": parts}
        merged |= part
    return merged


def update_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the update of all the changes. Raises ArgumentInvalid for none, and for two of one path."""
    made: dict[str, Any] = {}
    for argument in arguments:
        for operator, changes in _change(argument).items():
            known = made.setdefault(operator, {})
            if not isinstance(changes, dict):
                raise ArgumentInvalid(f"{operator} must be an object of JSON")
            if twice := known.keys() & changes.keys():
                raise ArgumentInvalid(f"{operator} names {sorted(twice)[0]} twice")
            known.update(changes)
    if not made:
        raise ArgumentInvalid(f"no change is given; allowed: {CHANGES}")
    return made


def document_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the document with these values: one of JSON, or `path=value` each. Raises ArgumentInvalid."""
    if len(arguments) == 1 and arguments[0].lstrip().startswith("{"):
        return dict(json_of(arguments[0], "the document"))
    made: dict[str, Any] = {}
    for argument in arguments:
        match = CHANGE.fullmatch(argument)
        if match is None or match["operator"] not in ("=", "[]="):
            raise ArgumentInvalid(f"{shown(argument)} is no value; allowed: JSON, or path=value, path[]=value")
        _place_value(made, match["path"], scalar(match["value"]), appended=match["operator"] == "[]=")
    return made


def sort_of(text: str) -> dict[str, int]:
    """Return the order of `-year,title` or of JSON. Raises ArgumentInvalid."""
    if text.lstrip().startswith("{"):
        return dict(json_of(text, "the order"))
    return {one.removeprefix("-"): -1 if one.startswith("-") else 1 for one in _names(text, "the order")}


def projection_of(text: str) -> dict[str, int]:
    """Return the projection of `title,year`, of `-notes` (all but those) or of JSON. Raises ArgumentInvalid."""
    if text.lstrip().startswith("{"):
        return dict(json_of(text, "the projection"))
    found = {one.removeprefix("-"): 0 if one.startswith("-") else 1 for one in _names(text, "the projection")}
    if len(set(found.values())) > 1:
        raise ArgumentInvalid("the projection either shows fields (title,year) or leaves some out (-notes,-draft)")
    return found


def names_of(text: str, what: str) -> list[str]:
    """Return names separated by commas. Raises ArgumentInvalid."""
    return _names(text, what)


def fields_of(arguments: Sequence[str]) -> dict[str, int]:
    """Return the fields of an index: `year`, `-year`, or `year:-1`. Raises ArgumentInvalid."""
    made: dict[str, int] = {}
    for argument in arguments:
        path, colon, direction = argument.rpartition(":")
        if colon and direction in ("1", "-1"):
            made[path] = int(direction)
        elif argument.startswith("-"):
            made[argument[1:]] = -1
        else:
            made[argument] = 1
    if not all(made):
        raise ArgumentInvalid("a field of the index is empty; allowed: year, -year, year:-1")
    return made


def body_of(arguments: Sequence[str]) -> tuple[str | None, int | None, bytes]:
    """Return ID, revision and text of a document as `get` shows it, or of `path=value` each. Raises ArgumentInvalid.

    The text of JSON is kept, digit by digit; without `_id` and `_revision`, which are not part of a document.
    """
    document = document_of(arguments)
    found, revision = document.get("_id"), document.get("_revision")
    if found is not None and not isinstance(found, str):
        raise ArgumentInvalid("_id must be a text")
    if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool) or revision < 1):
        raise ArgumentInvalid("_revision must be a whole number above 0")
    if len(arguments) != 1 or not arguments[0].lstrip().startswith("{"):
        rest = {name: value for name, value in document.items() if name not in RESERVED}
        return found, revision, compact(rest).encode()
    text = arguments[0].encode()
    if not document.keys() & set(RESERVED):
        return found, revision, text
    try:
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        # Half of a surrogate pair, which Python's reader takes.
        raise ArgumentInvalid(f"the document is not JSON: {error}") from error
    kept = (f"{compact(name)}:".encode() + bytes(raw) for name, raw in members.items() if name not in RESERVED)
    return found, revision, b"{" + b",".join(kept) + b"}"


def shown(argument: str) -> str:
    """Return an argument as messages name it: short, and in one line."""
    return repr(argument if len(argument) <= 40 else argument[:37] + "...")


def _condition(argument: str) -> dict[str, Any]:
    if argument.lstrip().startswith("{"):
        return dict(json_of(argument, "the filter"))
    match = CONDITION.fullmatch(argument)
    if match is None:
        raise ArgumentInvalid(f"{shown(argument)} is no filter; allowed: {CONDITIONS}")
    if match["operator"] == "~":
        return {match["path"]: {"$regex": match["value"]}}
    return {match["path"]: {OPERATORS[match["operator"]]: scalar(match["value"])}}


def _change(argument: str) -> dict[str, Any]:
    if argument.lstrip().startswith("{"):
        return dict(json_of(argument, "the update"))
    match = CHANGE.fullmatch(argument)
    if match is None:
        removal = REMOVAL.fullmatch(argument)
        if removal is None:
            raise ArgumentInvalid(f"{shown(argument)} is no change; allowed: {CHANGES}")
        return {"$unset": {removal["path"]: ""}}
    path, value = match["path"], scalar(match["value"])
    match match["operator"]:
        case "[]=":
            return {"$push": {path: value}}
        case "+=" | "-=":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ArgumentInvalid(f"{shown(argument)}: {match['operator']} takes a number")
            return {"$inc": {path: value if match["operator"] == "+=" else -value}}
        case _:
            return {"$set": {path: value}}


def _place_value(document: dict[str, Any], path: str, value: object, *, appended: bool) -> None:
    *heads, last = path.split(".")
    place = document
    for head in heads:
        inner = place.setdefault(head, {})
        if not isinstance(inner, dict):
            raise ArgumentInvalid(f"{path} is inside of {head}, which has a value of its own")
        place = inner
    if appended:
        values = place.setdefault(last, [])
        if not isinstance(values, list):
            raise ArgumentInvalid(f"{path} has a value, and is no array")
        values.append(value)
    elif last in place:
        raise ArgumentInvalid(f"{path} is given twice")
    else:
        place[last] = value


def _names(text: str, what: str) -> list[str]:
    found = [one.strip() for one in text.split(",")]
    if not all(NAME.fullmatch(one) and one != "-" for one in found):
        raise ArgumentInvalid(f"{what} must be names separated by commas, such as -year,title")
    if len({one.removeprefix("-") for one in found}) < len(found):
        raise ArgumentInvalid(f"{what} names a field twice")
    return found


def _place(error: ValueError) -> str:
    line, column = getattr(error, "lineno", None), getattr(error, "colno", None)
    message = getattr(error, "msg", None) or str(error)
    return f"{message} at line {line}, column {column}" if line else str(message)
