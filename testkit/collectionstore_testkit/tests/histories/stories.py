"""A short way to write histories by hand, for tests: client, time, operation and outcome."""

from __future__ import annotations

from collections.abc import Sequence

from collectionstore_testkit.histories.operations import Answer, Guard, Operation, Seen, Step

_counter = iter(range(1, 1 << 60))


def put(
    at: tuple[float, float | None],
    key: str,
    value: str,
    revision: int | None = None,
    *,
    outcome: str = "ok",
    expects: int | None = None,
    current: int | None = None,
) -> Operation:
    """A write; `expects` makes it a compare-and-set, `current` a refused one."""
    guards = () if expects is None else (Guard(key, "revision", expects),)
    answer = None
    if outcome == "ok":
        answer = Answer(succeeded=current is None, revision=revision, current=current)
    return _operation(at, outcome, (Step("put", key, value),), guards, (), answer)


def get(at: tuple[float, float], key: str, value: str | None, revision: int | None = None) -> Operation:
    """A read that found `value`, None for nothing."""
    seen = Seen(existed=value is not None, value=value, revision=revision)
    return _operation(at, "ok", (Step("get", key),), (), (), Answer(succeeded=True, revision=None, seen=(seen,)))


def delete(at: tuple[float, float | None], key: str, *, existed: bool | None = None, outcome: str = "ok") -> Operation:
    """A delete."""
    answer = Answer(succeeded=True, revision=None, seen=(Seen(existed=existed),)) if outcome == "ok" else None
    return _operation(at, outcome, (Step("delete", key),), (), (), answer)


def transact(
    at: tuple[float, float | None],
    steps: Sequence[Step],
    *,
    guards: Sequence[Guard] = (),
    otherwise: Sequence[Step] = (),
    seen: Sequence[Seen] = (),
    succeeded: bool = True,
    outcome: str = "ok",
) -> Operation:
    """A transaction."""
    answer = Answer(succeeded=succeeded, revision=None, seen=tuple(seen)) if outcome == "ok" else None
    return _operation(at, outcome, tuple(steps), tuple(guards), tuple(otherwise), answer)


def _operation(
    at: tuple[float, float | None],
    outcome: str,
    then: tuple[Step, ...],
    guards: tuple[Guard, ...],
    otherwise: tuple[Step, ...],
    answer: Answer | None,
) -> Operation:
    number = next(_counter)
    assert outcome in ("ok", "failed", "unknown")
    return Operation(
        id=number,
        process=f"p{number}",
        then=then,
        invoked=at[0],
        returned=None if outcome == "unknown" else at[1],
        outcome=outcome,  # type: ignore[arg-type]
        guards=guards,
        otherwise=otherwise,
        answer=answer,
    )
