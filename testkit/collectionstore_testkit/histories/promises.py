"""What answers promise beyond linearizability: revisions, and that "failed" means never applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectionstore_testkit.histories.model import Revisions
from collectionstore_testkit.histories.operations import Operation, describe


def observations(operation: Operation) -> Iterator[tuple[str, str, int | None]]:
    """Yield (key, value, revision) for every value that the operation found."""
    if operation.answer is None:
        return
    for step, seen in zip(operation.ran(), operation.answer.seen, strict=False):
        if step.action == "get" and seen.existed and seen.value is not None:
            yield step.key, seen.value, seen.revision


def stored(operation: Operation) -> Iterator[tuple[str, str]]:
    """Yield (key, value) for every value that the operation may store."""
    for step in (*operation.then, *operation.otherwise):
        if step.action == "put" and step.value is not None:
            yield step.key, step.value


def broken_promises(history: Sequence[Operation], revisions: Revisions) -> list[str]:
    """Fill `revisions` and return what contradicts itself without any search, one readable text each."""
    found: list[str] = []
    writers: dict[str, tuple[str, Operation]] = {}
    for operation in history:
        for key, value in stored(operation):
            if value in writers:
                found.append(f"two operations store the value {value}; values must be unique in a history")
            writers[value] = (key, operation)
    found += _revisions_of_writes(history, revisions)
    for operation in history:
        for key, value, revision in observations(operation):
            found += _observed(operation, key, value, revision, writers, revisions)
    found += _real_time(history)
    return found


def _revisions_of_writes(history: Sequence[Operation], revisions: Revisions) -> list[str]:
    found = []
    owner: dict[int, Operation] = {}
    for operation in history:
        answer = operation.answer
        if operation.outcome != "ok" or answer is None or answer.revision is None or not operation.writes:
            continue
        revisions.tell(answer.revision)
        if not _changed(operation):
            continue
        other = owner.setdefault(answer.revision, operation)
        if other is not operation:
            found.append(f"two writes have revision {answer.revision}:\n  {describe(other)}\n  {describe(operation)}")
        for step in operation.ran():
            if step.action == "put" and step.value is not None:
                revisions.learn(step.value, answer.revision)
    return found


def _changed(operation: Operation) -> bool:
    return any(step.action != "get" for step in operation.ran())


def _observed(
    operation: Operation,
    key: str,
    value: str,
    revision: int | None,
    writers: dict[str, tuple[str, Operation]],
    revisions: Revisions,
) -> list[str]:
    line = describe(operation)
    if value not in writers:
        return [f"a value that was never written was read:\n  {line}"]
    written, writer = writers[value]
    if written != key:
        return [f"the value of {written} was read under {key}:\n  {describe(writer)}\n  {line}"]
    if writer.outcome == "failed":
        return [f"a write that was promised not to be applied was read:\n  {describe(writer)}\n  {line}"]
    if writer.invoked > (operation.returned if operation.returned is not None else writer.invoked):
        return [f"a value was read before its write began:\n  {line}\n  {describe(writer)}"]
    if revision is None:
        return []
    if (known := revisions.learn(value, revision)) != revision:
        return [
            f"the value {value} has revisions {known} and {revision}: it was stored twice\n"
            f"  {describe(writer)}\n  {line}"
        ]
    # A transaction has one revision: its other values, observed or not, have it too.
    for steps in (writer.then, writer.otherwise):
        if any(step.value == value for step in steps):
            for step in steps:
                if step.action == "put" and step.value is not None:
                    revisions.learn(step.value, revision)
    return []


def _real_time(history: Sequence[Operation]) -> list[str]:
    """Check that revisions never contradict the order in which clients were answered."""
    ended = sorted(
        (one for one in history if one.outcome == "ok" and one.returned is not None and _revision(one) is not None),
        key=lambda one: one.returned or 0.0,
    )
    found = []
    newest, newest_revision = None, 0
    position = 0
    for operation in sorted(ended, key=lambda one: one.invoked):
        while position < len(ended) and (ended[position].returned or 0.0) < operation.invoked:
            if (revision := _revision(ended[position]) or 0) > newest_revision:
                newest, newest_revision = ended[position], revision
            position += 1
        own = _revision(operation) or 0
        if newest is not None and (own < newest_revision or (own == newest_revision and _changed(operation))):
            found.append(
                "a later operation has an older revision than one that was answered before it began:\n"
                f"  {describe(newest)}\n  {describe(operation)}"
            )
    return found


def _revision(operation: Operation) -> int | None:
    return operation.answer.revision if operation.answer is not None else None
