"""A checked schema, compiled by jsonschema-rs. Its version is pinned: what it answers is part of the log's meaning.

Only its yes or no enters the state. References are resolved inside of the schema alone, formats are annotations,
patterns are searched in linear time by Rust's `regex`, and two keywords are our own (`own`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import orjson

from collectionstore_node.documents.pointers import child
from collectionstore_node.errors import InvalidPart
from collectionstore_node.schemas.costs import BYTES_OF_STEP, weigh
from collectionstore_node.schemas.defaults import defaults_of, fill
from collectionstore_node.schemas.keywords import invalid
from collectionstore_node.schemas.own import own_keywords
from collectionstore_node.schemas.tree import Tree, check_size
from collectionstore_node.schemas.violations import Violation, violations_of

PATTERN_BYTES_MAX: Final = 1 << 20
"""Memory of one compiled pattern."""
CACHE_BYTES_MAX: Final = 64 << 10
"""What is kept of one while it searches."""
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES_MAX, dfa_size_limit=CACHE_BYTES_MAX)


class CompiledSchema:
    """A schema that documents are checked against."""

    __slots__ = ("_defaults", "_document", "_faults", "_validator", "weight")

    def __init__(self, document: Any, pointer: str = "") -> None:
        """`document` is parsed JSON. Raises `InvalidPart("invalid_schema")`; its pointer begins with `pointer`."""
        tree = Tree(document, pointer)
        self.weight = weigh(tree, pointer)
        """What it takes for each value, and for each byte."""
        self._document = document
        self._faults: list[Exception] = []
        self._defaults = defaults_of(tree.root)
        if self._defaults is not None:
            for name, _ in self._defaults.values:
                if name.startswith("_"):
                    raise invalid(
                        child(f"{pointer}/properties", name), "documents have no top-level names that begin with '_'"
                    )
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                document,
                validate_formats=False,
                pattern_options=_PATTERNS,
                offline=True,
                keywords=own_keywords(self._faults),
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            # What the checks before it let through and it does not take, such as a pattern that RE2 takes.
            where = pointer
            if isinstance(error, jsonschema_rs.ValidationError):
                for part in error.instance_path:
                    where = child(where, part)
            raise invalid(where, "the validator cannot compile this, though it is allowed otherwise") from None

    def steps(self, text: bytes) -> int:
        """Return how many steps checking a document takes at most, whose compact JSON text is `text`."""
        # Every value inside follows one of these; those in strings make it more, never less.
        inside = text.count(b",") + text.count(b"[") + text.count(b"{")
        weight = self.weight
        return weight.first + weight.steps * inside + weight.instructions * len(text) // BYTES_OF_STEP

    def conforms(self, document: Any) -> bool:
        """Whether the schema allows `document`, parsed JSON that is nested at most `costs.DEPTH_MAX` deep."""
        allowed = self._validator.is_valid(document)
        if self._faults:
            raise self._faults.pop()
        return allowed

    def fill(self, document: dict[str, Any]) -> bool:
        """Fill the defaults of missing members in, and return whether there were some. Raises `DefaultsTooLarge`."""
        return self._defaults is not None and fill(self._defaults, document) > 0

    def violations(self, document: Any) -> list[Violation]:
        """Return what is wrong with `document`, at most `violations.VIOLATIONS_MAX`: for answers, not for the state."""
        return violations_of(self._validator.iter_errors(document), self._document)


def check_schema(document: Any, pointer: str = "") -> None:
    """Refuse a schema that is not allowed. Raises `InvalidPart("invalid_schema")` with a pointer."""
    if type(document) is not dict and type(document) is not bool:
        raise invalid(pointer, "a schema is an object, or true or false")
    check_size(document, pointer)
    try:
        # It is compiled once, however often it is checked until it is used.
        compile_schema(orjson.dumps(document))
    except InvalidPart as error:
        raise InvalidPart(error.code, pointer + error.pointer, error.detail) from None


@lru_cache(maxsize=64)
def compile_schema(text: bytes) -> CompiledSchema:
    """Return the compiled schema of a JSON text that `check_schema` takes. Raises `InvalidPart` otherwise."""
    return CompiledSchema(orjson.loads(text))
