"""Which requests are recorded, and of which the content. Pure.

The first rule that matches a request decides. Where none does: everything that changes something and everything that
administers is recorded, and of what only reads a share. A request that was refused for its credentials or its rights
is recorded whatever the rules say of it, unless one takes `none` of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from collectionstore_node.access.verbs import Verb

RULES_MAX: Final = 64
NAMES_MAX: Final = 256
"""Names in a list of a rule."""
READS: Final = frozenset((Verb.READ, Verb.WATCH, Verb.MONITOR))
REFUSED: Final = frozenset((401, 403))
"""Statuses of requests that were refused for credentials or rights."""

_Names = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...], msgspec.Meta(max_length=NAMES_MAX)
]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule; an empty list matches everything. Names may end in `*`, for all that begin so."""

    users: _Names = ()
    verbs: tuple[Verb, ...] = ()
    resources: _Names = ()
    """Collections and buckets."""
    take: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1.0
    """Which part of the requests is recorded, at random: 1 for all, 0 for none."""
    content: bool = False
    """Whether the body of the request is recorded, its first 4,096 characters."""


class Decision(NamedTuple):
    """What becomes of a request."""

    take: float
    content: bool = False


ALL: Final = Decision(1.0)


class Rules:
    """The rules of a member, ready to be asked."""

    __slots__ = ("_reads", "_rules")

    def __init__(self, rules: Sequence[Rule] = (), *, reads: float = 1.0) -> None:
        """`reads` is the part of the reads that is recorded where no rule says it."""
        self._rules = tuple(rules)
        self._reads = Decision(reads)

    def decide(self, user: str, verb: str, resource: str) -> Decision:
        """Return what becomes of a request."""
        for rule in self._rules:
            if (
                (not rule.verbs or verb in rule.verbs)
                and (not rule.users or _named(user, rule.users))
                and (not rule.resources or _named(resource, rule.resources))
            ):
                return Decision(rule.take, rule.content)
        return self._reads if verb in READS else ALL


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules in a JSON list. Raises `ValueError`, whose text says what is allowed."""
    try:
        rules = msgspec.json.decode(text.encode(), type=tuple[Rule, ...])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f'a JSON list of rules, such as [{{"verbs": ["read"], "take": 0}}]; {error}') from None
    if len(rules) > RULES_MAX:
        raise ValueError(f"at most {RULES_MAX} rules")
    return rules


def _named(name: str, patterns: Sequence[str]) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)
