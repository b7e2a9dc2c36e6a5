"""What one operation does to a store that takes one at a time: the specification that histories are compared with."""

from __future__ import annotations

from collections.abc import Mapping

from collectionstore_testkit.histories.operations import Answer, Guard, Operation, Seen, Step

ABSENT = ""
"""Represents no value; values of a history are never empty."""

Store = Mapping[str, str]
"""Values by key; a key that is missing or `ABSENT` does not exist."""


class Revisions:
    """Which revision wrote which value, as far as responses show. A revision belongs to one operation of the store."""

    def __init__(self) -> None:
        self._of_value: dict[str, int] = {}
        self._told: set[int] = set()

    def learn(self, value: str, revision: int) -> int:
        """Note that `revision` wrote `value`; return the revision known before for that value, or this one."""
        self._told.add(revision)
        return self._of_value.setdefault(value, revision)

    def tell(self, revision: int) -> None:
        """Note that `revision` belongs to an operation whose values are known."""
        self._told.add(revision)

    def of(self, value: str) -> int | None:
        """Return the revision of a value: 0 when absent, None when no response contained it."""
        return 0 if value == ABSENT else self._of_value.get(value)

    def may_be(self, value: str, revision: int) -> bool:
        """Whether `value` can have that revision."""
        known = self.of(value)
        if known is not None:
            return known == revision
        # No response contained its revision, so it is a revision that appears in no response.
        return revision != 0 and revision not in self._told


def run(operation: Operation, store: Store, revisions: Revisions) -> tuple[bool, dict[str, str]]:
    """Run `operation` on `store`: whether its answer is right for that, and what it changes, by key.

    An operation without an answer fits everywhere. Guards name only revisions from responses, as clients do.
    """
    succeeded = all(_holds(guard, store, revisions) for guard in operation.guards)
    answer = operation.answer
    if answer is not None and answer.succeeded != succeeded:
        return False, {}
    changes: dict[str, str] = {}
    steps = operation.then if succeeded else operation.otherwise
    for position, step in enumerate(steps):
        before = changes.get(step.key, store.get(step.key, ABSENT))
        if (
            answer is not None
            and position < len(answer.seen)
            and not _fits(step, answer.seen[position], before, revisions)
        ):
            return False, {}
        if step.action == "put":
            changes[step.key] = step.value or ABSENT
        elif step.action == "delete":
            changes[step.key] = ABSENT
    return answer is None or _current_fits(operation, answer, store, revisions), changes


def _holds(guard: Guard, store: Store, revisions: Revisions) -> bool:
    value = store.get(guard.key, ABSENT)
    if guard.field == "exists":
        return (value != ABSENT) == guard.operand
    if guard.field == "value":
        return value == guard.operand
    return revisions.may_be(value, int(guard.operand))


def _fits(step: Step, seen: Seen, before: str, revisions: Revisions) -> bool:
    exists = before != ABSENT
    if seen.existed is not None and seen.existed != exists:
        return False
    if step.action != "get" or not exists:
        return True
    if seen.value is not None and seen.value != before:
        return False
    return seen.revision is None or revisions.may_be(before, seen.revision)


def _current_fits(operation: Operation, answer: Answer, store: Store, revisions: Revisions) -> bool:
    if answer.current is None or not operation.guards:
        return True
    return revisions.may_be(store.get(operation.guards[0].key, ABSENT), answer.current)
