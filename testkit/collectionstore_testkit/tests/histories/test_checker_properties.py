"""The checker against brute force on small random histories, and against executions that are right by construction."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_testkit.histories.checker import Linearizable, check
from collectionstore_testkit.histories.model import ABSENT, Revisions, run
from collectionstore_testkit.histories.operations import Answer, Guard, Operation, Seen, Step
from collectionstore_testkit.histories.promises import broken_promises

KEYS = ("x", "y")


def draw_request(random: Random, number: int, revisions: list[int]) -> Operation:
    """A random operation without a response."""
    key, other = random.choice(KEYS), random.choice(KEYS)
    put, look = Step("put", key, f"v{number}"), Step("get", key)
    guards: tuple[Guard, ...] = ()
    then: tuple[Step, ...]
    match random.randrange(6):
        case 0 | 1:
            then = (look,)
        case 2:
            then = (put,)
        case 3:
            then, guards = (put,), (Guard(key, "revision", random.choice([0, *revisions])),)
        case 4:
            then = (Step("delete", key),)
        case _:
            then = (look, Step("put", other, f"v{number}"))
    return Operation(number, f"p{number}", then, 0.0, None, "unknown", guards)


def answered(operation: Operation, store: dict[str, tuple[str, int]], revision: int) -> Operation:
    """Run the operation on `store`, which holds (value, revision), and return it with the answer it gets."""
    succeeded = all(store.get(guard.key, ("", 0))[1] == guard.operand for guard in operation.guards)
    current = None if succeeded else store.get(operation.guards[0].key, ("", 0))[1]
    seen = []
    for step in operation.then if succeeded else ():
        value, at = store.get(step.key, (ABSENT, 0))
        if step.action == "get":
            seen.append(Seen(existed=bool(value), value=value or None, revision=at if value else None))
            continue
        seen.append(Seen(existed=bool(value)))
        if step.action == "put":
            store[step.key] = (step.value or "", revision)
        else:
            store.pop(step.key, None)
    answer = Answer(succeeded=succeeded, revision=revision, seen=tuple(seen), current=current)
    return change(operation, answer=answer, outcome="ok")


def change(operation: Operation, **changes: object) -> Operation:
    """Return the operation with some fields changed."""
    fields = {name: getattr(operation, name) for name in Operation.__struct_fields__}
    return Operation(**(fields | changes))


def honest_history(random: Random, length: int) -> list[Operation]:
    """Return what clients see of a store that takes one operation at a time: each happens within its own interval."""
    store: dict[str, tuple[str, int]] = {}
    revisions: list[int] = []
    history = []
    for number in range(length):
        happened = float(number)
        done = answered(draw_request(random, number, revisions), store, number + 1)
        done = change(done, invoked=happened - random.random() * 3, returned=happened + random.random() * 3)
        fate = random.random()
        if fate < 0.15 and done.writes:
            done = change(done, outcome="unknown", answer=None, returned=None)
        elif fate < 0.3:
            # Without its revision the claimed order is no help, and the search has to find one.
            assert done.answer is not None
            answer = Answer(done.answer.succeeded, None, done.answer.seen, done.answer.current)
            done = change(done, answer=answer)
        elif done.writes:
            revisions.append(number + 1)  # told to a client, who may use it in a guard
        history.append(done)
        if random.random() < 0.1:
            never = change(draw_request(random, 1000 + number, revisions), invoked=happened)
            if never.writes:
                history.append(
                    never if random.random() < 0.5 else change(never, outcome="failed", returned=happened + 1)
                )
    random.shuffle(history)
    return history


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32), length=st.integers(1, 40))
def test_every_honest_history_is_accepted(seed: int, length: int) -> None:
    verdict = check(honest_history(Random(seed), length))
    assert verdict.ok, verdict.explanation


def brute_force(history: list[Operation]) -> bool:
    """Whether some order of some of the operations explains the history: all known ones, any of the unknown."""
    revisions = Revisions()
    if broken_promises(history, revisions):
        return False
    known = [one for one in history if one.outcome == "ok"]
    unknown = [one for one in history if one.outcome == "unknown"]
    for chosen in range(1 << len(unknown)):
        taken = known + [one for position, one in enumerate(unknown) if chosen >> position & 1]
        if any(_explains(order, revisions) for order in permutations(taken)):
            return True
    return False


def _explains(order: tuple[Operation, ...], revisions: Revisions) -> bool:
    store: dict[str, str] = {}
    latest = -inf
    for one in order:
        end = inf if one.returned is None else one.returned
        if end < latest:
            return False
        latest = max(latest, one.invoked)
        fits, changes = run(one, store, revisions)
        if not fits:
            return False
        store.update(changes)
    return True


def spoiled_history(random: Random) -> list[Operation]:
    """Return a small honest history, often with one answer or one time changed."""
    history = [one for one in honest_history(random, random.randrange(2, 6)) if one.outcome != "failed"][:6]
    if not history or random.random() < 0.3:
        return history
    position = random.randrange(len(history))
    victim = history[position]
    answer = victim.answer
    if answer is not None and answer.seen and random.random() < 0.6:
        values = [step.value for one in history for step in one.then if step.action == "put"]
        value = random.choice([None, *values])
        lie = Seen(existed=value is not None, value=value)
        seen = tuple(lie if step.action == "get" else one for step, one in zip(victim.then, answer.seen, strict=True))
        history[position] = change(victim, answer=Answer(answer.succeeded, None, seen, answer.current))
    elif victim.returned is not None:
        shift = random.choice((-4.0, 4.0))
        history[position] = change(victim, invoked=victim.invoked + shift, returned=victim.returned + shift)
    return history


def test_verdict_agrees_with_brute_force() -> None:
    verdicts: Counter[bool] = Counter()
    searched = 0
    for seed in range(3000):
        history = spoiled_history(Random(seed))
        expected = brute_force(history)
        verdict = check(history)
        assert verdict.linearizable is (Linearizable.YES if expected else Linearizable.NO), f"seed {seed}"
        verdicts[expected] += 1
        searched += verdict.searched > 0
    assert min(verdicts[True], verdicts[False]) > 300, verdicts
    assert searched > 300, "the search has to be tried, not only the claimed order"
