"""YAML documents as JSON sees them: strings as keys, no aliases, no tags, no dates, bounded size and depth.

What YAML has beyond JSON is refused where it stands, instead of surprising the reader: of two equal keys the last would
win, an alias can expand a few lines to gigabytes, `!!int 'x'` has no value. Kubernetes converts manifests to JSON, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from collectionstore_operator.errors import FieldError
from collectionstore_operator.resource.schema import child, shown

DEPTH_MAX: Final = 64
"""Nesting; the deepest field of the resource is at 9."""
DOCUMENTS_MAX: Final = 100
_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_SCALARS: Final = frozenset({"str", "int", "float", "bool", "null"})
_JSON_ONLY: Final = "what JSON has: objects, lists, strings, numbers, true, false and null"


class _Loader(yaml.SafeLoader):
    """Without dates and merge keys, so that both stay the strings that they are in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG_PREFIX) in _SCALARS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class NotReadable(Exception):
    """The text is no YAML, or has no document or too many; `line` and `column` from 1, 0 if unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class Document(NamedTuple):
    """A document: its value, the line of each field by path, and what JSON does not have."""

    value: object
    """None if there are such errors."""
    lines: dict[str, int]
    errors: list[FieldError]


def read(content: bytes) -> list[Document]:
    """Return the documents of a file, at least one; empty ones do not count. Raises NotReadable."""
    found = []
    for root in _compose(content):
        lines: dict[str, int] = {}
        errors = list(_locate(root, "", lines))
        found.append(Document(None if errors else _value(root), lines, errors))
    return found


def _compose(content: bytes) -> list[yaml.Node]:
    try:
        _check_events(content)
        documents = [node for node in yaml.compose_all(content, _Loader) if node is not None]
    except yaml.MarkedYAMLError as error:
        raise _at(error.problem_mark, f"not YAML: {error.problem or error.context}") from error
    # ValueError: an escape beyond the last code point, such as "\UFFFFFFFF", is converted without a check.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise NotReadable(f"not YAML: {error}") from error
    if not 1 <= len(documents) <= DOCUMENTS_MAX:
        raise NotReadable(f"{len(documents)} YAML documents; allowed: 1 to {DOCUMENTS_MAX}")
    return documents


def _check_events(content: bytes) -> None:
    """Refuse aliases and deep nesting BEFORE nodes are composed, which is recursive."""
    depth = 0
    for event in yaml.parse(content, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _at(event.start_mark, f"the alias *{event.anchor} is not allowed; allowed: the value itself")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise _at(event.start_mark, f"nested more than {DEPTH_MAX} deep; allowed: at most {DEPTH_MAX}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _locate(node: yaml.Node, path: str, lines: dict[str, int]) -> Iterator[FieldError]:
    """Record in `lines` the line of every field at and below `node`; yield the errors among them."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        yield from _check_tag(node, "seq", path)
        for position, item in enumerate(node.value):
            yield from _locate(item, f"{path}[{position}]", lines)
    elif isinstance(node, yaml.MappingNode):
        yield from _check_tag(node, "map", path)
        yield from _locate_fields(node, path, lines)
    else:
        yield from _check_scalar(node, path)


def _locate_fields(node: yaml.MappingNode, path: str, lines: dict[str, int]) -> Iterator[FieldError]:
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            lines[child(path, "?")] = line
            yield FieldError(child(path, "?"), f"a {key.id} is not allowed as a key", "a string")
            continue
        place = child(path, _printable(key.value))
        lines.setdefault(place, line)
        if key.tag != f"{_TAG_PREFIX}str":
            yield FieldError(
                place, f"the key {_printable(key.value)} is not a string", "a string, in quotes if need be"
            )
        elif key.value == "<<":
            yield FieldError(place, "merge keys are not allowed", "the fields themselves")
        elif key.value in seen:
            yield FieldError(place, f"is set twice, in lines {seen[key.value]} and {line}", "each field once")
        seen[key.value] = line
        yield from _check_text(key.value, place)
        yield from _locate(value, place, lines)


def _check_tag(node: yaml.Node, expected: str, path: str) -> Iterator[FieldError]:
    if node.tag != _TAG_PREFIX + expected:
        yield FieldError(path, f"the tag {_printable(node.tag)} is not allowed", _JSON_ONLY)


def _check_scalar(node: yaml.Node, path: str) -> Iterator[FieldError]:
    kind = node.tag.removeprefix(_TAG_PREFIX)
    if kind not in _SCALARS:
        yield FieldError(path, f"the tag {_printable(node.tag)} is not allowed", _JSON_ONLY)
        return
    try:
        value = _value(node)
    # What the constructors of PyYAML raise for `!!int 'x'`, `!!bool 'x'`, or a number of 5,000 digits.
    except (ValueError, KeyError, IndexError, OverflowError, yaml.YAMLError):
        yield FieldError(path, f"{shown(_printable(node.value))} is not of type {kind}", f"a value of type {kind}")
        return
    if isinstance(value, str):
        yield from _check_text(value, path)


def _check_text(text: str, path: str) -> Iterator[FieldError]:
    if text != _printable(text):
        yield FieldError(path, "a lone surrogate is not Unicode text", "Unicode text")


def _printable(text: str) -> str:
    """Return the text with lone surrogates as `?`: they can be neither stored nor printed."""
    return text.encode("utf-8", "replace").decode()


def _value(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_document(node)


def _at(mark: Any, message: str) -> NotReadable:
    return NotReadable(message, mark.line + 1, mark.column + 1) if mark else NotReadable(message)
