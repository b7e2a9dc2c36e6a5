"""Is a history linearizable (Herlihy and Wing 1990)? A verdict, and for a bad one the smallest contradiction found.

Linearizability is local: keys that no operation joins are checked apart. Of three answers one is honest ignorance:
`Undecided` means that the search reached its bound; the caller must not take it for a yes.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_testkit.histories.model import Revisions
from collectionstore_testkit.histories.operations import Operation, describe
from collectionstore_testkit.histories.promises import broken_promises, observations, stored
from collectionstore_testkit.histories.search import Found, find_order
from collectionstore_testkit.histories.witness import claimed_order_holds

STEPS_MAX = 2_000_000
"""Operations tried in one group of keys before the answer is `Undecided`."""
_SHRINK_STEPS_MAX = 200_000
_SHRINK_OPERATIONS_MAX = 400


class Linearizable(enum.Enum):
    """The answer."""

    YES = "linearizable"
    NO = "not linearizable"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the check; `explanation` is text, empty for YES."""

    linearizable: Linearizable
    operations: int
    groups: int
    """Groups of keys that were checked apart."""
    searched: int
    """Groups for which the order of revisions was no proof, so that one was searched for."""
    explanation: str = ""

    @property
    def ok(self) -> bool:
        """Whether the history is proved linearizable."""
        return self.linearizable is Linearizable.YES


def check(history: Sequence[Operation], *, steps_max: int = STEPS_MAX) -> Verdict:
    """Check a history; failed operations are checked for not having happened and then left out."""
    revisions = Revisions()
    broken = broken_promises(history, revisions)
    if broken:
        return Verdict(Linearizable.NO, len(history), 0, 0, "\n".join(broken[:10]))
    relevant = [one for one in history if one.outcome != "failed" and (one.answer is not None or one.writes)]
    groups = _groups(relevant)
    searched = 0
    for group in groups:
        if claimed_order_holds(group, revisions):
            continue
        searched += 1
        found, order = _search(group, revisions, steps_max)
        if found is Found.NONE:
            text = _explain(group, revisions)
            return Verdict(Linearizable.NO, len(history), len(groups), searched, text)
        if found is Found.UNDECIDED:
            text = (
                f"gave up on {len(group)} operations on {', '.join(sorted(_keys(group)))} after {steps_max} steps; "
                f"{len(order)} were explained"
            )
            return Verdict(Linearizable.UNDECIDED, len(history), len(groups), searched, text)
    return Verdict(Linearizable.YES, len(history), len(groups), searched)


def _groups(history: Sequence[Operation]) -> list[list[Operation]]:
    """Return the operations by sets of keys that transactions join, each group in the order of the history."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    for operation in history:
        first, *others = sorted(operation.keys)
        for other in others:
            parent[root(other)] = root(first)
    groups: dict[str, list[Operation]] = {}
    for operation in history:
        groups.setdefault(root(min(operation.keys)), []).append(operation)
    return list(groups.values())


def _search(group: Sequence[Operation], revisions: Revisions, steps_max: int) -> tuple[Found, list[Operation]]:
    """Search for an order, first without the writes of unknown outcome that no operation observed.

    Without them there is less to try, and an order without them is an order: they may never have happened.
    """
    seen = {value for one in group for _, value, _ in observations(one)}
    sure = [one for one in group if one.outcome == "ok" or any(value in seen for _, value in stored(one))]
    if len(sure) < len(group):
        found, order = find_order(sure, revisions, steps_max)
        if found is Found.ORDER:
            return found, order
    return find_order(group, revisions, steps_max)


def _keys(group: Sequence[Operation]) -> frozenset[str]:
    return frozenset(key for one in group for key in one.keys)


def _explain(group: Sequence[Operation], revisions: Revisions) -> str:
    """Return the smallest part of the group that no order explains, as far as leaving out one at a time gets."""
    kept = _beginning(group, revisions)
    if len(kept) <= _SHRINK_OPERATIONS_MAX:
        kept = _shrunk(kept, revisions)
    lines = [f"no order explains these {len(kept)} operations on {', '.join(sorted(_keys(kept)))}:"]
    lines += [f"  {describe(one)}" for one in sorted(kept, key=lambda one: (one.invoked, one.id))]
    _, explained = find_order(kept, revisions, _SHRINK_STEPS_MAX)
    lines.append("the longest explanation takes these, in this order, and then nothing fits:")
    lines += [f"  {describe(one)}" for one in explained]
    return "\n".join(lines)


def _beginning(group: Sequence[Operation], revisions: Revisions) -> list[Operation]:
    """Return the shortest beginning of the group, by the time of answers, that cannot be explained.

    A longer one cannot be explained either, so halving finds it. Operations that had begun by then stay, as unknown.
    """
    ends = sorted({one.returned for one in group if one.outcome == "ok" and one.returned is not None})
    lo, hi = 0, len(ends) - 1
    while lo < hi:
        middle = (lo + hi) // 2
        found, _ = find_order(_until(group, ends[middle]), revisions, _SHRINK_STEPS_MAX)
        if found is Found.NONE:
            hi = middle
        else:
            lo = middle + 1
    return _until(group, ends[hi])


def _until(group: Sequence[Operation], end: float) -> list[Operation]:
    kept = []
    for one in group:
        if one.invoked > end:
            continue
        if one.outcome == "ok" and one.returned is not None and one.returned > end:
            if not one.writes:
                continue
            one = Operation(one.id, one.process, one.then, one.invoked, None, "unknown", one.guards, one.otherwise)
        kept.append(one)
    return kept


def _shrunk(group: list[Operation], revisions: Revisions) -> list[Operation]:
    """Leave out operations that the contradiction does not need; never a write that a remaining one observed."""
    kept = list(group)
    for candidate in sorted(group, key=lambda one: one.invoked, reverse=True):
        rest = [one for one in kept if one is not candidate]
        seen = {value for one in rest for _, value, _ in observations(one)}
        seen |= {str(guard.operand) for one in rest for guard in one.guards if guard.field == "value"}
        if any(value in seen for _, value in stored(candidate)):
            continue
        if _guarded_revision(candidate, rest, revisions):
            continue
        if find_order(rest, revisions, _SHRINK_STEPS_MAX)[0] is Found.NONE:
            kept = rest
    return kept


def _guarded_revision(candidate: Operation, rest: Sequence[Operation], revisions: Revisions) -> bool:
    """Whether an operation in `rest` names the revision that `candidate` wrote."""
    written = {revisions.of(value) for _, value in stored(candidate)}
    named = {guard.operand for one in rest for guard in one.guards if guard.field == "revision"}
    named |= {one.answer.current for one in rest if one.answer is not None and one.answer.current is not None}
    return bool(written & named)
