"""From JSON to a checked expression: every mistake is refused with its place and the allowed forms."""

from __future__ import annotations

from typing import Final

from collectionstore_node.documents.expressions.mistakes import check_name, invalid, named
from collectionstore_node.documents.expressions.operators import OPERATORS, Operator
from collectionstore_node.documents.expressions.special import REFUSED, SPECIAL, Slots
from collectionstore_node.documents.expressions.tree import Array, Call, Field, Literal, Node, Object, Root, Variable
from collectionstore_node.documents.paths import parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.regexes import PATTERNS_MAX
from collectionstore_node.documents.values import MISSING, Value

NODES_MAX: Final = 1_024
"""Operators, paths and values of all expressions of a request."""
DEPTH_MAX: Final = 32
"""How deep expressions may be nested in one another."""

_NO_SLOTS: Final[Slots] = {}


class ExpressionParser:
    """Parses the expressions of one request, and counts their parts BEFORE each is looked at."""

    def __init__(self, now: str | None = None) -> None:
        """`now` is what `$$NOW` is, the same in all of them; None where there is no time of the request."""
        self._now = now
        self.slots = 0
        """How many variables there are."""
        self._nodes = 0
        self._patterns = 0

    def parse(self, given: Value, pointer: str, slots: Slots = _NO_SLOTS, depth: int = 0) -> Node:
        """Return the expression that `given` describes. Raises `InvalidPart("invalid_expression")`."""
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise invalid(pointer, f"the expressions have more than {NODES_MAX} parts")
        if depth > DEPTH_MAX:
            raise invalid(pointer, f"expressions are nested at most {DEPTH_MAX} deep")
        if type(given) is str:
            return self._text(given, pointer, slots)
        if type(given) is list:
            items = tuple(self.parse(one, child(pointer, at), slots, depth + 1) for at, one in enumerate(given))
            if all(isinstance(one, Literal) and one.value is not MISSING for one in items):
                return Literal([one.value for one in items])
            return Array(items)
        if type(given) is dict:
            return self._object(given, pointer, slots, depth)
        return Literal(given)

    def variable(self) -> int:
        """Return the slot of a new variable."""
        self.slots += 1
        return self.slots - 1

    def pattern(self, pointer: str) -> None:
        """Count a pattern BEFORE it is compiled. Raises `InvalidPart`."""
        self._patterns += 1
        if self._patterns > PATTERNS_MAX:
            raise invalid(pointer, f"expressions have at most {PATTERNS_MAX} patterns")

    def _text(self, given: str, pointer: str, slots: Slots) -> Node:
        if given[:1] != "$":
            return Literal(given)
        if given[:2] != "$$":
            return Field(parse_path(given[1:], "invalid_expression", pointer))
        name, dot, rest = given[2:].partition(".")
        path = parse_path(rest, "invalid_expression", pointer) if dot else ()
        if name in slots:
            return Variable(slots[name], path)
        if name in ("ROOT", "CURRENT"):
            return Field(path) if path else Root()
        if name == "REMOVE" and not path:
            return Literal(MISSING)
        if name == "NOW" and not path:
            if self._now is None:
                raise invalid(
                    pointer, "$$NOW is known in aggregations; here write the time into the request, as a text"
                )
            return Literal(self._now)
        known = ", ".join(f"$${one}" for one in ("ROOT", "CURRENT", "REMOVE", *slots))
        raise invalid(pointer, f"there is no such variable; known here: {known}")

    def _object(self, given: dict[str, Value], pointer: str, slots: Slots, depth: int) -> Node:
        first = next(iter(given), "")
        if first[:1] == "$":
            if len(given) > 1:
                raise invalid(pointer, "an operator stands alone in its object")
            return self._operator(first, given[first], child(pointer, first), slots, depth)
        fields = []
        for name, value in given.items():
            at = child(pointer, name)
            check_name(name, at)
            fields.append((name, self.parse(value, at, slots, depth + 1)))
        if all(isinstance(one, Literal) and one.value is not MISSING for _, one in fields):
            return Literal({name: one.value for name, one in fields})
        return Object(tuple(fields))

    def _operator(self, name: str, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
        operator = OPERATORS.get(name)
        if name == "$getField" and type(given) is str:
            given = {"field": given, "input": "$$CURRENT"}
        if operator is not None:
            return Call(name, self._arguments(name, operator, given, pointer, slots, depth), pointer)
        special = SPECIAL.get(name)
        if special is not None:
            return special(self, given, pointer, slots, depth + 1)
        reason = REFUSED.get(name)
        if reason is not None:
            raise invalid(pointer, f"{name} is not supported: {reason}")
        raise invalid(pointer, f"unknown operator; known: {', '.join(sorted((*OPERATORS, *SPECIAL)))}")

    def _arguments(
        self, name: str, operator: Operator, given: Value, pointer: str, slots: Slots, depth: int
    ) -> tuple[Node | None, ...]:
        if operator.alone and not (type(given) is dict and operator.alone in given):
            if type(given) is list and len(given) != 1:
                raise invalid(pointer, f"{name} takes {operator.form}")
            only = given[0] if type(given) is list else given
            found = self.parse(only, child(pointer, 0) if type(given) is list else pointer, slots, depth + 1)
            return tuple(found if one == operator.alone else None for one in operator.names)
        if operator.names:
            arguments = named(given, pointer, name, operator.names, operator.least, operator.form)
            return tuple(
                None if one not in arguments else self.parse(arguments[one], child(pointer, one), slots, depth + 1)
                for one in operator.names
            )
        if type(given) is not list:
            if not operator.least <= 1 <= operator.most:
                raise invalid(pointer, f"{name} takes {operator.form}")
            return (self.parse(given, pointer, slots, depth + 1),)
        if not operator.least <= len(given) <= operator.most:
            raise invalid(pointer, f"{name} takes {operator.form}; these are {len(given)} arguments")
        return tuple(self.parse(one, child(pointer, at), slots, depth + 1) for at, one in enumerate(given))
